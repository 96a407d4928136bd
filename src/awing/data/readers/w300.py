"""300-W (68 points) from its own files: Sagonas et al., "300 Faces in-the-Wild Challenge", 2013."""

import re
from pathlib import Path

import numpy as np

from awing.arrays import Box, Points
from awing.data.records import Annotations, Record, Source, check_box, check_complete, parse_numbers, read_mat
from awing.errors import DataError

# folder -> number of faces, and the subset that its faces belong to (paper 10.2)
SPLITS = {
    "train": {"afw": (337, "afw"), "helen/trainset": (2000, "helen"), "lfpw/trainset": (811, "lfpw")},
    "test": {"helen/testset": (330, "common"), "lfpw/testset": (224, "common"), "ibug": (135, "challenge")},
}
PRIVATE = {"01_Indoor": (300, "indoor"), "02_Outdoor": (300, "outdoor")}
PAGE, BESIDE = "https://ibug.doc.ic.ac.uk/resources/300-W/", "an image beside each .pts"
SOURCE = Source("300-W", PAGE, f"afw/, helen/{{trainset,testset}}/, lfpw/{{trainset,testset}}/ and ibug/, {BESIDE}")
PRIVATE_SOURCE = Source("the private test set of 300-W", PAGE, f"01_Indoor/ and 02_Outdoor/, {BESIDE}")


def read_300w(root: Path, split: str, allow_partial: bool = False) -> Annotations:
    """Read the faces of a split; each ``.pts`` has an image of the same name, ``.png`` or ``.jpg``, beside it.

    A record has one subset: afw, helen or lfpw for a training face, common or challenge for a test face. Its box is the
    official detector's if ``bounding_boxes_*.mat`` is in ``root`` or in its folder ``Bounding Boxes``: these files are
    distributed apart from the images. See :mod:`awing.data.readers` for arguments and errors.
    """
    return _read(SOURCE, root, SPLITS[split], allow_partial)


def read_300w_private(root: Path, split: str, allow_partial: bool = False, *, train_root: str) -> Annotations:
    """Read the private test set of the challenge, subsets indoor and outdoor; training faces are those of 300-W.

    ``root`` may hold a folder ``300W`` with everything in it, as the archive does.
    """
    if split == "train":
        return read_300w(Path(train_root), "train", allow_partial)
    inner = root / "300W"
    return _read(PRIVATE_SOURCE, inner if inner.is_dir() else root, PRIVATE, allow_partial)


def _read(source: Source, root: Path, folders: dict[str, tuple[int, str]], allow_partial: bool) -> Annotations:
    records, problems, labelled = [], [], np.ones(68, dtype=bool)
    for folder, (expected, subset) in folders.items():
        files = sorted((root / folder).glob("[!.]*.pts"))  # macOS leaves ._NAME.pts
        if len(files) != expected:
            problems.append(f"{folder}: expected {expected} .pts files, found {len(files)}")
        beside, subsets = sorted((root / folder).glob("*")), frozenset({subset})  # of two images the last wins: .png
        images = {path.stem: path for path in beside if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
        boxes, no_box = _read_boxes(root, folder) if source is SOURCE else ({}, "")
        for file in files:
            stem, points = file.stem, read_pts(file, 68)
            if stem not in images:
                problems.append(f"{folder}/{stem}.png (or .jpg) is missing")
                continue
            if boxes and stem not in boxes:
                problems.append(f"{folder}/{stem}: {no_box}")
            why = "" if stem in boxes else no_box
            records.append(Record(images[stem], points, labelled, boxes.get(stem), subsets, no_box=why, root=root))
    return check_complete(source, root, records, sum(n for n, _ in folders.values()), allow_partial, problems)


def _read_boxes(root: Path, folder: str) -> tuple[dict[str, Box], str]:
    """Official boxes of a folder by image stem, and the reason why a face may have none."""
    name = f"bounding_boxes_{folder.replace('/', '_')}.mat"
    file = next((file for file in (root / name, root / "Bounding Boxes" / name) if file.is_file()), None)
    if file is None:
        return {}, f"the official boxes, {name}, are not in {root}; get them from {SOURCE.url}"
    boxes = {}
    for entry in np.ravel(read_mat(file, "bounding_boxes")):  # one face: the struct itself
        image, box = entry["imgName"], entry["bb_detector"].astype(np.float64) - 1
        boxes[Path(image).stem] = check_box(box, f"{file}: {image}")
    return boxes, f"{file.relative_to(root)} has no box of it"


def read_pts(file: Path, count: int | None = None) -> Points:
    """Read the points of a ``.pts`` file (``count``, if given) in source px; 1-based coordinates become 0-based."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    parts = re.fullmatch(r"\s*version:\s*1\s+n_points:\s*(\d+)\s*\{(.*)\}\s*", text, re.DOTALL)
    if parts is None:
        expected = f"'version: 1', 'n_points: {count or 68}' and points in braces"
        raise DataError(f"{file}: expected {expected}, found {text!r:.80}")
    words, count = parts[2].split(), count or int(parts[1])
    if int(parts[1]) != count or len(words) != 2 * count:
        found = f"n_points: {parts[1]} and {len(words)} numbers"
        raise DataError(f"{file}: expected {count} points, two numbers each, found {found}")
    return parse_numbers(words, str(file)).reshape(count, 2) - 1.0
