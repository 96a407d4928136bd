"""Your own data: a table or COCO keypoints, and a landmark scheme."""

import csv
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from awing.arrays import Box
from awing.data.records import Annotations, Record, Source, check_complete, inside, parse_numbers
from awing.errors import ConfigError, DataError, did_you_mean
from awing.reading import lines, parse_json
from awing.schemes import Scheme, get_scheme

MOST = 10_000  # columns
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
log = logging.getLogger(__name__)


def read_custom(
    root: Path,
    split: str,
    allow_partial: bool = False,
    *,
    scheme: str | Mapping[str, Any],
    train: str,
    test: str | None = None,
    images: str = ".",
) -> Annotations:
    """Read a ``.csv`` table or a ``.json`` file of COCO keypoints. Coordinates are source px, 0-based, and taken as
    they stand: the centre of the first pixel is at (0, 0).

    A table has a face a row. Its first row names the columns, in any order: ``image``; ``x0, y0`` to the scheme's last
    landmark, the two cells empty where it is unlabelled; and ``box_x0, box_y0, box_x1, box_y1``, which may be empty or
    missing. Other columns are left alone.

    Of COCO keypoints, the category is read whose ``keypoints`` are the scheme's names in its order, or the only one if
    it does not name any. A keypoint's third number is 0 where it is unlabelled, 1 hidden, 2 visible; a ``bbox`` is
    x, y, width, height. Crowds, and annotations without a labelled keypoint, are no faces: the log counts them.

    Args:
        root: Folder of everything.
        split: ``"train"`` or ``"test"``.
        allow_partial: Leave out faces whose image is missing instead of refusing.
        scheme: What :func:`awing.schemes.get_scheme` takes.
        train: The training faces' file, in ``root``.
        test: The test faces' file; without one they are cut from the training faces.
        images: The folder in ``root`` that image names start from.

    Raises:
        ConfigError: the scheme is none, or a file's name has another ending.
        DataError: the file is broken (line or entry are named), or an image is missing.
    """
    name = {"train": train, "test": test}[split]
    if name is None:
        return Annotations([], 0)
    read_faces = {".csv": _read_table, ".json": _read_coco}.get(Path(name).suffix.lower())
    if read_faces is None:
        raise ConfigError(f"dataset.reader.{split}: expected the name of a .csv or .json file, found {name!r}")
    source = Source("The data set", "", f"{name}, and in {root / images} the images that it names")
    if not (root / name).is_file():
        check_complete(source, root, [f"{name} is missing"], allow_partial)
        return Annotations([], 0)
    records = read_faces(root / name, root / images, get_scheme(scheme))
    if not records:
        raise DataError(f"{root / name}: expected a face, found none")
    missing = {path for path in {record.path for record in records} if not os.path.isfile(path)}
    check_complete(source, root, [f"{path} is missing" for path in sorted(missing)], allow_partial)
    if Path(images).is_absolute() or ".." in Path(images).parts:
        records = [replace(record, root=root / images) for record in records]
    return Annotations([record for record in records if record.path not in missing], len(records))


def _read_table(file: Path, images: Path, scheme: Scheme) -> list[Record]:
    points = [f"{axis}{i}" for i in range(scheme.num_landmarks) for axis in "xy"]
    records = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(lines(stream), strict=True)
            header = [column.strip() for column in next(rows, [])]
            _check_header(header, points, f"{file}:1")
            for row in rows:
                where = f"{file}:{rows.line_num}"
                if row and len(row) != len(header):
                    raise DataError(f"{where}: expected {len(header)} columns, found {len(row)}")
                if row:
                    cells = dict(zip(header, map(str.strip, row), strict=True))
                    records.append(_from_row(cells, points, images, where))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: expected comma-separated values in UTF-8, found: {error}") from None
    return records


def _check_header(header: list[str], points: list[str], where: str) -> None:
    """Refuse a table without the columns that it needs, or with more points than the scheme."""
    if len(header) > MOST:
        raise DataError(f"{where}: expected at most {MOST} columns, found {len(header)}")
    wanted = ["image", *points, *(BOX if set(BOX) & set(header) else ())]
    for column in wanted:
        if header.count(column) != 1:
            near = did_you_mean(column, [found for found in header if found not in wanted])
            raise DataError(f"{where}: expected one column {column!r}, found {header.count(column)}.{near}")
    if more := [column for column in header if re.fullmatch(r"[xy]\d+", column) and column not in points]:
        raise DataError(f"{where}: the scheme has {len(points) // 2} landmarks, but there is a column {more[0]!r}")


