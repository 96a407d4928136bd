"""COFW (29 points and their occlusion) from its own files: Burgos-Artizzu et al., ICCV 2013."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np

from awing.data.images import plain
from awing.data.records import Annotations, Record, Source, check_complete
from awing.errors import DataError

OFFICIAL = MappingProxyType({"train": 1345, "test": 507})
FILES = {"train": ("COFW_train_color.mat", "Tr"), "test": ("COFW_test_color.mat", "T")}  # and the ends of its names
SOURCE = Source("COFW", "https://data.caltech.edu/records/bc0bf-nc666", "COFW_train_color.mat and COFW_test_color.mat")


def read_cofw(
    root: Path, split: str, allow_partial: bool = False, expected: Mapping[str, int] = OFFICIAL
) -> Annotations:
    """Read the faces of a split; the images stay in the file until a sample needs one.

    A record has the provided box, and the annotated occlusion of each point. The files are MATLAB's version 7.3, which
    is HDF5, with 1-based coordinates.

    Args:
        root: Folder that holds the two ``.mat`` files.
        split: ``"train"`` or ``"test"``.
        allow_partial: Accept another number of faces than expected, or no file.
        expected: Number of faces in each complete file.

    Raises:
        DataError: a file is broken (it and the array are named), or incomplete.
    """
    name, end = FILES[split]
    file = root / name
    if not file.is_file():
        check_complete(SOURCE, root, [f"{name} is missing"], allow_partial)
        return Annotations([], expected[split])
    try:
        with h5py.File(file) as content:
            references = np.ravel(_array(file, content, f"Is{end}", rows=1))
            boxes = _array(file, content, f"bboxes{end}", rows=4).astype(np.float64).T
            values = _array(file, content, f"phis{end}", rows=87).astype(np.float64).T
            entries = [_name(file, content, reference, n) for n, reference in enumerate(references, 1)]
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise DataError(f"{file}: expected a MATLAB file of version 7.3, but it cannot be read: {error}") from None
    if not len(entries) == len(boxes) == len(values):
        counts = f"{len(entries)} images, {len(boxes)} boxes and {len(values)} annotations"
        raise DataError(f"{file}: expected as many boxes and annotations as images, found {counts}")
    problems = [f"{name}: expected {expected[split]} faces, found {len(entries)}"] * (len(entries) != expected[split])
    check_complete(SOURCE, root, problems, allow_partial)
    faces = enumerate(zip(entries, boxes, values, strict=True), 1)
    return Annotations([_record(file, n, *face) for n, face in faces], expected[split])


def _array(file: Path, content: h5py.File, name: str, rows: int) -> np.ndarray:
    try:
        array = plain(content.get(name), content)
        if array.ndim != 2 or array.shape[0] != rows:
            raise ValueError(array.shape)
    except ValueError as error:
        raise DataError(f"{file}: expected an array {name} of shape ({rows}, faces), found {error}") from None
    values: np.ndarray = array[()]
    return values


def _name(file: Path, content: h5py.File, reference: object, n: int) -> str:
    image = content[reference] if isinstance(reference, h5py.Reference) and reference else None
    if not isinstance(image, h5py.Dataset):
        raise DataError(f"{file}: face {n}: expected a reference to an image, found none")
    return str(image.name)


def _record(file: Path, n: int, entry: str, box: np.ndarray, values: np.ndarray) -> Record:
    x, y, width, height = box
    points, occluded = values[:58].reshape(2, 29).T - 1, values[58:]
    if not (np.isfinite(box).all() and width > 0 and height > 0):
        raise DataError(f"{file}: face {n}: expected a box x y width height, found {box.tolist()}")
    if not (np.isfinite(points).all() and np.isin(occluded, (0, 1)).all()):
        raise DataError(f"{file}: face {n}: expected 58 finite coordinates and 29 flags 0 or 1")
    corners = np.array([x, y, x + width, y + height]) - 1
    return Record(file, points, np.ones(29, dtype=bool), corners, occluded=occluded == 1, entry=entry)
