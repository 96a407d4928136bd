"""300-W (68 points) from its own files: Sagonas et al., "300 Faces in-the-Wild Challenge", 2013."""

from pathlib import Path

import numpy as np

from awing.data.records import Annotations, Record, Source, check_complete, parse_numbers
from awing.errors import DataError

# folder -> number of faces, and the subset that its faces belong to (paper 10.2)
SPLITS = {
    "train": {"afw": (337, "afw"), "helen/trainset": (2000, "helen"), "lfpw/trainset": (811, "lfpw")},
    "test": {"helen/testset": (330, "common"), "lfpw/testset": (224, "common"), "ibug": (135, "challenge")},
}
EXTENSIONS = (".jpg", ".jpeg", ".png")
SOURCE = Source(
    "300-W",
    "https://ibug.doc.ic.ac.uk/resources/300-W/",
    "afw/, helen/{trainset,testset}/, lfpw/{trainset,testset}/ and ibug/, an image beside each .pts",
)


def read_300w(root: Path, split: str, allow_partial: bool = False) -> Annotations:
    """Read the faces of a split; each ``.pts`` has an image of the same name, ``.png`` or ``.jpg``, beside it.

    A record has no box (the official ones come apart from the images) and one subset: afw, helen or lfpw of a training
    face, common or challenge of a test face.

    Args:
        root: Folder that holds ``afw``, ``helen``, ``lfpw`` and ``ibug``.
        split: ``"train"`` (afw and the two trainsets) or ``"test"`` (the two testsets: common; ibug: challenge).
        allow_partial: Leave out faces whose image is missing instead of refusing.

    Raises:
        DataError: the set is incomplete, or a ``.pts`` is broken (file and line are named).
    """
    faces, problems = [], []
    for folder, (expected, subset) in SPLITS[split].items():
        files = sorted((root / folder).glob("*.pts"))
        if len(files) != expected:
            problems.append(f"{folder}: expected {expected} .pts files, found {len(files)}")
        beside = sorted((root / folder).iterdir()) if files else []
        images = {path.stem: path for path in beside if path.suffix.lower() in EXTENSIONS}  # of two, the last: .png
        problems += [f"{folder}/{f.stem}.png (or .jpg) is missing" for f in files if f.stem not in images]
        faces += [(file, images[file.stem], subset) for file in files if file.stem in images]
    check_complete(SOURCE, root, problems, allow_partial)
    records = [
        Record(image, read_pts(file, 68), np.ones(68, dtype=bool), None, frozenset({subset}))
        for file, image, subset in faces
    ]
    return Annotations(records, sum(expected for expected, _ in SPLITS[split].values()))


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
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
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
            raise DataError(f"{file}:{n}: expected two numbers, found {line!r}")
    return np.stack([parse_numbers(line.split(), f"{file}:{n}") for n, line in body]) - 1.0
