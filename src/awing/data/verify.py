"""Look at a data set before it is trusted: verify it, cache its crops, show what training sees."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import default_collate

from awing.arrays import Image
from awing.codec import HeatmapCodec
from awing.data.datamodule import LandmarkDataModule
from awing.data.dataset import LandmarkDataset
from awing.data.images import read_image, save_picture
from awing.data.records import Annotations, IncompleteError, Record
from awing.errors import ConfigError, DataError
from awing.visualization.overlays import heatmaps, overlay

SHOWN = 20  # problems of a kind on the screen; verify.json has all


def verify(data: LandmarkDataModule, output: Path, workers: int) -> dict[str, Any]:
    """Check every face and image of a data set, and write ``verify.json``.

    Checked: faces found against expected; every image decodes; labelled points are finite and near their image; the
    provided box holds its face; held-out faces can be scored; no picture, by a hash of its pixels, is in two splits.
    Different faces of one picture may be: official splits do that, and it is only noted; so is a split without a face.

    Args:
        data: The data set, with the cut that training would use.
        output: Gets ``verify.json``.
        workers: Threads that decode.

    Returns:
        ``{"dataset", "root", "splits": {split: {"expected", "found", "faces"}}, "images", "missing": {split: [text]},
        "problems": {kind: [text]}, "notes": {kind: [text]}}``; "faces" says where they are from; with no problem the
        data set is sound, whatever the notes say.
    """
    problems: dict[str, list[str]] = defaultdict(list)
    missing: dict[str, list[str]] = {}
    shared: list[str] = []
    _read(data, problems["annotations"], missing)
    faces: dict[tuple[Path, str], list[tuple[str, Record]]] = defaultdict(list)
    for split, annotations in data.annotations.items():
        for record in annotations.records:
            faces[record.path, record.entry].append((split, record))
    groups: dict[str, list[list[tuple[str, Record]]]] = defaultdict(list)  # pictures by their pixels
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = pool.map(_look_at, faces.values())
        for group, (digest, said) in zip(faces.values(), track(found, "Verifying", len(faces)), strict=True):
            for kind, text in said:
                problems[kind].append(text)
            if digest:
                groups[digest].append(group)
    for pictures in groups.values():
        members = [member for group in pictures for member in group]
        splits = sorted({split for split, _ in members})
        if len(splits) > 1:
            text = f"{' = '.join(group[0][1].name for group in pictures)}: {', '.join(splits)}"
            points = [{record.points.tobytes() for s, record in members if s == split} for split in splits]
            same_face = len(set().union(*points)) < sum(map(len, points))
            (problems["in two splits"] if len(pictures) > 1 or same_face else shared).append(text)
    empty: list[str] = []
    for split, annotations in data.annotations.items():
        try:
            data.dataset(split, augmented=split == "train")  # type: ignore[arg-type]
        except DataError as error:
            if annotations.records:
                problems["cannot be trained on" if split == "train" else "cannot be scored"].append(str(error))
            elif split not in missing and data.annotations["train"].records:
                empty.append(str(error))
    problems = {kind: texts for kind, texts in problems.items() if texts}
    notes = {"different faces of a picture in two splits": shared, "splits without a face": empty}
    report = {
        "dataset": data.name,
        "root": str(data.root),
        "splits": {
            split: {"expected": a.expected, "found": len(a.records), "faces": data.origin(split)}  # type: ignore[arg-type]
            for split, a in data.annotations.items()
        },
        "images": len(faces),
        "missing": missing,
        "problems": problems,
        "notes": {kind: texts for kind, texts in notes.items() if texts},
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "verify.json").write_text(json.dumps(report, indent=2) + "\n")
    _print_report(report, output / "verify.json")
    return report


def cache(data: LandmarkDataModule, workers: int) -> None:
    """Write the crops that training reads; see :class:`awing.data.cache.CropCache`.

    Raises:
        ConfigError: the data set names no cache folder.
        DataError: a picture cannot be read, or the folder not be written.
    """
    if data.cache is None:
        raise ConfigError("dataset.cache is null: name the folder for the crops")
    faces = data.dataset("train", augmented=True)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        written = pool.map(data.cache.write, faces.records, faces.matrices)
        files = [file for file in track(written, "Caching", len(faces)) if file]
    data.cache.finish()
    size = sum(file.stat().st_size for file in set(files)) / 1e6
    print(
        f"{len(files)} of {len(faces)} training faces have a crop in {data.cache.folder} ({size:.0f} MB), which "
        "training\nwith the same crop and augmentation reads by itself; the others' pictures are hardly larger than it "
        "would be"
    )


def show(data: LandmarkDataModule, codec: HeatmapCodec, output: Path, count: int = 6, draws: int = 3) -> list[Path]:
    """Draw a sheet per split and subset: points, lines and target maps of a crop, then augmented crops.

    The first landmark of each flip pair is red, so that it stays on its side of the face also in a mirrored crop.

    Args:
        data: The data set.
        codec: Draws the maps.
        output: Gets ``<split>_<subset>.png``.
        count: Faces of a sheet.
        draws: Augmented crops of a face.

    Returns:
        The files.
    """
    data.setup()
    files = []
    for split, annotations in data.annotations.items():
        if not annotations.records:
            continue
        plain, augmented = data.dataset(split), data.dataset(split, augmented=True)  # type: ignore[arg-type]
        for subset in ("full", *data.subsets):
            member = [i for i, record in enumerate(annotations.records) if subset in ("full", *record.subsets)][:count]
            if member:
                rows = [_sheet_row(plain, augmented, codec, i, draws) for i in member]
                files.append(output / f"{split}_{subset}.png")
                save_picture(files[-1], np.concatenate(rows, 0))
    print(*files, sep="\n")
    return files


def _read(data: LandmarkDataModule, said: list[str], missing: dict[str, list[str]]) -> None:
    """Read what can be read of the data set, and say what is wrong with its annotations."""
    official = {"train": Annotations([], 0), "test": Annotations([], 0)}
    for split in official:
        for allow_partial in sorted({data.allow_partial, True}):
            try:
                official[split] = data.reader(data.root, split, allow_partial)
                break
            except DataError as error:
                if str(error) not in said:
                    said.append(str(error))
                missing.setdefault(split, error.problems if isinstance(error, IncompleteError) else [])
    if official["test"].expected and not data.allow_partial:
        data.held_out["test_fraction"] = 0.0  # where official test faces are missing, none are cut in their place
    data.annotations = data.divide(**official)


def _look_at(faces: Sequence[tuple[str, Record]]) -> tuple[str, list[tuple[str, str]]]:
    """The hash of an image's pixels, and (kind, text) of what is wrong with it or its faces."""
    try:
        image = read_image(faces[0][1].path, faces[0][1].entry)
    except DataError as error:
        return "", [("unreadable images", str(error))]
    height, width = image.shape[:2]
    doubts = [doubt for _, record in faces for doubt in _doubts(record, width, height)]
    return hashlib.sha256(image.tobytes() + bytes(str(image.shape), "ascii")).hexdigest(), doubts