def _from_row(cells: Mapping[str, str], columns: list[str], images: Path, where: str) -> Record:
    words = np.array([cells[column] for column in columns]).reshape(-1, 2)
    labelled = (words != "").any(1)
    points = np.zeros(words.shape)
    points[labelled] = parse_numbers(words[labelled].ravel().tolist(), where).reshape(-1, 2)
    box = [cells.get(column, "") for column in BOX]
    path = inside(images, cells["image"], where)
    return _record(path, points, labelled, parse_numbers(box, where) if any(box) else None, None, where)


def _read_coco(file: Path, images: Path, scheme: Scheme) -> list[Record]:
    try:
        content = parse_json(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: expected JSON, found: {error}") from None
    names: dict[Any, str] = {}
    for i, image in enumerate(_objects(content, "images", file)):
        key, name = image.get("id"), image.get("file_name")
        if not isinstance(key, int | str) or not isinstance(name, str) or key in names:
            raise DataError(f"{file}: images[{i}]: expected an id of its own and a file_name, found {key!r}, {name!r}")
        names[key] = name
    category, records, left_out = _category(content, scheme, file), [], 0
    for i, entry in enumerate(_objects(content, "annotations", file)):
        where = f"{file}: annotations[{i}]"
        if entry.get("category_id") != category:
            continue
        keypoints = _numbers(entry, "keypoints", 3 * scheme.num_landmarks, where).reshape(-1, 3)
        if entry.get("iscrowd") or not keypoints[:, 2].any():
            left_out += 1
            continue
        if not isinstance(entry.get("image_id"), int | str) or entry["image_id"] not in names:
            raise DataError(f"{where}: no image has the id {entry.get('image_id')!r}")
        path = inside(images, names[entry["image_id"]], where)
        records.append(_from_keypoints(entry, keypoints, path, where))
    if left_out:
        log.info("%s: %d crowds and annotations without a labelled keypoint are no faces", file, left_out)
    return records


def _from_keypoints(entry: Mapping[str, Any], keypoints: np.ndarray, path: Path, where: str) -> Record:
    points, flags, box = keypoints[:, :2], keypoints[:, 2], None
    if not np.isin(flags, (0, 1, 2)).all():
        raise DataError(f"{where}: expected 0, 1 or 2 as the third number of a keypoint")
    if entry.get("bbox") is not None:
        x, y, width, height = _numbers(entry, "bbox", 4, where)
        box = np.array([x, y, x + width, y + height])
    return _record(path, points, flags > 0, box, flags == 1, where)


def _objects(content: Any, key: str, file: Path) -> list[dict[str, Any]]:
    objects = content.get(key) if isinstance(content, dict) else None
    if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
        raise DataError(f"{file}: expected COCO keypoints, with a list of objects called {key!r}")
    return objects


def _category(content: Any, scheme: Scheme, file: Path) -> Any:
    """The id of the category that has the scheme's keypoints, or of the only one if it does not name any."""
    categories = _objects(content, "categories", file)
    names = [category.get("keypoints") for category in categories]
    if list(scheme.names) in names:
        return categories[names.index(list(scheme.names))].get("id")
    if len(names) == 1 and not names[0]:
        return categories[0].get("id")
    raise DataError(
        f"{file}: expected a category whose keypoints are the names of scheme {scheme.name}, {list(scheme.names)}, "
        f"found {str([found for found in names if found])[:2000]}"
    )


def _numbers(entry: Mapping[str, Any], key: str, count: int, where: str) -> np.ndarray:
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != count or not all(isinstance(v, int | float) for v in values):
        found = f"{len(values)} entries" if isinstance(values, list) else repr(values)[:40]
        raise DataError(f"{where}: expected {count} numbers in {key}, found {found}")
    return parse_numbers([str(value) for value in values], f"{where}: {key}")


def _record(
    path: Path, points: np.ndarray, labelled: np.ndarray, box: Box | None, occluded: np.ndarray | None, where: str
) -> Record:
    if not labelled.any():
        raise DataError(f"{where}: no landmark of this face is labelled; leave the face out")
    if box is not None and not (box[2] > box[0] and box[3] > box[1]):
        raise DataError(f"{where}: expected a box of positive width and height, found x0 y0 x1 y1 = {box.tolist()}")
    return Record(path, points, labelled, box, occluded=occluded)
