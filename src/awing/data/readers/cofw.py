"""COFW (29 points and their occlusion) from its own files: Burgos-Artizzu et al., ICCV 2013."""

from pathlib import Path

import h5py
import numpy as np

from awing.data.records import Annotations, Counts, Record, Source, check_box, check_complete
from awing.errors import DataError

OFFICIAL = {"train": 1345, "test": 507}
FILES = {"train": ("COFW_train_color.mat", "Tr"), "test": ("COFW_test_color.mat", "T")}  # file, suffix of variables
SOURCE = Source("COFW", "https://data.caltech.edu/records/bc0bf-nc666", "COFW_train_color.mat and COFW_test_color.mat")


def read_cofw(root: Path, split: str, allow_partial: bool = False, expected: Counts = OFFICIAL) -> Annotations:
    """Read the faces of a split; the images stay in the file until a sample needs one.

    The files are MATLAB's version 7.3 (HDF5); coordinates are 1-based. See :mod:`awing.data.readers` for arguments.
    """
    name, end = FILES[split]
    file = root / name
    if not file.is_file():
        return check_complete(SOURCE, root, [], expected[split], allow_partial, [f"{name} is missing"])
    try:
        with h5py.File(file) as content:
            entries = [content[reference].name for reference in np.ravel(content[f"Is{end}"])]
            boxes, phis = (content[f"{array}{end}"][()].astype(np.float64).T for array in ("bboxes", "phis"))
    except (OSError, LookupError) as error:
        raise DataError(f"{file}: expected a MATLAB file of version 7.3, but it cannot be read: {error}") from None
    records = []
    for n, (entry, (x, y, width, height), values) in enumerate(zip(entries, boxes, phis, strict=True), 1):
        box = check_box(np.array([x, y, x + width, y + height]) - 1, f"{file}: face {n}")
        points = values[:58].reshape(2, 29).T - 1
        records.append(Record(file, points, np.ones(29, dtype=bool), box, entry=entry))
    return check_complete(SOURCE, root, records, expected[split], allow_partial)
