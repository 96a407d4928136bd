"""Import what other tools labelled: their files -> our tables and a landmark scheme to finish."""

import csv
import json
import os
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import yaml

from awing.data.dialects import DIALECTS, Shape, yolo_names
from awing.data.readers.table import BOX
from awing.errors import ConfigError, DataError

SPLITS = {"val": "val", "valid": "val", "validation": "val", "test": "test"}  # by folders; others are trained on
MIRRORED = {"left": "right", "right": "left"}
TO_FINISH = """\
# To finish: landmarks that exchange when an image is mirrored; boundary lines; and what divides errors, such as
# {inter_ocular: [left_eye, right_eye]}. See docs/own_landmarks.md.
"""


class Face(NamedTuple):
    """What a row of a table says."""

    image: Path
    points: dict[str, list[float]]  # landmark -> x, y
    box: list[float]  # x0, y0, x1, y1; empty: none


def import_annotations(source: str | None, output: Path) -> bool:
    """Write ``train.csv`` (and ``val.csv`` and ``test.csv`` where folders are called so) and ``scheme.yaml``.

    An entry that cannot be read is named, with its file and line or id, and the others go on.

    Returns:
        Whether every entry could be read.

    Raises:
        ConfigError: there is no source, or ``output`` holds a table or a scheme.
        DataError: the source is in none of :data:`DIALECTS`, or no face can be read.
    """
    if not source or not Path(source).exists():
        raise ConfigError(f"source: expected the file or folder that a labelling tool wrote, found {source!r}")
    if held := [name for name in ("train.csv", "val.csv", "test.csv", "scheme.yaml") if (output / name).exists()]:
        raise ConfigError(f"{output} holds {held[0]} already: choose another output")
    tool, files, others = recognise(Path(source))
    faces, problems, sizes = list[Face](), list[str](), dict[str, int]()
    for file in files:
        with _naming(str(file), problems):
            for where, entry in DIALECTS[tool].entries(file):
                with _naming(where, problems):
                    image, shapes = DIALECTS[tool].shapes(entry)
                    path = find_image(image, file, Path(source))
                    faces += make_faces(path, shapes, DIALECTS[tool].edge, others, sizes)
    print(*(f"left out: {problem}" for problem in problems), sep="\n", end="\n" * bool(problems), file=sys.stderr)
    if not faces:
        raise DataError(f"{source}: expected landmarks of {tool}, found no face; {len(problems)} entries are broken")
    command = _write(faces, Path(source), output, *_names(tool, files[0], faces))
    counts = ", ".join(f"{count} {kind}" for kind, count in {"entries": len(problems), **others}.items() if count)
    print(f"{tool}: {len(faces)} faces; left out: {counts or 'nothing'}")
    print(f"finish {output / 'scheme.yaml'}, then: python src/prepare.py action=verify {command}")
    return not problems


def recognise(source: Path) -> tuple[str, list[Path], Counter[str]]:
    """The tool that wrote a file or folder, its files, and how many others are called like them."""
    for tool, (pattern, marker, *_) in DIALECTS.items():
        named = sorted(source.rglob(pattern)) if source.is_dir() else [source] * source.match(pattern)
        files = [file for file in named if re.search(marker, file.read_text(encoding="utf-8-sig", errors="replace"))]
        if files:
            return tool, files, Counter({f"other {pattern}": len(named) - len(files)})
    known = ", ".join(f"{tool} ({dialect.pattern})" for tool, dialect in DIALECTS.items())
    raise DataError(f"{source}: expected one of {known}; COCO keypoints need no import: dataset.reader.train=FILE.json")


def make_faces(
    image: Path, shapes: Iterable[Shape], edge: float, others: Counter[str], sizes: dict[str, int]
) -> list[Face]:
    """The faces of one image; ``others`` counts what is no landmark, ``sizes`` has how many points each label has."""
    points, boxes = dict[Any, dict[str, list[float]]](), dict[Any, list[float]]()
    for kind, face, label, drawn in shapes:
        if kind not in ("point", "points", "rectangle"):
            others[kind] += 1
            continue
        xy = np.array(drawn, dtype=float).reshape(-1, 2) - edge
        if not np.isfinite(xy).all():
            raise ValueError(f"{label}: expected finite numbers, found {xy.tolist()}")
        if kind != "rectangle" and sizes.setdefault(label, len(xy)) != len(xy):
            raise ValueError(f"{label}: expected {sizes[label]} points, as before, found {len(xy)}")
        names = [label] if len(xy) == 1 else [f"{label}{i}" for i in range(len(xy))]
        if face in boxes if kind == "rectangle" else points.get(face, {}).keys() & set(names):
            raise ValueError(f"{label or kind} stands there twice; give the shapes of each face a group of their own")
        if kind == "rectangle":
            boxes[face] = [*xy.min(0), *xy.max(0)]
        else:
            points.setdefault(face, {}).update(zip(names, xy.tolist(), strict=True))
    if len(points) == len(boxes) == 1:  # they need no group
        boxes = dict(zip(points, boxes.values(), strict=True))
    others["boxes without landmarks"] += len(boxes.keys() - points.keys())
    return [Face(image, places, boxes.get(face, [])) for face, places in points.items()]


