"""LSP and its training extension (14 joints) from their own files: Johnson and Everingham, BMVC 2010, CVPR 2011."""

import os
from pathlib import Path

import numpy as np

from awing.data.images import image_head
from awing.data.records import Annotations, Counts, Record, Source, check_complete, read_mat

OFFICIAL = {"lsp_dataset": 2000, "lspet_dataset": 10000}
PAGES = "http://sam.johnson.io/research/lsp.html and http://sam.johnson.io/research/lspet.html"
SOURCE = Source("LSP", PAGES, "lsp_dataset/ and lspet_dataset/, each with joints.mat and images/")
# folder -> subset, names of its images, and which axes of joints.mat are images, joints and their three numbers
LAYOUTS = {
    "lsp_dataset": ("lsp", "im{:04d}.jpg", (2, 1, 0)),
    "lspet_dataset": ("lspet", "im{:05d}.jpg", (2, 0, 1)),
}


def read_lsp(root: Path, split: str, allow_partial: bool = False, expected: Counts = OFFICIAL) -> Annotations:
    """Read the people of a split: 14 joints, person-centric; the box is the whole image.

    The third number of a joint has different meanings: 1 is *occluded* in LSP, where every joint is labelled, and
    *labelled* in LSPET, where the coordinates of other joints have no meaning. A record's subset is lsp or lspet.

    Coordinates are used as they are, as 0-based: neither set documents this, but the smallest labelled ones are 0.25 in
    LSP and 0 in LSPET, which would be left of or above every pixel if 1-based. The training split is the first half of
    LSP and all of LSPET, the test split the second half of LSP. ``expected`` counts the images of each folder. See
    :mod:`awing.data.readers` for arguments and errors.
    """
    half = expected["lsp_dataset"] // 2
    train = {"lsp_dataset": range(half), "lspet_dataset": range(expected["lspet_dataset"])}
    chosen = train if split == "train" else {"lsp_dataset": range(half, expected["lsp_dataset"])}
    records, problems = [], []
    for folder, numbers in chosen.items():
        file, (subset, name, axes) = root / folder / "joints.mat", LAYOUTS[folder]
        if not file.is_file():
            problems.append(f"{folder}/joints.mat is missing")
            continue
        sizes = (expected[folder], 14, 3)
        stored = read_mat(file, "joints", tuple(sizes[axes.index(axis)] for axis in range(3)))
        joints, images = stored.transpose(axes).astype(np.float64), root / folder / "images"
        for i in numbers:
            path, flag = images / name.format(i + 1), joints[i, :, 2] == 1
            labelled = np.ones(14, dtype=bool) if subset == "lsp" else flag
            found = os.path.isfile(path)  # otherwise check_complete lists it
            box = np.array([0, 0, *image_head(path).stored]) - 0.5 if found else None
            records.append(Record(path, joints[i, :, :2], labelled, box, frozenset({subset})))
    return check_complete(SOURCE, root, records, sum(map(len, chosen.values())), allow_partial, problems)
