"""AFLW (19 points) from its own images and AFLWinfo_release.mat: Koestinger et al., 2011; Zhu et al., CVPR 2016."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from awing.data.readers.mat import read_mat
from awing.data.records import Annotations, Record, Source, check_complete, inside
from awing.errors import DataError

OFFICIAL = MappingProxyType({"train": 20000, "test": 4386})  # the paper prints 4,368
NAME = "AFLWinfo_release.mat"
SOURCE = Source(
    "AFLW",
    "https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw (images) and "
    "http://mmlab.ie.cuhk.edu.hk/projects/compositional.html (the .mat)",
    f"data/flickr/{{0,2,3}}/ and {NAME}",
)


def read_aflw(
    root: Path,
    split: str,
    allow_partial: bool = False,
    visible_only: bool = False,
    expected: Mapping[str, int] = OFFICIAL,
) -> Annotations:
    """Read the faces of a split. A record has the annotated box, and the subset frontal if every point is visible.

    The file fills in points that cannot be seen. The usual protocol trains and scores them too; scoring visible ones
    only gives an easier number, not to be compared with it. Coordinates are taken as they stand: whether they are
    0- or 1-based is nowhere said, and moves an error by less than 0.01 of the box.

    Args:
        root: Folder that holds ``data/flickr`` and ``AFLWinfo_release.mat``.
        split: ``"train"`` or ``"test"``.
        allow_partial: Leave out faces whose image is missing instead of refusing.
        visible_only: Label visible points only.
        expected: Number of faces in each complete split; the file's permutation puts the first ones into training.

    Raises:
        DataError: the file is broken (the face is named), or the set is incomplete.
    """
    file, total = root / NAME, sum(expected.values())
    if not file.is_file():
        check_complete(SOURCE, root, [f"{NAME} is missing"], allow_partial)
        return Annotations([], expected[split])
    order = _numbers(file, "ra", total, 1)[:, 0]
    if not np.array_equal(np.sort(order), np.arange(1, total + 1)):
        raise DataError(f"{file}: expected ra to be a permutation of 1 to {total}")
    chosen = order[: expected["train"]] if split == "train" else order[expected["train"] :]
    names = np.ravel(read_mat(file, "nameList"))
    boxes, data = _numbers(file, "bbox", total, 4), _numbers(file, "data", total, 38)
    visible = _numbers(file, "mask_new", total, 19)
    if len(names) != total:
        raise DataError(f"{file}: expected {total} names in nameList, found {len(names)}")
    records, problems = [], []
    for i in chosen.astype(int) - 1:
        where = f"{file}: face {i + 1}"
        path = inside(root / "data" / "flickr", _text(names[i], where), where)
        if not os.path.isfile(path):
            problems.append(f"{path.relative_to(root)} is missing")
            continue
        records.append(_record(path, boxes[i], data[i], visible[i], visible_only, where))
    check_complete(SOURCE, root, problems, allow_partial)
    return Annotations(records, expected[split])


def _numbers(file: Path, name: str, count: int, width: int) -> np.ndarray:
    array = read_mat(file, name)
    if isinstance(array, np.ndarray) and array.dtype != object and array.shape in ((count, width), (width, count)):
        return np.asarray(array if array.shape == (count, width) else array.T, dtype=np.float64)
    raise DataError(f"{file}: expected {count} x {width} numbers in {name}, found {np.shape(array)}")


def _text(name: object, where: str) -> str:
    if not isinstance(name, str):
        raise DataError(f"{where}: expected the name of an image, found {type(name).__name__}")
    return name


def _record(
    path: Path, box: np.ndarray, data: np.ndarray, visible: np.ndarray, visible_only: bool, where: str
) -> Record:
    left, right, top, bottom = box
    points = data.reshape(2, 19).T
    if not (np.isfinite(box).all() and left < right and top < bottom):
        raise DataError(f"{where}: expected a box left < right, top < bottom, found {box.tolist()}")
    if not (np.isfinite(points).all() and np.isin(visible, (0, 1)).all()):
        raise DataError(f"{where}: expected 38 finite coordinates and 19 flags 0 or 1")
    seen = visible == 1
    labelled = seen if visible_only else np.ones(19, dtype=bool)
    subsets = frozenset({"frontal"} if seen.all() else ())
    return Record(path, points, labelled, np.array([left, top, right, bottom]), subsets, occluded=~seen)
