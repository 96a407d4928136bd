"""A table of faces: comma-, semicolon- or tab-separated values."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from awing.data.records import Record, image_path, parse_numbers
from awing.errors import DataError
from awing.geometry import is_box
from awing.schemes import Scheme

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
FORMS = ("{axis}{index}", "{name}_{axis}", "{axis}_{name}", "{name}.{axis}", "{name} {axis}")  # of landmarks' columns


def read_table(file: Path, images: Path, scheme: Scheme) -> tuple[list[Record], list[str]]:
    """Read the faces of a table, and what cannot be used of it; image names start from the folder ``images``."""
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
                for column in (*points, *(set(BOX) & cells.keys())):
                    word = cells[column] if delimiter == "," else cells[column].replace(",", ".")  # a decimal comma
                    cells[column] = "" if word.lower() == "nan" else word
                try:
                    records.append(_record(cells, points, images, where))
                except DataError as error:
                    unusable.append(str(error))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected comma-separated values in UTF-8, found: {error}") from None
    return records, unusable


def _header(rows: "csv._reader") -> list[str]:
    return [column.strip() for column in next(rows, [])]


def _landmark_columns(header: list[str], scheme: Scheme, where: str) -> list[str]:
    """The columns of x and y of each landmark, in the form of :data:`FORMS` that the header has most of."""
    forms = [
        [form.format(axis=axis, index=i, name=name) for i, name in enumerate(scheme.names) for axis in "xy"]
        for form in FORMS
    ]
    points = max(forms, key=lambda columns: len(set(columns) & set(header)))
    for column in ("image", *points, *(BOX if set(BOX) & set(header) else ())):
        if header.count(column) != 1:
            form = f"; a landmark's columns are x0, y0 or {forms[1][0]}, {forms[1][1]}" if column in points else ""
            found = f"found {header.count(column)} in {header!s:.2000}"
            raise DataError(f"{where}: expected one column {column!r}, {found}{form}")
    more = [column for column in header if re.fullmatch(r"[xy]\d+", column) and column not in points]
    if more and points is forms[0]:
        raise DataError(f"{where}: the scheme has {scheme.num_landmarks} landmarks, but there is a column {more[0]!r}")
    return points


def _record(cells: Mapping[str, str], columns: list[str], images: Path, where: str) -> Record:
    words = np.array([cells[column] for column in columns]).reshape(-1, 2)
    labelled = (words != "").any(1)
    if not labelled.any():
        raise DataError(f"{where}: no landmark of this face is labelled; leave the face out")
    points = np.zeros(words.shape)
    points[labelled] = parse_numbers(words[labelled].ravel().tolist(), where).reshape(-1, 2)
    corners = [cells.get(column, "") for column in BOX]
    box = parse_numbers(corners, where) if any(corners) else None
    box = box if box is not None and is_box(box) else None  # without area it is no box
    path, group = image_path(images, cells["image"], where), cells.get("group", "")
    return Record(path, points, labelled, box, group=group, id=f"{Path(where).name}")
