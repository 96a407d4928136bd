"""WFLW (98 points) from its own files: Wu et al., "Look at Boundary", CVPR 2018."""

from itertools import compress
from pathlib import Path

import numpy as np

from awing.data.records import Annotations, Counts, Record, Source, check_box, check_complete, image_path, parse_numbers
from awing.errors import DataError

SUBSETS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # in the order of the flags
OFFICIAL = {"train": 7500, "test": 2500}
COLUMNS = 196 + 4 + len(SUBSETS) + 1
LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
SOURCE = Source("WFLW", "https://wywu.github.io/projects/LAB/WFLW.html", f"WFLW_images/ and {LISTS}/")


def read_wflw(root: Path, split: str, allow_partial: bool = False, expected: Counts = OFFICIAL) -> Annotations:
    """Read one official list: per line 98 points, box x_min y_min x_max y_max, six attribute flags, image name.

    A record has the provided box, and the attributes whose flag is 1 as its subsets. See :mod:`awing.data.readers`
    for arguments and errors.
    """
    name = f"{LISTS}/list_98pt_rect_attr_{split}.txt"
    file = root / name
    if not file.is_file():
        return check_complete(SOURCE, root, [], expected[split], allow_partial, [f"{name} is missing"])
    lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n")  # a name may hold other separators
    records = [_parse(root / "WFLW_images", line, f"{file}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    return check_complete(SOURCE, root, records, expected[split], allow_partial)


def _parse(images: Path, line: str, where: str) -> Record:
    words = line.split(maxsplit=COLUMNS - 1)  # the image's name comes last and may hold spaces
    if len(words) != COLUMNS:
        raise DataError(f"{where}: expected {COLUMNS} columns, found {len(words)}")
    values = parse_numbers(words[:-1], where)
    points, box = values[:196].reshape(98, 2), check_box(values[196:200], where)
    path, subsets = image_path(images, words[-1].strip(), where), frozenset(compress(SUBSETS, values[200:]))
    return Record(path, points, np.ones(98, dtype=bool), box, subsets)
