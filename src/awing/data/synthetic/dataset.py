"""A data set of rendered faces in WFLW's own files, for training with nothing on disk and nothing to download."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from rich.progress import track

from awing.data.synthetic.rendering import FaceParameters, RenderedFace, render
from awing.errors import DataError, short
from awing.reading import parse_json

VERSION = 2  # of the pictures: raised when they change, so that an older set on disk is not taken for a new one

_EVENT = "0--Rendered"
_ATTRIBUTES = "list_98pt_rect_attr_train_test/list_98pt_rect_attr"
_TEST = "list_98pt_test/list_98pt_test"
_SUBSETS = ("", "_largepose", "_expression", "_illumination", "_makeup", "_occlusion", "_blur")  # all, flag by flag
_SKINS = np.array([[1, 0.87, 0.79], [0.95, 0.77, 0.65], [0.87, 0.67, 0.52], [0.76, 0.54, 0.39], [0.42, 0.27, 0.19]])
_IRISES = ((0.22, 0.13, 0.07), (0.36, 0.24, 0.12), (0.38, 0.40, 0.24), (0.32, 0.46, 0.58))


def write_dataset(root: Path, *, train: int = 2000, test: int = 500, seed: int = 0, workers: int = 0) -> None:
    """Writes a data set of rendered faces in WFLW's layout, unless it is already there.

    Image i of a split is a function of (seed, split, i) alone. An interrupted writing is done again; `settings.json`,
    written last, marks a complete set. Processes that want the same set wait for the first one to write it.

    Args:
        root: Folder of the data set; created where it is missing.
        train, test: Numbers of faces, one a picture.
        seed: Other seeds give other faces.
        workers: Processes; 0 is one a core. The files are the same for every number.

    Raises:
        DataError: `root` holds faces of other settings, or files of another origin. Nothing is overwritten.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        _write_dataset(root, {"version": VERSION, "seed": seed, "train": train, "test": test}, workers)


def render_face(seed: int, split: str, index: int) -> RenderedFace:
    """Face `index` of a split, "train" or "test": a function of these three alone.

    Example:
        >>> face = render_face(0, "train", 3)
        >>> face.image.shape, face.points.shape
        ((224, 224, 3), (98, 2))
    """
    return render(sample_face(seed, split, index))


def sample_face(seed: int, split: str, index: int) -> FaceParameters:
    """Draws a face from the population; each flag comes out set on 15 to 35 % of the faces."""
    rng = np.random.default_rng([seed, ("train", "test").index(split), index])
    tone, side, shadowed = rng.uniform(0, 4), rng.choice([-1.0, 1.0]), rng.random() < 0.09
    return FaceParameters(
        seed=int(rng.integers(2**31)),
        pose=(side * rng.uniform(30, 70) if rng.random() < 0.17 else rng.normal(0, 12),
              side * rng.uniform(20, 32) if rng.random() < 0.06 else rng.normal(0, 7), rng.normal(0, 10)),
        distance=rng.uniform(500, 1500), scale=rng.uniform(0.8, 0.95),
        traits=tuple(rng.normal(0, 1, 5).clip(-2, 2).tolist()),
        mouth_open=rng.uniform(0.35, 1) if rng.random() < 0.08 else max(0, rng.normal(-0.05, 0.12)),
        smile=rng.uniform(0.6, 1) if rng.random() < 0.08 else rng.uniform(-0.3, 0.6),
        eyes_open=tuple(rng.uniform(0, 0.3, 2).tolist()) if rng.random() < 0.08 else (rng.uniform(0.75, 1.15),) * 2,
        brow_raise=side * rng.uniform(0.7, 1) if rng.random() < 0.08 else rng.uniform(-0.5, 0.5),
        gaze=tuple(rng.normal(0, 0.35, 2).clip(-1, 1).tolist()),
        skin=tuple(np.array([np.interp(tone, range(5), channel) for channel in _SKINS.T]).tolist()),
        iris=_IRISES[rng.integers(2 if tone > 2.5 else 4)],
        hair=tuple((np.array([0.85, 0.6, 0.4]) * rng.uniform(0.2, 0.4 if tone > 2.5 else 0.95) ** 1.6).tolist()),
        long_hair=bool(rng.random() < 0.4), cloth=tuple(rng.uniform(0.05, 0.9, 3).tolist()),
        makeup=rng.uniform(0.5, 1) if rng.random() < 0.22 else rng.uniform(0, 0.3),
        light=(side * rng.uniform(55, 100) if shadowed else rng.uniform(-50, 50), rng.uniform(5, 55)),
        ambient=rng.uniform(0.03, 0.2) if shadowed else rng.uniform(0.4, 0.7),
        exposure=rng.uniform(0.06, 0.3) if rng.random() < 0.05 else rng.uniform(0.8, 1.25),
        tint=(1.0, rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.5)) if rng.random() < 0.04 else (1.0, 1.0, 1.0),
        occluder=str(rng.choice(["sunglasses", "mask"])) if rng.random() < 0.22 else "none",
        blur=rng.uniform(1.8, 4.5) if rng.random() < 0.2 else rng.uniform(0, 0.7),
    )  # fmt: skip


def _write_dataset(root: Path, settings: dict[str, int], workers: int) -> None:
    complete, unfinished = root / "settings.json", root / "unfinished.json"
    if complete.exists():
        try:
            found = parse_json(complete.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{complete}: expected the settings of rendered faces, found: {error}") from None
        if found == settings:
            return
        raise DataError(
            f"{root} holds faces of {short(found)}, expected {settings}: name another folder with dataset.root, or "
            "ask for those faces with dataset.reader.expected.train and .test"
        )
    if root.exists() and any(root.iterdir()) and not unfinished.exists():
        raise DataError(f"{root} holds other files, expected rendered faces or nothing: name another folder")
    root.mkdir(parents=True, exist_ok=True)
    unfinished.write_text(json.dumps(settings))
    keys = [(split, i) for split in ("train", "test") for i in range(settings[split])]
    _write_faces(root, keys, settings["seed"], workers)
    unfinished.replace(complete)


def _write_faces(root: Path, keys: list[tuple[str, int]], seed: int, workers: int) -> None:
    (root / "WFLW_images" / _EVENT).mkdir(parents=True, exist_ok=True)
    files = [f"{_ATTRIBUTES}_train", f"{_ATTRIBUTES}_test", *(_TEST + subset for subset in _SUBSETS)]
    lists: dict[str, list[str]] = {file: [] for file in files}
    faces = _render([sample_face(seed, *key) for key in keys], workers)
    for (split, index), face in zip(keys, track(faces, f"Rendering {len(keys)} faces", len(keys)), strict=True):
        name = f"{_EVENT}/0_Rendered_{split}_{index:05d}.jpg"
        encoded = cv2.imencode(".jpg", face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        (root / "WFLW_images" / name).write_bytes(encoded.tobytes())
        points = " ".join(f"{value:.6f}" for value in face.points.ravel())
        lists[f"{_ATTRIBUTES}_{split}"].append(" ".join([points, *map(str, [*face.box, *face.flags]), name]))
        for subset, belongs in zip(_SUBSETS, [1, *face.flags], strict=True):
            if split == "test" and belongs:
                lists[_TEST + subset].append(f"{points} {name}")
    for file, lines in lists.items():
        path = root / "WFLW_annotations" / f"{file}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))


def _render(faces: list[FaceParameters], workers: int) -> Iterator[RenderedFace]:
    if workers == 1:
        yield from map(render, faces)
        return
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        yield from pool.map(render, faces, chunksize=8)
