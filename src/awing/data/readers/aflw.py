"""AFLW (19 points) from its own images and AFLWinfo_release.mat: Koestinger et al., 2011; Zhu et al., CVPR 2016."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from awing.data.records import Annotations, Record, Source, check_box, check_complete, read_mat

OFFICIAL = {"train": 20000, "test": 4386}  # the paper prints 4,368
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

    The file fills in points that cannot be seen. The usual protocol trains and scores them too; ``visible_only`` labels
    visible ones only, which gives an easier number, not to be compared with it. Coordinates are taken as they stand:
    whether they are 0- or 1-based is nowhere said, and moves an error by less than 0.01 of the box. The first faces of
    the file's permutation are those of training. See :mod:`awing.data.readers` for arguments and errors.
    """
    file, total = root / NAME, sum(expected.values())
    if not file.is_file():
        return check_complete(SOURCE, root, [], expected[split], allow_partial, [f"{NAME} is missing"])
    names, order = (np.ravel(read_mat(file, name)) for name in ("nameList", "ra"))
    boxes, data, visible = (
        read_mat(file, name, (total, width)).astype(np.float64)
        for name, width in (("bbox", 4), ("data", 38), ("mask_new", 19))
    )
    chosen = order[: expected["train"]] if split == "train" else order[expected["train"] :]
    records = []
    for i in chosen.astype(int) - 1:
        left, right, top, bottom = boxes[i]
        box = check_box(np.array([left, top, right, bottom]), f"{file}: face {i + 1}")
        seen = visible[i] == 1
        labelled = seen if visible_only else np.ones(19, dtype=bool)
        subsets = frozenset({"frontal"} if seen.all() else ())
        path = root / "data" / "flickr" / str(names[i])
        records.append(Record(path, data[i].reshape(2, 19).T, labelled, box, subsets, occluded=~seen))
    return check_complete(SOURCE, root, records, expected[split], allow_partial)
