"""Your own data: a table of faces or COCO keypoints (https://cocodataset.org/#format-data), and a landmark scheme."""

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from awing.arrays import BOX_COLUMNS
from awing.data.records import Annotations, Record, Source, check_complete, image_path, parse_numbers
from awing.errors import ConfigError, DataError
from awing.geometry import is_box
from awing.schemes import Scheme, get_scheme

FORMS = ("{axis}{index}", "{name}_{axis}", "{axis}_{name}", "{name}.{axis}", "{name} {axis}")  # of column names
COCO = ("images", "annotations", "categories")
log = logging.getLogger(__name__)


def read_custom(
    root: Path,
    split: str,
    allow_partial: bool = False,
    *,
    scheme: str | Mapping[str, Any],
    train: str,
    val: str | None = None,
    test: str | None = None,
    images: str | Mapping[str, str] = ".",
) -> Annotations:
    """Read a ``.csv`` table or a ``.json`` file of COCO keypoints, as docs/own_landmarks.md describes them.

    Coordinates are source px, 0-based, and used as they are: the centre of the first pixel is at (0, 0).

    ``scheme`` is an argument of :func:`awing.schemes.get_scheme`. ``train``, ``val`` and ``test`` are files in
    ``root``; without ``val`` or ``test``, such faces are held out of the training faces. Image names are relative to
    the folder ``images`` in ``root``, or one for each split; they are also searched for beside the file that has them,
    and there first if it lies in a folder of ``root``. See :mod:`awing.data.readers` for other arguments and errors.
    """
    name = {"train": train, "val": val, "test": test}[split]
    if name is None:
        return Annotations([], 0)
    file, folder = root / name, root / (images if isinstance(images, str) else images.get(split, "."))
    read_faces = {".csv": read_table, ".tsv": read_table, ".json": read_coco}.get(file.suffix.lower())
    if read_faces is None:
        raise ConfigError(f"dataset.reader.{split}: expected the name of a .csv, .tsv or .json file, found {name!r}")
    source = Source("The data set", "", f"{name}, and in {folder} the images that it names")
    if not file.is_file():
        return check_complete(source, root, [], 0, allow_partial, [f"{name} is missing"])
    records, unusable = read_faces(file, folder, get_scheme(scheme))
    if not records and not unusable:
        raise DataError(f"{file}: expected a face, found none")
    records = [_find(record, file, folder, root) for record in records]
    return check_complete(source, root, records, len(records), allow_partial)._replace(unusable=unusable)


def read_table(file: Path, images: Path, scheme: Scheme) -> tuple[list[Record], list[str]]:
    """Read the faces of a table, and its unusable rows; image names are relative to the folder ``images``."""
    records, unusable = list[Record](), list[str]()
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            delimiter = next((d for d in ",;\t" if "image" in _header(csv.reader([first], delimiter=d))), ",")
            stream.seek(0)
            rows = csv.reader(stream, delimiter=delimiter, strict=True)
            header = _header(rows)
            points = _landmark_columns(header, scheme, f"{file}:1")
            for row in filter(None, rows):
                where = f"{file}:{rows.line_num}"
                if len(row) != len(header):
                    unusable.append(f"{where}: expected {len(header)} columns, found {len(row)}; header: {header}")
                    continue
                cells = dict(zip(header, map(str.strip, row), strict=True))
                for column in (*points, *(set(BOX_COLUMNS) & cells.keys())):
                    word = cells[column] if delimiter == "," else cells[column].replace(",", ".")  # a decimal comma
                    cells[column] = "" if word.lower() == "nan" else word
                try:
                    records.append(_face_of_row(cells, points, images, where))
                except DataError as error:
                    unusable.append(str(error))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected comma-separated values in UTF-8, found: {error}") from None
    return records, unusable


def _header(rows: "csv._reader") -> list[str]:
    return [column.strip() for column in next(rows, [])]


def _landmark_columns(header: list[str], scheme: Scheme, where: str) -> list[str]:
    """Names of the x and y columns of each landmark, in that form of :data:`FORMS` that most of the header matches."""
    forms = [
        [form.format(axis=axis, index=i, name=name) for i, name in enumerate(scheme.names) for axis in "xy"]
        for form in FORMS
    ]
    points = max(forms, key=lambda columns: len(set(columns) & set(header)))
    for column in ("image", *points, *(BOX_COLUMNS if set(BOX_COLUMNS) & set(header) else ())):
        if header.count(column) != 1:
            form = f"; a landmark's columns are x0, y0 or {forms[1][0]}, {forms[1][1]}" if column in points else ""
            found = f"found {header.count(column)} in {header!s:.2000}"
            raise DataError(f"{where}: expected one column {column!r}, {found}{form}")
    more = [column for column in header if re.fullmatch(r"[xy]\d+", column) and column not in points]
    if more and points is forms[0]:
        raise DataError(f"{where}: the scheme has {scheme.num_landmarks} landmarks, but there is a column {more[0]!r}")
    if unread := [column for column in header if column not in ("image", "group", *points, *BOX_COLUMNS)]:
        log.info("%s: columns that are not read: %s", where, ", ".join(unread))
    return points


