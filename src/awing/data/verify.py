"""Inspection of a data set before training: verify it, cache its crops, draw training samples."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from awing.arrays import Image
from awing.codec import HeatmapCodec
from awing.data.datamodule import LandmarkDataModule
from awing.data.images import image_head, read_record, save_picture, uses_few_bits
from awing.data.records import Annotations, IncompleteError, Record, listed
from awing.errors import ConfigError, DataError
from awing.schemes import Scheme
from awing.schemes.scheme import other_mirror_images, side_pairs
from awing.visualization.overlays import ANNOTATED, draw_landmarks, overlay, pooled_maps

Face = tuple[str, Record]  # split and record
Finding = tuple[str, str, str]  # level ("problems", or "notes", which are no failures), kind, text
# what exports and file managers add to the name of a copy: a_jpg.rf.0a1b.jpg, a - Copy (2).jpg
COPY = re.compile(r"(_(jpe?g|png|webp))?\.rf\.\w+$|[ _-]+copy[ _-]*(\d+|\(\d+\))?$", re.IGNORECASE)


def verify(data: LandmarkDataModule, output: Path, workers: int) -> dict[str, Any]:
    """Check every face and image of a data set, with the splits that training would use, and write ``verify.json``.

    Checked: the expected number of faces is there and usable; every image decodes, in ``workers`` threads; the checks
    below; held-out faces can be scored. Findings that official sets have too are only notes.

    Returns:
        ``{"dataset", "root", "splits": {split: {"expected", "found", "faces"}}, "images", "missing": {split: [text]},
        "problems": {kind: [text]}, "notes": {kind: [text]}}``; "faces" is the origin of the faces. Without problems the
        data set is sound, whatever the notes say.
    """
    missing, findings = _read(data)
    images, same_pixels = defaultdict[str, list[Face]](list), defaultdict[str, list[Face]](list)
    for split, annotations in data.annotations.items():
        for record in annotations.records:
            images[record.name].append((split, record))
    with ThreadPoolExecutor(workers) as pool:
        checked = track(pool.map(check_image, images.values()), "Verifying", len(images))
        for faces, (digest, found) in zip(images.values(), checked, strict=True):
            same_pixels[digest] += faces
            findings += found
    records = [record for faces in images.values() for _, record in faces]
    findings += [*check_copies(same_pixels), *check_near_copies(images.values()), *check_splits(data)]
    findings += [*check_placeholders(records, data.scheme), *check_symmetry(records, data.scheme)]
    splits = {
        split: {"expected": found.expected, "found": len(found.records), "faces": data.origin(split)}
        for split, found in data.annotations.items()
    }
    report: dict[str, Any] = {
        "dataset": data.name, "root": str(data.root), "splits": splits, "images": len(images), "missing": missing,
        "problems": {}, "notes": {},
    }  # fmt: skip
    for level, kind, text in findings:
        report[level].setdefault(kind, []).append(text)
    output.mkdir(parents=True, exist_ok=True)
    (output / "verify.json").write_text(json.dumps(report, indent=2) + "\n")
    print(*_summary(report), f"report: {output / 'verify.json'}", sep="\n")
    return report


def cache(data: LandmarkDataModule, workers: int) -> None:
    """Write the crops that training reads; see :class:`awing.data.cache.CropCache`."""
    if data.cache is None:
        raise ConfigError("dataset.cache is null: name the folder for the crops")
    faces = data.dataset("train", augmented=True)
    with ThreadPoolExecutor(workers) as pool:
        written = pool.map(data.cache.write, faces.records, faces.matrices)
        files = [file for file in track(written, "Caching", len(faces)) if file]
    size = sum(file.stat().st_size for file in set(files)) / 1e6
    print(f"{len(files)} of {len(faces)} training faces have a crop in {data.cache.folder} ({size:.0f} MB), which")
    print("training with the same crop and augmentation reads; the others' pictures are hardly larger")


def show(data: LandmarkDataModule, codec: HeatmapCodec, output: Path) -> None:
    """Draw ``<split>_<subset>.png`` for each: points, lines and target maps of six crops, and three augmented crops.

    The first landmark of each flip pair is red, to check that it stays on its side of the face in mirrored crops.
    """
    data.setup()
    for split, annotations in data.annotations.items():
        if not annotations.records:
            continue
        plain, augmented = data.dataset(split), data.dataset(split, augmented=True)
        for subset in ("full", *data.subsets):
            members = [i for i, record in enumerate(annotations.records) if subset in ("full", *record.subsets)][:6]
            faces = [[plain[0, i], *(augmented[epoch, i] for epoch in range(3))] for i in members]
            if faces:
                file = output / f"{split}_{subset}.png"
                save_picture(file, np.concatenate([_draw_samples(data.scheme, codec, face) for face in faces]))
                print(file)


def _read(data: LandmarkDataModule) -> tuple[dict[str, list[str]], list[Finding]]:
    """Read all readable annotations of the data set; return what is missing in each split, and the findings."""
    official = {split: Annotations([], 0) for split in data.official}
    missing, found = dict[str, list[str]](), list[Finding]()
    for split in official:
        try:
            official[split] = data.read(split)
        except DataError as error:
            found.append(("problems", "annotations", str(error)))
            missing[split] = error.problems if isinstance(error, IncompleteError) else []
            with suppress(DataError):  # fails again, unless files are merely missing; reported above
                official[split] = data.read(split, allow_partial=True)
    level, kind = ("notes", "left out") if data.skip_unusable else ("problems", "unusable entries")
    found += [(level, kind, text) for annotations in official.values() for text in annotations.unusable]
    if official["test"].expected and not data.allow_partial:
        data.held_out["test_fraction"] = 0.0  # if official test faces are missing, none are held out in their place
    data.annotations = data.divide(**official)
    return missing, list(dict.fromkeys(found))


def _summary(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['dataset']} in {report['root']}: {report['images']} images"
    for split, counts in report["splits"].items():
        yield f"  {split}: {counts['found']} of {counts['expected']} faces ({counts['faces']})"
    for kind, texts in (report["problems"] | report["notes"]).items():
        yield f"{kind}: {len(texts)}{listed(texts, 20)}"  # verify.json has all
    yield "the data set is not sound, or not complete" if report["problems"] else "no problem found"


def check_face(record: Record, width: int, height: int) -> Iterator[Finding]:
    """Check that labelled points lie in the picture, not all in one place, and in a box that is not much larger.

    The box may also be the whole picture.
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
    """Check that no landmark is exactly (0, 0) or (-1, -1) in several faces, as exporters write unlabelled ones."""
    advice = "leave both cells empty, in COCO visibility 0, where a point is not labelled"
    for value in (0, -1):
        found = [np.flatnonzero(r.labelled & (r.points == value).all(1)) for r in records]
        for i, count in sorted(Counter(int(i) for indices in found for i in indices).items()):
            if count > 1:
                where = f"x{i},y{i} ({scheme.names[i]}) is exactly ({value}, {value})"
                yield "problems", "points that stand for none", f"{where} in {count} of {len(records)} faces: {advice}"


