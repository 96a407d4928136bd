"""WFLW (98 points) from its own files: Wu et al., "Look at Boundary", CVPR 2018."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from awing.data.records import Annotations, Record, Source, check_complete, inside, parse_numbers, read_text
from awing.errors import DataError

SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # in the order of the flags
OFFICIAL = MappingProxyType({"train": 7500, "test": 2500})
COLUMNS = 196 + 4 + len(SUBSETS) + 1
SOURCE = Source(
    "WFLW",
    "https://wywu.github.io/projects/LAB/WFLW.html",
    "WFLW_images/ and WFLW_annotations/list_98pt_rect_attr_train_test/",
)


def read_wflw(
    root: Path, split: str, allow_partial: bool = False, expected: Mapping[str, int] = OFFICIAL
) -> Annotations:
    """Read one official list: 98 points, box x_min y_min x_max y_max, six attribute flags, image name a line.

    A record has the provided box, and the attributes whose flag is 1 as its subsets.

    Args:
        root: Folder that holds ``WFLW_images`` and ``WFLW_annotations``.
        split: ``"train"`` or ``"test"``.
        allow_partial: Leave out faces whose image is missing instead of refusing.
        expected: Number of faces in each complete split.

    Raises:
        DataError: a line is broken (file and line are named), or the set is incomplete.
    """
    name = f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    file = root / name
    if not file.is_file():
        check_complete(SOURCE, root, [f"{name} is missing"], allow_partial)
        return Annotations([], expected[split])
    lines = read_text(file).split("\n")  # a name may hold other separators
    records = [_parse(root / "WFLW_images", line, f"{file}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    problems = []
    if len(records) != expected[split]:
        problems.append(f"{name}: expected {expected[split]} faces, found {len(records)}")
    on_disk = {path for path in {record.path for record in records} if os.path.isfile(path)}
    missing = sorted({record.path for record in records} - on_disk)
    problems += [f"{path.relative_to(root)} is missing" for path in missing]
    check_complete(SOURCE, root, problems, allow_partial)
    return Annotations([record for record in records if record.path in on_disk], expected[split])


def _parse(images: Path, line: str, where: str) -> Record:
    words = line.split(maxsplit=COLUMNS - 1)  # the image's name comes last and may hold spaces
    if len(words) != COLUMNS:
        raise DataError(f"{where}: expected {COLUMNS} columns, found {len(words)}")
    values = parse_numbers(words[:-1], where)
    points, box, flags = values[:196].reshape(98, 2), values[196:200], values[200:]
    if not (box[2] > box[0] and box[3] > box[1]):
        raise DataError(f"{where}: expected a box with x_max > x_min and y_max > y_min, found {box.tolist()}")
    if not np.isin(flags, (0, 1)).all():
        raise DataError(f"{where}: expected six flags 0 or 1 in columns 201-206, found {words[200:206]}")
    subsets = frozenset(name for name, flag in zip(SUBSETS, flags, strict=True) if flag)
    return Record(inside(images, words[-1].strip(), where), points, np.ones(98, dtype=bool), box, subsets)
