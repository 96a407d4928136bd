"""LSP and its training extension (14 joints) from their own files: Johnson and Everingham, BMVC 2010, CVPR 2011."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from awing.data.images import image_size
from awing.data.readers.mat import read_mat
from awing.data.records import Annotations, Record, Source, check_complete
from awing.errors import DataError

OFFICIAL = MappingProxyType({"lsp_dataset": 2000, "lspet_dataset": 10000})
SOURCE = Source(
    "LSP",
    "http://sam.johnson.io/research/lsp.html and http://sam.johnson.io/research/lspet.html",
    "lsp_dataset/ and lspet_dataset/, each with joints.mat and images/",
)


class _Layout(NamedTuple):
    subset: str
    image: str
    axes: tuple[int, int, int]  # from the file's order to (images, joints, x y flag)


LAYOUTS = {
    "lsp_dataset": _Layout("lsp", "images/im{:04d}.jpg", (2, 1, 0)),
    "lspet_dataset": _Layout("lspet", "images/im{:05d}.jpg", (2, 0, 1)),
}


def read_lsp(
    root: Path, split: str, allow_partial: bool = False, expected: Mapping[str, int] = OFFICIAL
) -> Annotations:
    """Read the people of a split: 14 joints, person-centric; the box is the whole image.

    The third number of a joint means opposite things: 1 is *occluded* in LSP, where every joint is labelled, and
    *labelled* in LSPET, where the coordinates of the others mean nothing. A record's subset is lsp or lspet.

    Coordinates are taken as they stand, 0-based: neither set says, their values are rescaled clicks, and labelled ones
    come down to 0.25 in LSP and to exactly 0 in LSPET, left of or above every pixel if they were 1-based.

    Args:
        root: Folder that holds ``lsp_dataset`` and ``lspet_dataset``.
        split: ``"train"`` (the first half of LSP and all of LSPET) or ``"test"`` (the second half of LSP).
        allow_partial: Leave out people whose image is missing instead of refusing.
        expected: Number of images in each complete folder.

    Raises:
        DataError: a ``joints.mat`` or an image is broken (the file is named), or the set is incomplete.
    """
    half = expected["lsp_dataset"] // 2
    chosen = {
        "train": {"lsp_dataset": range(half), "lspet_dataset": range(expected["lspet_dataset"])},
        "test": {"lsp_dataset": range(half, expected["lsp_dataset"])},
    }[split]
    records, problems = [], []
    for folder, numbers in chosen.items():
        file, layout = root / folder / "joints.mat", LAYOUTS[folder]
        if not file.is_file():
            problems.append(f"{folder}/joints.mat is missing")
            continue
        joints = _read_joints(file, layout, expected[folder])
        for i in numbers:
            path = root / folder / layout.image.format(i + 1)
            if os.path.isfile(path):
                records.append(_record(path, joints[i], layout.subset))
            else:
                problems.append(f"{path.relative_to(root)} is missing")
    check_complete(SOURCE, root, problems, allow_partial)
    return Annotations(records, sum(map(len, chosen.values())))


def _read_joints(file: Path, layout: _Layout, count: int) -> Float[np.ndarray, "n 14 3"]:
    joints = read_mat(file, "joints")
    shape = tuple((count, 14, 3)[layout.axes.index(axis)] for axis in range(3))
    if not isinstance(joints, np.ndarray) or joints.dtype == object or joints.shape != shape:
        raise DataError(f"{file}: expected joints of shape {shape}, found {np.shape(joints)}")
    joints = np.asarray(joints.transpose(layout.axes), dtype=np.float64)
    for good, what in (
        (np.isfinite(joints), "finite numbers"),
        (np.isin(joints[..., 2:], (0, 1)), "a flag 0 or 1 as the third number"),
    ):
        if not good.all():
            image, joint, _ = np.argwhere(~good)[0]
            found = joints[image, joint].tolist()
            raise DataError(f"{file}: image {image + 1}, joint {joint + 1}: expected {what}, found {found}")
    return joints


def _record(path: Path, joints: Float[np.ndarray, "14 3"], subset: str) -> Record:
    width, height = image_size(path)
    box = np.array([0, 0, width, height]) - 0.5
    flag = joints[:, 2] == 1
    labelled, occluded = (np.ones(14, dtype=bool), flag) if subset == "lsp" else (flag, None)
    return Record(path, joints[:, :2], labelled, box, frozenset({subset}), occluded)