def _doubts(record: Record, width: int, height: int) -> Iterable[tuple[str, str]]:
    points = record.points[record.labelled]
    if not len(points) or not np.isfinite(points).all():
        yield "implausible points", f"{record.name}: expected finite labelled points, found {len(points)}"
        return
    inside = ((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(1).sum()
    if inside < len(points) / 2:
        yield "implausible points", f"{record.name}: {inside} of {len(points)} points lie in its {width} x {height} px"
    extent = np.ptp(points, axis=0).max()
    if len(points) > 1 and extent == 0:
        yield "implausible points", f"{record.name}: all of its {len(points)} points lie in one place"
    if record.box is None:
        return
    low, high, box = record.box[:2], record.box[2:], record.box.round(1).tolist()
    margin = 0.1 * (high - low)
    held = ((points >= low - margin) & (points <= high + margin)).all(1).sum()
    if held < 0.8 * len(points):
        yield "boxes beside their face", f"{record.name}: {held} of {len(points)} points lie in or near its box {box}"
    elif (high - low).max() > 4 * extent > 0 and not np.array_equal(
        record.box,
        (-0.5, -0.5, width - 0.5, height - 0.5),  # the whole image, on purpose
    ):
        yield "boxes beside their face", f"{record.name}: its box {box} is over 4 times as large as its face"


def _sheet_row(plain: LandmarkDataset, augmented: LandmarkDataset, codec: HeatmapCodec, i: int, draws: int) -> Image:
    side = 224
    firsts = [first for first, _ in plain.scheme.flip_pairs]

    def drawn(sample: dict[str, torch.Tensor]) -> Image:
        points = torch.where(sample["labelled"][:, None], sample["points"], torch.nan).numpy()
        picture = overlay(_pixels(sample), points, None, plain.scheme.lines, side)
        in_picture = (points[firsts] + 0.5) * side / plain.size - 0.5
        return overlay(picture, np.full_like(in_picture, np.nan), in_picture, side=side)

    sample = plain[0, i]
    batch = default_collate([sample])
    maps = codec.encode(batch["points"], batch["labelled"])[0].numpy()
    panels = [drawn(sample), heatmaps(_pixels(sample), maps, codec.boundary, side)]
    return np.concatenate([*panels, *(drawn(augmented[epoch, i]) for epoch in range(draws))], 1)


def _pixels(sample: dict[str, torch.Tensor]) -> Image:
    return np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())


def _print_report(report: dict[str, Any], file: Path) -> None:
    console = Console()
    console.print(f"{report['dataset']} in {report['root']}", markup=False, highlight=False, soft_wrap=True)
    table = Table("split", "expected", "found", "faces")
    for split, counts in report["splits"].items():
        table.add_row(split, str(counts["expected"]), str(counts["found"]), counts["faces"])
    console.print(table)
    for kind, texts in (report["problems"] | report["notes"]).items():
        style = "bold red" if kind in report["problems"] else "bold"
        console.print(f"[{style}]{kind}[/{style}]: {len(texts)}")
        for text in texts[:SHOWN]:
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
        if len(texts) > SHOWN:
            console.print(f"  ... and {len(texts) - SHOWN} more")
    console.print("no problem found" if not report["problems"] else "the data set is not sound, or not complete")
    print(f"report: {file}")
