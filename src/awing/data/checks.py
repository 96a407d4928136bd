"""Checks of annotated faces against their pictures, their scheme and each other; each gives findings to read."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from awing.data.images import image_head, read_record, uses_few_bits
from awing.data.records import Record
from awing.errors import DataError
from awing.schemes import Scheme
from awing.schemes.symmetry import other_mirror_images, unpaired_sides

Face = tuple[str, Record]  # and its split
Finding = tuple[str, str]  # kind and text
TWO_FACES, NO_FACE = "different faces of a picture in two splits", "splits without a face"
COPIES, OUTSIDE, LEFT_OUT = "copies in two splits?", "points outside their picture", "left out"
STORED = (
    "images with an EXIF orientation, whose annotations are taken to be of the stored pixels (or dataset.upright=true)"
)
UPRIGHT = "images that are read turned by their EXIF orientation"
FEW_BITS = "images that use less than 1/8 of their 16 bits and become nearly black (dataset.bits=12, or range)"
NOTES = (TWO_FACES, NO_FACE, COPIES, OUTSIDE, LEFT_OUT, STORED, UPRIGHT, FEW_BITS)  # fail nothing
# what exports and file managers add to the name of a copy: a_jpg.rf.0a1b.jpg, a - Copy (2).jpg
COPY = re.compile(r"(_(jpe?g|png|webp))?\.rf\.\w+$|[ _-]+copy[ _-]*(\d+|\(\d+\))?$", re.IGNORECASE)


def check_points(record: Record, width: int, height: int) -> str | None:
    """Labelled points are finite, half of them lie in the image, and not all in one place."""
    points = record.points[record.labelled]
    if not (n := len(points)) or not np.isfinite(points).all():
        return f"expected finite labelled points, found {n}"
    inside = ((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(1).sum()
    if inside < n / 2:
        return f"{inside} of {n} points lie in its {width} x {height} px"
    return f"all of its {n} points lie in one place" if n > 1 and np.ptp(points, axis=0).max() == 0 else None


def check_box(record: Record, width: int, height: int) -> str | None:
    """The provided box holds its face, and is not much larger than it unless it is the whole image."""
    points = record.points[record.labelled]
    if record.box is None or not len(points):
        return None
    low, high, box = record.box[:2], record.box[2:], record.box.round(1).tolist()
    margin = 0.1 * (high - low)
    held = ((points >= low - margin) & (points <= high + margin)).all(1).sum()
    if held < 0.8 * len(points):
        return f"{held} of {len(points)} points lie in or near its box {box}"
    too_large = (high - low).max() > 4 * np.ptp(points, axis=0).max() > 0
    whole_image = np.array_equal(record.box, (-0.5, -0.5, width - 0.5, height - 0.5))
    return f"its box {box} is over 4 times as large as its face" if too_large and not whole_image else None


def check_outside(record: Record, width: int, height: int) -> str | None:
    """No labelled point lies outside its picture."""
    inside = ((record.points >= -0.5) & (record.points <= (width - 0.5, height - 0.5))).all(1)
    outside = np.flatnonzero(record.labelled & ~inside)
    where = ", ".join(f"x{i},y{i} ({record.points[i, 0]:g}, {record.points[i, 1]:g})" for i in outside[:6])
    more = f" and {len(outside) - 6} more" * (len(outside) > 6)
    return f"{where}{more} outside its {width} x {height} px" if len(outside) else None


FACE_CHECKS = {
    "implausible points": check_points, "boxes beside their face": check_box, OUTSIDE: check_outside,
}  # fmt: skip


def check_placeholders(records: Sequence[Record], scheme: Scheme) -> Iterator[Finding]:
    """No landmark is exactly (0, 0) or (-1, -1) in several faces, as exporters write one that is not labelled."""
    advice = "leave both cells empty, in COCO visibility 0, where a point is not labelled"
    for value in (0, -1):
        found = [np.flatnonzero(r.labelled & (r.points == value).all(1)) for r in records]
        for i, count in sorted(Counter(int(i) for indices in found for i in indices).items()):
            if count > 1:
                where = f"x{i},y{i} ({scheme.names[i]}) is exactly ({value}, {value})"
                yield "points that stand for none", f"{where} in {count} of {len(records)} faces: {advice}"


def check_symmetry(records: Sequence[Record], scheme: Scheme) -> Iterator[Finding]:
    """Flip pairs are those that the names and the mean face say."""
    yield from (("left and right without a flip pair", text) for text in unpaired_sides(scheme))
    if records:
        faces = np.array([r.points for r in records]), np.array([r.labelled for r in records])
        yield from (("flip pairs beside the mean face", text) for text in other_mirror_images(scheme, *faces))


def check_image(faces: Sequence[Face]) -> tuple[str, list[Finding]]:
    """The hash of an image's pixels, and what is wrong with it or its faces."""
    record = faces[0][1]
    try:
        image = read_record(record)
        turned = not record.entry and image_head(record.path)[2] > 1
    except DataError as error:
        return record.name, [("unreadable images", str(error))]
    height, width = image.shape[:2]
    notes = [(UPRIGHT if record.upright else STORED, record.name)] if turned else []
    notes += [(FEW_BITS, record.name)] if uses_few_bits(record, image) else []
    found = [(kind, r.name, check(r, width, height)) for _, r in faces for kind, check in FACE_CHECKS.items()]
    digest = hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest()
    return digest, [*notes, *((kind, f"{name}: {text}") for kind, name, text in found if text)]


def check_copies(same_pixels: dict[str, list[Face]]) -> Iterator[Finding]:
    """No picture is in two splits; ``same_pixels`` has the faces of equal pictures under their hash."""
    for faces in same_pixels.values():
        splits, names = sorted({split for split, _ in faces}), sorted({record.name for _, record in faces})
        if len(splits) > 1:
            points = {(split, record.points.tobytes()) for split, record in faces}
            leak = len(names) > 1 or len({face for _, face in points}) < len(points)
            yield "in two splits" if leak else TWO_FACES, f"{' = '.join(names)}: {', '.join(splits)}"


def check_near_copies(images: Iterable[list[Face]]) -> Iterator[Finding]:
    """No picture of one split has the points of one of another, or its name but for what marks a copy."""
    alike: dict[tuple[str, object], dict[str, str]] = defaultdict(dict)  # a picture of each split
    faces = [face for faces in images for face in faces]
    copied = {COPY.sub("", r.path.stem) for _, r in faces if COPY.search(r.path.stem)}
    for split, record in faces:
        if record.labelled.sum() > 1:
            alike["equal points", record.points[record.labelled].tobytes()].setdefault(split, record.name)
        if (stem := COPY.sub("", record.path.stem)) in copied:
            alike["names", stem].setdefault(split, record.name)
    for (why, _), names in alike.items():
        if len(set(names.values())) > 1:
            yield COPIES, f"{' ~ '.join(f'{name} ({split})' for split, name in names.items())}: {why}"
