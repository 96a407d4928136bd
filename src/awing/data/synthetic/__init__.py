"""Data set of rendered faces in WFLW's file format, for training without data on disk and without a download."""

import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
from filelock import FileLock
from rich.progress import track

from awing.data.readers.wflw import LISTS, read_wflw
from awing.data.records import Annotations, Counts
from awing.data.synthetic.face import sample_face
from awing.data.synthetic.rendering import RenderedFace, render
from awing.errors import DataError

VERSION = 2  # of the pictures: raised when they change, so that an older set on disk is not taken for a new one


def read_synthetic(
    root: Path, split: str, allow_partial: bool = False, *, expected: Counts, seed: int = 0
) -> Annotations:
    """Read one split as :func:`awing.data.readers.read_wflw` does; :func:`write_dataset` renders the set first."""
    write_dataset(root, train=expected["train"], test=expected["test"], seed=seed)
    return read_wflw(root, split, allow_partial, expected=expected)


def write_dataset(root: Path, *, train: int = 2000, test: int = 500, seed: int = 0, workers: int = 0) -> None:
    """Write ``train`` and ``test`` rendered faces, one per picture, in WFLW's layout, unless they are already there.

    Image i of a split is a function of (seed, split, i) alone, whatever the number of ``workers``; 0 is one per core.
    An interrupted set is written anew, but nothing is overwritten: ``root`` must not hold faces of other settings, or
    files of another origin. Processes that need the same set wait for the first one to write it.
    """
    settings = {"version": VERSION, "seed": seed, "train": train, "test": test}
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if root.exists() and any(root.iterdir()):
            file = root / "settings.json"
            found = json.loads(file.read_text()) if file.exists() else "files of another origin"
            if found == settings:
                return
            way_out = "name another folder with dataset.root, or ask for those faces with dataset.reader.expected"
            raise DataError(f"{root}: expected rendered faces of {settings}, found {found}; {way_out}")
        unfinished = root.with_name(f".{root.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _write_faces(unfinished, {"train": train, "test": test}, seed, workers)
        (unfinished / "settings.json").write_text(json.dumps(settings))
        unfinished.replace(root)


def render_face(seed: int, split: str, index: int) -> RenderedFace:
    """Face ``index`` of a split, "train" or "test": a function of these three alone.

    >>> face = render_face(0, "train", 3)
    >>> face.image.shape, face.points.shape
    ((224, 224, 3), (98, 2))
    """
    return render(sample_face(seed, split, index))


def _write_faces(root: Path, counts: Counts, seed: int, workers: int) -> None:
    (root / "WFLW_images" / "0--Rendered").mkdir(parents=True)
    (root / LISTS).mkdir(parents=True)
    keys = [(split, index) for split, count in counts.items() for index in range(count)]
    parameters = [sample_face(seed, *key) for key in keys]
    lines: dict[str, list[str]] = {split: [] for split in counts}
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        faces = map(render, parameters) if workers == 1 else pool.map(render, parameters, chunksize=8)
        for (split, index), face in zip(keys, track(faces, f"Rendering {len(keys)} faces", len(keys)), strict=True):
            name = f"0--Rendered/0_Rendered_{split}_{index:05d}.jpg"
            encoded = cv2.imencode(".jpg", face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            (root / "WFLW_images" / name).write_bytes(encoded.tobytes())
            points = [f"{value:.6f}" for value in face.points.ravel()]
            lines[split].append(" ".join([*points, *map(str, [*face.box, *face.flags]), name]) + "\n")
    for split, content in lines.items():
        (root / LISTS / f"list_98pt_rect_attr_{split}.txt").write_text("".join(content))
