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
from awing.schemes.scheme import other_mirror_images, side_pairs

Face = tuple[str, Record]  # and its split
Finding = tuple[str, str, str]  # "problems", or "notes" that fail nothing; kind and text
# what exports and file managers add to the name of a copy: a_jpg.rf.0a1b.jpg, a - Copy (2).jpg
COPY = re.compile(r"(_(jpe?g|png|webp))?\.rf\.\w+$|[ _-]+copy[ _-]*(\d+|\(\d+\))?$", re.IGNORECASE)


def check_face(record: Record, width: int, height: int) -> Iterator[Finding]:
    """Labelled points lie in the picture, not all in one place; the box holds them, and is not much larger.

    A box may be that of the whole picture.
    """
    points, size = record.points[record.labelled], f"{width} x {height} px"
    inside = ((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(1)
    n, extent, outside = len(points), np.ptp(points, axis=0).max(initial=0), np.flatnonzero(record.labelled)[~inside]
    implausible, beside = ("problems", "implausible points"), ("problems", "boxes beside their face")
    if not n or not np.isfinite(points).all():
        yield *implausible, f"expected finite labelled points, found {n}"
        return
    if inside.sum() < n / 2:
        yield *implausible, f"{inside.sum()} of {n} points lie in its {size}"
    elif n > 1 and extent == 0:
        yield *implausible, f"all of its {n} points lie in one place"
    if len(outside):
        where = ", ".join("x{0},y{0} ({1:g}, {2:g})".format(i, *record.points[i]) for i in outside[:6])
        yield "notes", "points outside their picture", f"{len(outside)} outside its {size}: {where}"
    if record.box is not None:
        low, high, box = record.box[:2], record.box[2:], record.box.round(1).tolist()
        margin = 0.1 * (high - low)
        held = ((points >= low - margin) & (points <= high + margin)).all(1).sum()
        if held < 0.8 * n:
            yield *beside, f"{held} of {n} points lie in or near its box {box}"
        elif (high - low).max() > 4 * extent > 0 and box != [-0.5, -0.5, width - 0.5, height - 0.5]:
            yield *beside, f"its box {box} is over 4 times as large as its face"


def check_placeholders(records: Sequence[Record], scheme: Scheme) -> Iterator[Finding]:
    """No landmark is exactly (0, 0) or (-1, -1) in several faces, as exporters write one that is not labelled."""
    advice = "leave both cells empty, in COCO visibility 0, where a point is not labelled"
    for value in (0, -1):
        found = [np.flatnonzero(r.labelled & (r.points == value).all(1)) for r in records]
        for i, count in sorted(Counter(int(i) for indices in found for i in indices).items()):
            if count > 1:
                where = f"x{i},y{i} ({scheme.names[i]}) is exactly ({value}, {value})"
                yield "problems", "points that stand for none", f"{where} in {count} of {len(records)} faces: {advice}"


def check_symmetry(records: Sequence[Record], scheme: Scheme) -> Iterator[Finding]:
    """Flip pairs are those that the names and the mean face say."""
    for pair in side_pairs(scheme.names):
        if not {*pair} <= {i for known in scheme.flip_pairs for i in known}:
            a, b = (scheme.names[i] for i in pair)
            yield "problems", "left and right without a flip pair", f"{a} and {b} are in no flip pair"
    if records:
        points, labelled = np.array([r.points for r in records]), np.array([r.labelled for r in records])
        for text in other_mirror_images(scheme, points, labelled):
            yield "problems", "flip pairs beside the mean face", text


def check_image(faces: Sequence[Face]) -> tuple[str, list[Finding]]:
    """The hash of an image's pixels, and what is wrong with it or its faces."""
    record = faces[0][1]
    try:
        image = read_record(record)
        turned = not record.entry and image_head(record.path).turned
    except DataError as error:
        return record.name, [("problems", "unreadable images", str(error))]
    height, width = image.shape[:2]
    found = [
        (level, kind, f"{face.name}: {text}")
        for _, face in faces for level, kind, text in check_face(face, width, height)
    ]  # fmt: skip
    if turned:
        stored = "whose annotations are taken to be of the stored pixels (or dataset.upright=true)"
        how = "which are read turned by it" if record.upright else stored
        found.append(("notes", f"images with an EXIF orientation, {how}", record.name))
    if uses_few_bits(record, image):
        why = "use less than 1/8 of their 16 bits and become nearly black (dataset.bits=12, or range)"
        found.append(("notes", f"images that {why}", record.name))
    return hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest(), found


def check_copies(same_pixels: dict[str, list[Face]]) -> Iterator[Finding]:
    """No picture is in two splits; ``same_pixels`` has the faces of equal pictures under their hash."""
    for faces in same_pixels.values():
        splits, names = sorted({split for split, _ in faces}), sorted({record.name for _, record in faces})
        if len(splits) > 1:
            points = {(split, record.points.tobytes()) for split, record in faces}
            leak = len(names) > 1 or len({face for _, face in points}) < len(points)
            what = ("problems", "in two splits") if leak else ("notes", "different faces of a picture in two splits")
            yield *what, f"{' = '.join(names)}: {', '.join(splits)}"


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
            copies = " ~ ".join(f"{name} ({split})" for split, name in names.items())
            yield "notes", "copies in two splits?", f"{copies}: {why}"