def _face_of_row(cells: Mapping[str, str], columns: list[str], images: Path, where: str) -> Record:
    words = np.array([cells[column] for column in columns]).reshape(-1, 2)
    labelled = (words != "").any(1)
    if not labelled.any():
        raise DataError(f"{where}: no landmark of this face is labelled; leave the face out")
    points = np.zeros(words.shape)
    points[labelled] = parse_numbers(words[labelled].ravel().tolist(), where).reshape(-1, 2)
    corners = [cells.get(column, "") for column in BOX_COLUMNS]
    box = parse_numbers(corners, where) if any(corners) else None
    box = box if box is not None and is_box(box) else None  # no area: no box
    path, group = image_path(images, cells["image"], where), cells.get("group", "")
    return Record(path, points, labelled, box, group=group, id=f"{Path(where).name}")


def read_coco(file: Path, images: Path, scheme: Scheme) -> tuple[list[Record], list[str]]:
    """Read the faces of a file of COCO keypoints, and its unusable entries; as :func:`read_table`."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{file}: expected JSON, found: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in COCO):
        raise DataError(f"{file}: expected COCO keypoints, an object with {', '.join(COCO)}, found {content!s:.200}")
    pictures = {image.get("id"): image for image in content["images"]}
    if len(pictures) != len(content["images"]) or not all(image.get("file_name") for image in pictures.values()):
        raise DataError(f"{file}: expected an id of its own and a file_name in each of images")
    categories = _categories(content["categories"], scheme, file)
    records, unusable, left_out = list[Record](), list[str](), Counter[str]()
    for i, entry in enumerate(content["annotations"]):
        if entry.get("category_id") not in categories:
            names = [c.get("name") for c in content["categories"] if c.get("id") == entry.get("category_id")]
            left_out[f"of category {names[0] if names else entry.get('category_id')!r}"] += 1
        elif entry.get("iscrowd"):
            left_out["crowds"] += 1
        elif not _flags(entry).any():
            left_out["without a labelled keypoint"] += 1
        else:
            where = f"annotation {entry.get('id', f'no. {i}')}"
            image = pictures.get(entry.get("image_id"), {})
            try:
                records.append(_face_of_entry(entry, image, images, scheme.num_landmarks, where))
            except DataError as error:
                unusable.append(f"{file}: {where} ({image.get('file_name')}): {error}")
    if left_out:
        log.info("%s: no faces of this scheme: %s", file, ", ".join(f"{n} {why}" for why, n in left_out.items()))
    return records, unusable


def _categories(categories: list[dict[str, Any]], scheme: Scheme, file: Path) -> set[Any]:
    """Ids of the categories that have the scheme's keypoints, or of a single category that names no keypoints."""
    found = {category.get("id") for category in categories if category.get("keypoints") == list(scheme.names)}
    if len(categories) == 1 and not categories[0].get("keypoints"):
        return {categories[0].get("id")}
    if not found:
        expected = f"a category whose keypoints are the names of scheme {scheme.name}, {list(scheme.names)}"
        raise DataError(f"{file}: expected {expected}, found {[c.get('keypoints') for c in categories]!s:.2000}")
    return found


def _flags(entry: Mapping[str, Any]) -> np.ndarray:
    """(K,) whether each keypoint is labelled: its third number is not 0."""
    return np.array([flag != 0 for flag in (entry.get("keypoints") or [])[2::3]], dtype=bool)


def _face_of_entry(entry: Mapping[str, Any], image: Mapping[str, Any], folder: Path, count: int, where: str) -> Record:
    if not image:
        raise DataError(f"no image has the id {entry.get('image_id')!r}")
    if len(entry["keypoints"]) != 3 * count:
        raise DataError(f"expected {3 * count} numbers in keypoints, found {len(entry['keypoints'])}")
    keypoints, labelled = np.array(entry["keypoints"], dtype=object).reshape(-1, 3), _flags(entry)
    if not np.isin(keypoints[:, 2], (0, 1, 2)).all():
        raise DataError("expected 0, 1 or 2 as the third number of a keypoint")
    points, box = np.zeros((count, 2)), None  # coordinates of an unlabelled point may be anything
    points[labelled] = parse_numbers(keypoints[labelled, :2].ravel().tolist(), "keypoints").reshape(-1, 2)
    if bbox := entry.get("bbox"):
        x, y, width, height = parse_numbers(bbox, "bbox")
        box = np.array([x, y, x + width, y + height]) if width > 0 and height > 0 else None  # no area: no box
    width, height = image.get("width"), image.get("height")
    size = (int(width), int(height)) if width and height else None
    path = image_path(folder, image["file_name"], "file_name")
    return Record(path, points, labelled, box, size=size, id=where)


def _find(record: Record, file: Path, folder: Path, root: Path) -> Record:
    """Return the record with the path at which its image is: in the images' folder or beside the annotation file."""
    name = record.path.relative_to(folder)
    folders = (folder, root) if file.parent == root else (file.parent, folder)
    found = next((place for place in folders if (place / name).is_file()), folder)
    return replace(record, path=found / name, root=None if found.resolve().is_relative_to(root.resolve()) else found)
