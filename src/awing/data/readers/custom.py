"""Your own data: a table or COCO keypoints, and a landmark scheme."""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from awing.data.readers.coco import read_coco
from awing.data.records import Annotations, Record, Source, check_box, check_complete, image_path, parse_numbers
from awing.errors import ConfigError, DataError
from awing.schemes import Scheme, get_scheme

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


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
    """Read a ``.csv`` table or a ``.json`` file of COCO keypoints.

    Coordinates are source px, 0-based, and taken as they stand: the centre of the first pixel is at (0, 0).

    A table has a face a row. Its first row names the columns, in any order: ``image``; ``x0, y0`` to the scheme's last
    landmark, the two cells empty where it is unlabelled; and ``box_x0, box_y0, box_x1, box_y1``, which may be empty or
    missing. Other columns are left alone.

    Of COCO keypoints, the category is read whose ``keypoints`` are the scheme's names in its order, or the only one if
    it does not name any. A keypoint's third number is 0 where it is unlabelled, 1 hidden, 2 visible; a ``bbox`` is
    x, y, width, height. Crowds, and annotations without a labelled keypoint, are no faces: the log counts them.

    ``scheme`` is what :func:`awing.schemes.get_scheme` takes; ``train`` and ``test`` are files in ``root``, and without
    the latter test faces are cut from the training faces; ``images`` is the folder in ``root`` that image names start
    from. See :mod:`awing.data.readers` for the other arguments and errors.
    """
    name = {"train": train, "test": test}[split]
    if name is None:
        return Annotations([], 0)
    file = root / name
    read_faces = {".csv": _read_table, ".json": read_coco}.get(file.suffix.lower())
    if read_faces is None:
        raise ConfigError(f"dataset.reader.{split}: expected the name of a .csv or .json file, found {name!r}")
    source = Source("The data set", "", f"{name}, and in {root / images} the images that it names")
    if not file.is_file():
        return check_complete(source, root, [], 0, allow_partial, [f"{name} is missing"])
    records = read_faces(file, root / images, get_scheme(scheme))
    if not records:
        raise DataError(f"{file}: expected a face, found none")
    if Path(images).is_absolute() or ".." in Path(images).parts:
        records = [replace(record, root=root / images) for record in records]
    return check_complete(source, root, records, len(records), allow_partial)


def _read_table(file: Path, images: Path, scheme: Scheme) -> list[Record]:
    points, records = [f"{axis}{i}" for i in range(scheme.num_landmarks) for axis in "xy"], []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, strict=True)
            header = [column.strip() for column in next(rows, [])]
            _check_header(header, points, f"{file}:1")
            for row in filter(None, rows):
                where = f"{file}:{rows.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{where}: expected {len(header)} columns, found {len(row)}")
                cells = dict(zip(header, map(str.strip, row), strict=True))
                records.append(_record(cells, points, images, where))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected comma-separated values in UTF-8, found: {error}") from None
    return records


def _check_header(header: list[str], points: list[str], where: str) -> None:
    for column in ("image", *points, *(BOX if set(BOX) & set(header) else ())):
        if header.count(column) != 1:
            raise DataError(f"{where}: expected one column {column!r}, found {header.count(column)} in {header!s:.400}")
    if more := [column for column in header if re.fullmatch(r"[xy]\d+", column) and column not in points]:
        raise DataError(f"{where}: the scheme has {len(points) // 2} landmarks, but there is a column {more[0]!r}")


def _record(cells: Mapping[str, str], columns: list[str], images: Path, where: str) -> Record:
    words = np.array([cells[column] for column in columns]).reshape(-1, 2)
    labelled = (words != "").any(1)
    if not labelled.any():
        raise DataError(f"{where}: no landmark of this face is labelled; leave the face out")
    points = np.zeros(words.shape)
    points[labelled] = parse_numbers(words[labelled].ravel().tolist(), where).reshape(-1, 2)
    corners = [cells.get(column, "") for column in BOX]
    box = check_box(parse_numbers(corners, where), where) if any(corners) else None
    return Record(image_path(images, cells["image"], where), points, labelled, box)
