"""300-W (68 points) from its own files: Sagonas et al., "300 Faces in-the-Wild Challenge", 2013."""

from pathlib import Path

import numpy as np

from awing.arrays import Box
from awing.data.readers.mat import read_mat
from awing.data.records import Annotations, Record, Source, check_complete, parse_numbers, read_text
from awing.errors import DataError, short

# folder -> number of faces, and the subset that its faces belong to (paper 10.2)
SPLITS = {
    "train": {"afw": (337, "afw"), "helen/trainset": (2000, "helen"), "lfpw/trainset": (811, "lfpw")},
    "test": {"helen/testset": (330, "common"), "lfpw/testset": (224, "common"), "ibug": (135, "challenge")},
}
PRIVATE = {"01_Indoor": (300, "indoor"), "02_Outdoor": (300, "outdoor")}
EXTENSIONS = (".jpg", ".jpeg", ".png")
SOURCE = Source(
    "300-W",
    "https://ibug.doc.ic.ac.uk/resources/300-W/",
    "afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/, an image beside each .pts",
)
PRIVATE_SOURCE = Source(
    "the private test set of 300-W", SOURCE.url, "01_Indoor/ and 02_Outdoor/, an image beside each .pts"
)


def read_300w(root: Path, split: str, allow_partial: bool = False) -> Annotations:
    """Read the faces of a split; each ``.pts`` has an image of the same name, ``.png`` or ``.jpg``, beside it.

    A record has one subset: afw, helen or lfpw of a training face, common or challenge of a test face. Its box is the
    official detector's where ``bounding_boxes_*.mat`` is there: these come apart from the images.

    Args:
        root: Folder that holds ``afw``, ``helen``, ``lfpw`` and ``ibug``, and perhaps the files of boxes or their
            folder, ``Bounding Boxes``.
        split: ``"train"`` (afw and the two trainsets) or ``"test"`` (the two testsets: common; ibug: challenge).
        allow_partial: Leave out faces whose image is missing, and boxes that their file lacks, instead of refusing.

    Raises:
        DataError: the set is incomplete, or a ``.pts`` or a file of boxes is broken (file and place are named).
    """
    return _read(SOURCE, root, SPLITS[split], allow_partial)


def read_300w_private(root: Path, split: str, allow_partial: bool = False, *, train_root: str) -> Annotations:
    """Read the private test set of the challenge, subsets indoor and outdoor; training faces are those of 300-W.

    Args:
        root: Folder that holds ``01_Indoor`` and ``02_Outdoor``, or ``300W``, in which they are.
        split: ``"train"`` or ``"test"``.
        allow_partial: Leave out faces whose image is missing instead of refusing.
        train_root: The folder of 300-W; see :func:`read_300w`.

    Raises:
        DataError: the set is incomplete, or a file is broken.
    """
    if split == "train":
        return read_300w(Path(train_root), "train", allow_partial)
    inner = root / "300W"
    return _read(PRIVATE_SOURCE, inner if inner.is_dir() else root, PRIVATE, allow_partial)


def _read(source: Source, root: Path, folders: dict[str, tuple[int, str]], allow_partial: bool) -> Annotations:
    faces, problems = [], []
    for folder, (expected, subset) in folders.items():
        files = sorted((root / folder).glob("[!.]*.pts"))  # macOS leaves ._NAME.pts
        if len(files) != expected:
            problems.append(f"{folder}: expected {expected} .pts files, found {len(files)}")
        beside = sorted((root / folder).iterdir()) if files else []
        images = {path.stem: path for path in beside if path.suffix.lower() in EXTENSIONS}  # of two, the last: .png
        problems += [f"{folder}/{f.stem}.png (or .jpg) is missing" for f in files if f.stem not in images]
        boxes, no_box = _find_boxes(root, folder) if source is SOURCE else ({}, "")
        problems += [f"{folder}/{f.stem}: {no_box}" for f in files if boxes and f.stem not in boxes]
        faces += [(f, images[f.stem], subset, boxes.get(f.stem), no_box) for f in files if f.stem in images]
    check_complete(source, root, problems, allow_partial)
    records = [
        Record(
            image, read_pts(file, 68), np.ones(68, dtype=bool), box, frozenset({subset}),
            no_box="" if box is not None else no_box, root=root,
        )
        for file, image, subset, box, no_box in faces
    ]  # fmt: skip
    return Annotations(records, sum(expected for expected, _ in folders.values()))


def _find_boxes(root: Path, folder: str) -> tuple[dict[str, Box], str]:
    """The official boxes of a folder by its images' names, none without their file; and why one may be missing."""
    name = f"bounding_boxes_{folder.replace('/', '_')}.mat"
    for file in (root / name, root / "Bounding Boxes" / name):
        if file.is_file():
            return read_boxes(file), f"{file.relative_to(root)} has no box of it"
    return {}, f"the official boxes, {name}, are not in {root}; get them from {SOURCE.url}"


def read_boxes(file: Path) -> dict[str, Box]:
    """Read a file of official boxes: a cell array ``bounding_boxes`` of structs with ``imgName`` and ``bb_detector``.

    Returns:
        Image name without extension -> x0, y0, x1, y1 in source px, 0-based.

    Raises:
        DataError: the file, or an entry of it, is broken.
    """
    boxes = {}
    for n, entry in enumerate(np.ravel(read_mat(file, "bounding_boxes")), 1):
        try:
            (struct,) = entry.ravel()
            name, box = struct["imgName"], struct["bb_detector"].astype(np.float64).ravel() - 1
            stem = Path(name).stem
        except (AttributeError, LookupError, TypeError, ValueError):
            raise DataError(f"{file}: entry {n}: expected a struct with imgName and bb_detector") from None
        if box.shape != (4,) or not np.isfinite(box).all() or not (box[:2] < box[2:]).all():
            raise DataError(f"{file}: entry {n}, {name}: expected a box x0 y0 x1 y1, found {(box + 1).tolist()}")
        boxes[stem] = box
    return boxes


def read_pts(file: Path, count: int) -> np.ndarray:
    """Read a ``.pts`` file; its 1-based coordinates become 0-based.

    Returns:
        (count, 2) points, x and y in source px.

    Raises:
        DataError: not ``version: 1``, not ``count`` points, or not two finite numbers a line.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "face.pts")
    ...     _ = file.write_text("version: 1\\nn_points: 2\\n{\\n1 1\\n10.5 20\\n}\\n")
    ...     read_pts(file, 2)
    array([[ 0. ,  0. ],
           [ 9.5, 19. ]])
    """
    lines = [line.strip() for line in read_text(file).splitlines()]
    content = [(n, line) for n, line in enumerate(lines, 1) if line]
    head = ["".join(line.split()) for _, line in content[:3]]
    if head != ["version:1", f"n_points:{count}", "{"] or content[-1][1] != "}":
        found = [line[:40] for _, line in content[:3] + content[-1:]]
        wanted = f"'version: 1', 'n_points: {count}' and the points in braces"
        raise DataError(f"{file}: expected {wanted}, found {found[:3]} ... {found[3:]}")
    body = content[3:-1]
    if len(body) != count:
        raise DataError(f"{file}: expected {count} points, found {len(body)}")
    for n, line in body:
        if len(line.split()) != 2:
            raise DataError(f"{file}:{n}: expected two numbers, found {short(line)}")
    return np.stack([parse_numbers(line.split(), f"{file}:{n}") for n, line in body]) - 1.0
