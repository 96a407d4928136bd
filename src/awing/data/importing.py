"""Import of annotations from labelling tools: their files become our tables and a landmark scheme to finish."""

import csv
import json
import os
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import yaml

from awing.arrays import BOX_COLUMNS
from awing.data.dialects import DIALECTS, Shape, yolo_names
from awing.data.records import parse_numbers
from awing.errors import ConfigError, DataError
from awing.schemes.scheme import side_pairs

Row = dict[str, float]  # a face: column of the table -> number, without the image
SPLITS = {"val": "val", "valid": "val", "validation": "val", "test": "test"}  # folder -> split; others: training
TO_FINISH = """\
# To finish: landmarks that exchange when an image is mirrored; boundary lines; and what divides errors, such as
# {inter_ocular: [left_eye, right_eye]}. See docs/own_landmarks.md.
"""


def import_annotations(source: str | None, output: Path) -> bool:
    """Write ``train.csv`` (and ``val.csv`` and ``test.csv`` if there are folders of that name) and ``scheme.yaml``.

    An entry that cannot be read is reported, with its file and line or id, and skipped; returns whether all were read.
    """
    if not source or not Path(source).exists():
        raise ConfigError(f"source: expected the file or folder that a labelling tool wrote, found {source!r}")
    if held := [name for name in ("train.csv", "val.csv", "test.csv", "scheme.yaml") if (output / name).exists()]:
        raise ConfigError(f"{output} holds {held[0]} already: choose another output")
    tool, files, others = recognise(folder := Path(source).absolute())
    dialect, faces, problems = DIALECTS[tool], list[tuple[Path, Row]](), list[str]()
    for file in files:
        with _collect_errors(str(file), problems):
            for where, entry in dialect.entries(file):
                with _collect_errors(where, problems):
                    name, shapes = dialect.read(entry)
                    image = find_image(name, file, folder)
                    faces += [(image, row) for row in make_rows(shapes, dialect.edge, others)]
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if not faces:
        raise DataError(f"{source}: expected landmarks of {tool}, found no face; {len(problems)} entries are broken")
    splits = _write_tables(faces, folder if folder.is_dir() else folder.parent, output)
    _write_scheme(output / "scheme.yaml", [row for _, row in faces], files[0] if tool == "YOLO-pose" else None)
    counts = ", ".join(f"{count} {kind}" for kind, count in {"entries": len(problems), **others}.items() if count)
    print(f"{tool}: {len(faces)} faces; left out: {counts or 'nothing'}")
    values = ["dataset=custom", f"dataset.root={output}", f"dataset.scheme={output / 'scheme.yaml'}", *splits]
    values += [] if all(BOX_COLUMNS[0] in row for _, row in faces) else ["dataset.crop=landmarks"]
    print(f"finish {output / 'scheme.yaml'}, then: python src/prepare.py action=verify {shlex.join(values)}")
    return not problems


def recognise(source: Path) -> tuple[str, list[Path], Counter[str]]:
    """The tool that wrote a file or folder, its files, and how many other files match the pattern of their names."""
    for tool, (pattern, marker, *_) in DIALECTS.items():
        named = sorted(source.rglob(pattern)) if source.is_dir() else [source] * source.match(pattern)
        files = [file for file in named if re.search(marker, file.read_text(encoding="utf-8-sig", errors="replace"))]
        if files:
            return tool, files, Counter({f"other {pattern}": len(named) - len(files)})
    known = ", ".join(f"{tool} ({dialect.pattern})" for tool, dialect in DIALECTS.items())
    raise DataError(f"{source}: expected one of {known}; COCO keypoints need no import: dataset.reader.train=FILE.json")