def check_symmetry(records: Sequence[Record], scheme: Scheme) -> Iterator[Finding]:
    """Check the flip pairs against the landmarks' names and the mean face."""
    for pair in side_pairs(scheme.names):
        if not {*pair} <= {i for known in scheme.flip_pairs for i in known}:
            a, b = (scheme.names[i] for i in pair)
            yield "problems", "left and right without a flip pair", f"{a} and {b} are in no flip pair"
    if records:
        points, labelled = np.array([r.points for r in records]), np.array([r.labelled for r in records])
        for text in other_mirror_images(scheme, points, labelled):
            yield "problems", "flip pairs beside the mean face", text


def check_image(faces: Sequence[Face]) -> tuple[str, list[Finding]]:
    """Hash of an image's pixels, and the findings on the image and its faces."""
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
    """Check that no picture is in two splits; ``same_pixels`` maps the hash of a picture to all faces in its copies."""
    for faces in same_pixels.values():
        splits, names = sorted({split for split, _ in faces}), sorted({record.name for _, record in faces})
        if len(splits) > 1:
            points = {(split, record.points.tobytes()) for split, record in faces}
            leak = len(names) > 1 or len({face for _, face in points}) < len(points)
            what = ("problems", "in two splits") if leak else ("notes", "different faces of a picture in two splits")
            yield *what, f"{' = '.join(names)}: {', '.join(splits)}"


def check_near_copies(images: Iterable[list[Face]]) -> Iterator[Finding]:
    """Check for likely copies in two splits: equal points, or names that differ only by the mark of a copy."""
    alike: dict[tuple[str, object], dict[str, str]] = defaultdict(dict)  # equal points or name -> split -> a picture
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


def check_splits(data: LandmarkDataModule) -> Iterator[Finding]:
    """Check that every split with a face can be trained on or scored."""
    for split, annotations in data.annotations.items():
        try:
            data.dataset(split, augmented=split == "train")
        except DataError as error:
            if annotations.records:
                yield "problems", f"cannot be {'trained on' if split == 'train' else 'scored'}", str(error)
            elif data.annotations["train"].records:
                yield "notes", "splits without a face", str(error)


def _draw_samples(scheme: Scheme, codec: HeatmapCodec, samples: Sequence[dict[str, torch.Tensor]]) -> Image:
    """Draw the samples of a face side by side, with the target maps after the first."""
    side, firsts, panels = 224, [first for first, _ in scheme.flip_pairs], []
    for sample in samples:
        picture = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())
        points = torch.where(sample["labelled"][:, None], sample["points"], torch.nan).numpy()
        panels.append(overlay(picture, points, None, scheme.lines, side))
        draw_landmarks(panels[-1], (points[firsts] + 0.5) * side / len(picture) - 0.5, (), ANNOTATED, 2 * side)
        if len(panels) == 1:
            maps = codec.encode(sample["points"][None], sample["labelled"][None])[0].numpy()
            panels.append(pooled_maps(picture, maps, codec.boundary, side))
    return np.concatenate(panels, 1)
