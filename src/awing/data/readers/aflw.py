"""AFLW (19 points) from its own images and AFLWinfo_release.mat: Koestinger et al., 2011; Zhu et al., CVPR 2016."""

from pathlib import Path

import numpy as np

from awing.data.records import Annotations, Counts, Record, Source, check_box, check_complete, read_mat

OFFICIAL = {"train": 20000, "test": 4386}  # the paper prints 4,368
NAME = "AFLWinfo_release.mat"
PAGES = "https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw (images) and "
PAGES += "http://mmlab.ie.cuhk.edu.hk/projects/compositional.html (the .mat)"
SOURCE = Source("AFLW", PAGES, f"data/flickr/{{0,2,3}}/ and {NAME}")


def read_aflw(
    root: Path, split: str, allow_partial: bool = False, visible_only: bool = False, expected: Counts = OFFICIAL
) -> Annotations:
    """Read the faces of a split. A record has the annotated box, and the subset frontal if every point is visible.

    The file also has positions of invisible points. The usual protocol trains and scores them too; ``visible_only``
    labels visible ones only, an easier task whose results are not comparable. Coordinates are used as they are: whether
    they are 0- or 1-based is not documented, and changes an error by less than 0.01 of the box. The first faces of the
    file's permutation are for training. See :mod:`awing.data.readers` for arguments and errors.
    """
    file, total = root / NAME, sum(expected.values())
    if not file.is_file():
        return check_complete(SOURCE, root, [], expected[split], allow_partial, [f"{NAME} is missing"])
    names, order = (np.ravel(read_mat(file, name)) for name in ("nameList", "ra"))
    widths = {"bbox": 4, "data": 38, "mask_new": 19}
    boxes, data, visible = (read_mat(file, name, (total, n)).astype(np.float64) for name, n in widths.items())
    chosen = order[: expected["train"]] if split == "train" else order[expected["train"] :]
    records = []
    for i in chosen.astype(int) - 1:
        path, seen = root / "data" / "flickr" / str(names[i]), visible[i] == 1
        box = check_box(boxes[i, [0, 2, 1, 3]], f"{file}: face {i + 1}")  # left, right, top, bottom
        labelled = seen if visible_only else np.ones(19, dtype=bool)
        subsets = frozenset({"frontal"} if seen.all() else ())
        records.append(Record(path, data[i].reshape(2, 19).T, labelled, box, subsets))
    return check_complete(SOURCE, root, records, expected[split], allow_partial)