def make_rows(shapes: list[Shape], edge: float, others: Counter[str]) -> list[Row]:
    """Table rows of the faces of one image; ``others`` counts the shapes that are no landmarks."""
    rows = defaultdict[Any, Row](dict)
    for kind, face, label, drawn in shapes:
        if kind not in ("point", "rectangle"):
            others[kind] += 1
            continue
        xy = parse_numbers(np.ravel(drawn).tolist(), label or kind).reshape(-1, 2) - edge
        names = [label] if len(xy) == 1 else [f"{label}{i}" for i in range(len(xy))]
        columns = BOX_COLUMNS if kind == "rectangle" else [f"{name}_{axis}" for name in names for axis in "xy"]
        if rows[face].keys() & set(columns):
            raise ValueError(f"{label or kind} stands there twice; give the shapes of each face a group of their own")
        numbers = [*xy.min(0), *xy.max(0)] if kind == "rectangle" else xy.ravel()
        rows[face].update(zip(columns, numbers, strict=True))
    faces = [row for row in rows.values() if row.keys() - set(BOX_COLUMNS)]
    boxes = [row for row in rows.values() if not row.keys() - set(BOX_COLUMNS)]
    if len(faces) == len(boxes) == 1:  # one face and one box need no group
        return [faces[0] | boxes[0]]
    others["boxes without landmarks"] += len(boxes)
    return faces


def find_image(name: str, file: Path, source: Path) -> Path:
    """Find the image of an entry: by the longest end of its path that exists near the file or the source."""
    name = unquote(name.split("?d=")[-1]).replace("\\", "/").replace("../", "").strip("/")
    ends = [name.split("/", i)[-1] for i in range(name.count("/") + 1)]
    ends.append(re.sub(r"^[0-9a-f]{8}-", "", ends[-1]))  # Label Studio's prefix of an uploaded file
    folders = [place / inner for place in (file.parent, source, source.parent) for inner in ("", "images")]
    for path in (folder / end for end in ends for folder in folders):
        if path.is_file():
            return path
    raise ValueError(f"there is no image {name!r} beside it")


def _write_tables(faces: list[tuple[Path, Row]], folder: Path, output: Path) -> list[str]:
    """Write a table per split, by the names of folders in ``folder``; return the overrides for tables and images."""
    images = Path(os.path.commonpath([image.parent for image, _ in faces]))
    tables = defaultdict[str, list[dict[str, Any]]](list)
    for image, row in faces:
        folders = Path(os.path.relpath(image.parent, folder)).parts
        split = next((SPLITS[part] for part in folders if part in SPLITS), "train")
        numbers = {column: round(float(number), 3) for column, number in row.items()}
        tables[split].append({"image": image.relative_to(images).as_posix(), **numbers})
    output.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for rows in tables.values() for row in rows for column in row))
    for split, rows in tables.items():
        with (output / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
    return [f"dataset.reader.images={images}", *(f"dataset.reader.{s}={s}.csv" for s in tables if s != "train")]


def _write_scheme(file: Path, rows: list[Row], yolo: Path | None) -> None:
    """Write names, and flip pairs from YOLO's file or from left and right in the names."""
    names = [column[:-2] for column in dict.fromkeys(c for row in rows for c in row) if column.endswith("_x")]
    pairs = side_pairs(names)
    about = yaml.safe_load(yolo.read_text(encoding="utf-8-sig")) if yolo else {}
    if flips := about.get("flip_idx"):
        known = yolo_names(about)
        partners = {known[i]: known[j] for i, j in enumerate(flips)}
        pairs = [(i, names.index(partners[name])) for i, name in enumerate(names) if partners[name] in names[i + 1 :]]
    facts = {"names": names, "flip_pairs": [[names[a], names[b]] for a, b in pairs], "lines": [], "normalisers": {}}
    text = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items())
    file.write_text(f"{TO_FINISH}{text}\n", encoding="utf-8")


@contextmanager
def _collect_errors(where: str, problems: list[str]) -> Iterator[None]:
    """Turn an exception into a message in ``problems`` that begins with ``where``."""
    try:
        yield
    except KeyError as error:
        problems.append(f"{where}: there is no {error}")
    except (DataError, LookupError, ValueError, TypeError, AttributeError, SyntaxError, OSError, csv.Error) as error:
        problems.append(f"{where}: {error}")