def find_image(name: str, file: Path, source: Path) -> Path:
    """The image of an entry: by the longest end of its path that lies near the file or the source."""
    parts = [part for part in PurePosixPath(unquote(name.split("?d=")[-1]).replace("\\", "/")).parts if part != ".."]
    if Path(name).is_file() and Path(name).is_relative_to(source if source.is_dir() else source.parent):
        return Path(name)
    ends = ["/".join(parts[i:]) for i in range(parts[0] == "/", len(parts))]
    ends.append(re.sub(r"^[0-9a-f]{8}-", "", parts[-1]))  # Label Studio's mark of an upload
    near = [file.parent, source, source.parent]
    for path in (folder / inner / end for end in ends for folder in near for inner in ("", "images")):
        if path.is_file():
            return path
    raise ValueError(f"there is no image {name!r} beside it")


def _names(tool: str, file: Path, faces: list[Face]) -> tuple[list[str], list[list[str]]]:
    """Landmarks and flip pairs, as the tool has them or as names with left and right in them suggest."""
    names = list(dict.fromkeys(name for face in faces for name in face.points))
    swapped = [re.sub("left|right", lambda found: MIRRORED[found[0]], name) for name in names]
    if tool == "YOLO-pose":
        about = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
        names = yolo_names(about)
        swapped = [names[i] for i in about.get("flip_idx") or range(len(names))]
    pairs = zip(names, swapped, strict=True)
    return names, [[a, b] for a, b in pairs if b in names and names.index(a) < names.index(b)]


def _write(faces: list[Face], source: Path, output: Path, names: list[str], pairs: list[list[str]]) -> str:
    """Write tables and scheme; returns the overrides that use them."""
    images = Path(os.path.commonpath([face.image.parent.absolute() for face in faces]))
    tables = defaultdict[str, list[Face]](list)
    for face in faces:
        folders = Path(os.path.relpath(face.image, source if source.is_dir() else source.parent)).parts[:-1]
        tables[next((SPLITS[folder] for folder in folders if folder in SPLITS), "train")].append(face)
    box = BOX if any(face.box for face in faces) else ()
    output.mkdir(parents=True, exist_ok=True)
    for split, rows in tables.items():
        with (output / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["image", *box, *(f"{name}_{axis}" for name in names for axis in "xy")])
            writer.writeheader()
            for face in rows:
                numbers = dict(zip(box, face.box, strict=False))
                numbers |= {f"{name}_{axis}": xy[i] for name, xy in face.points.items() for i, axis in enumerate("xy")}
                image = face.image.absolute().relative_to(images).as_posix()
                writer.writerow({"image": image, **{column: round(v, 3) for column, v in numbers.items()}})
    facts = {"names": names, "flip_pairs": pairs, "lines": [], "normalisers": {}}
    text = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items())
    (output / "scheme.yaml").write_text(f"{TO_FINISH}{text}\n", encoding="utf-8")
    values = {"root": str(output), "scheme": str(output / "scheme.yaml"), "reader.images": str(images)}
    values |= {f"reader.{split}": f"{split}.csv" for split in tables if split != "train"}
    crop = [] if all(face.box for face in faces) else ["dataset.crop=landmarks"]
    quoted = {key: value if re.fullmatch(r"[\w./ -]+", value) else f"'{value}'" for key, value in values.items()}
    return shlex.join(["dataset=custom", *(f"dataset.{key}={value}" for key, value in quoted.items()), *crop])


@contextmanager
def _naming(where: str, problems: list[str]) -> Iterator[None]:
    """Keep what cannot be read as a sentence."""
    try:
        yield
    except KeyError as error:
        problems.append(f"{where}: there is no {error}")
    except (DataError, LookupError, ValueError, TypeError, AttributeError, SyntaxError, OSError, csv.Error) as error:
        problems.append(f"{where}: {error}")
