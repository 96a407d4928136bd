"""Look at a data set before it is trusted: verify it, cache its crops, show what training sees."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from awing.arrays import Image
from awing.codec import HeatmapCodec
from awing.data import checks
from awing.data.checks import Face, Finding
from awing.data.datamodule import LandmarkDataModule
from awing.data.images import save_picture
from awing.data.records import Annotations, IncompleteError, listed
from awing.errors import ConfigError, DataError
from awing.schemes import Scheme
from awing.visualization.overlays import ANNOTATED, draw_landmarks, overlay, pooled_maps


def verify(data: LandmarkDataModule, output: Path, workers: int) -> dict[str, Any]:
    """Check every face and image of a data set, with the cut that training would use, and write ``verify.json``.

    Checked: faces found against expected, and usable; every image decodes, by a number of threads (``workers``); the
    checks of :mod:`awing.data.checks`; held-out faces can be scored. What official sets have, too, is only noted.

    Returns:
        ``{"dataset", "root", "splits": {split: {"expected", "found", "faces"}}, "images", "missing": {split: [text]},
        "problems": {kind: [text]}, "notes": {kind: [text]}}``; "faces" says where they are from. With no problem the
        data set is sound, whatever the notes say.
    """
    missing, findings = _read(data)
    images, same_pixels = defaultdict[str, list[Face]](list), defaultdict[str, list[Face]](list)
    for split, annotations in data.annotations.items():
        for record in annotations.records:
            images[record.name].append((split, record))
    with ThreadPoolExecutor(workers) as pool:
        checked = track(pool.map(checks.check_image, images.values()), "Verifying", len(images))
        for faces, (digest, found) in zip(images.values(), checked, strict=True):
            same_pixels[digest] += faces
            findings += found
    records = [record for faces in images.values() for _, record in faces]
    findings += [*checks.check_copies(same_pixels), *checks.check_near_copies(images.values()), *check_splits(data)]
    findings += [*checks.check_placeholders(records, data.scheme), *checks.check_symmetry(records, data.scheme)]
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


def check_splits(data: LandmarkDataModule) -> Iterator[Finding]:
    """Training and evaluation accept every split that has a face."""
    for split, annotations in data.annotations.items():
        try:
            data.dataset(split, augmented=split == "train")
        except DataError as error:
            if annotations.records:
                yield "problems", f"cannot be {'trained on' if split == 'train' else 'scored'}", str(error)
            elif data.annotations["train"].records:
                yield "notes", "splits without a face", str(error)


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

    The first landmark of each flip pair is red, so that it stays on its side of the face also in a mirrored crop.
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


def _draw_samples(scheme: Scheme, codec: HeatmapCodec, samples: Sequence[dict[str, torch.Tensor]]) -> Image:
    """Samples of a face side by side; maps after the first."""
    side, firsts, panels = 224, [first for first, _ in scheme.flip_pairs], []
    for sample in samples:
        picture = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())
        points = torch.where(sample["labelled"][:, None], sample["points"], torch.nan).numpy()
        panels.append(overlay(picture, points, None, scheme.lines, side))
        draw_landmarks(panels[-1], (points[firsts] + 0.5) * side / len(picture) - 0.5, (), ANNOTATED, 0.8 * side)
        if len(panels) == 1:
            maps = codec.encode(sample["points"][None], sample["labelled"][None])[0].numpy()
            panels.append(pooled_maps(picture, maps, codec.boundary, side))
    return np.concatenate(panels, 1)


def _read(data: LandmarkDataModule) -> tuple[dict[str, list[str]], list[Finding]]:
    """Read what can be read of the data set: what is missing in each split, and what is wrong."""
    official = {split: Annotations([], 0) for split in data.official}
    missing, found = dict[str, list[str]](), list[Finding]()
    for split in official:
        try:
            official[split] = data.read(split)
        except DataError as error:
            found.append(("problems", "annotations", str(error)))
            missing[split] = error.problems if isinstance(error, IncompleteError) else []
            with suppress(DataError):  # named above, unless something is missing alone
                official[split] = data.read(split, allow_partial=True)
    level, kind = ("notes", "left out") if data.skip_unusable else ("problems", "unusable entries")
    found += [(level, kind, text) for annotations in official.values() for text in annotations.unusable]
    if official["test"].expected and not data.allow_partial:
        data.held_out["test_fraction"] = 0.0  # where official test faces are missing, none are cut in their place
    data.annotations = data.divide(**official)
    return missing, list(dict.fromkeys(found))


def _summary(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['dataset']} in {report['root']}: {report['images']} images"
    for split, counts in report["splits"].items():
        yield f"  {split}: {counts['found']} of {counts['expected']} faces ({counts['faces']})"
    for kind, texts in (report["problems"] | report["notes"]).items():
        yield f"{kind}: {len(texts)}{listed(texts, 20)}"  # verify.json has all
    yield "the data set is not sound, or not complete" if report["problems"] else "no problem found"
