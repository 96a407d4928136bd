"""A data set of rendered faces in WFLW's own files, for training with nothing on disk and nothing to download."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2

from awing.errors import DataError
from awing.rendering import FaceParameters, RenderedFace, render, render_face, save_face

__all__ = ["FaceParameters", "RenderedFace", "render", "render_face", "write_dataset"]

VERSION = 1  # of the pictures: raised when they change, so that an older set on disk is not taken for a new one

_EVENT = "0--Rendered"
_SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")  # WFLW's file names for the flags


def write_dataset(root: Path, *, train: int = 2000, test: int = 500, seed: int = 0, workers: int = 0) -> None:
    """Writes a data set of rendered faces in WFLW's layout, unless it is already there.

    Image i of a split is a function of (seed, split, i) alone. The flagged faces are harder for a detector than the
    others, but for make-up, which changes little. An interrupted writing is done again; `settings.json`, written last,
    marks a complete set.

    Args:
        root: Folder of the data set; created where it is missing.
        train: Number of training faces, one a picture.
        test: Number of test faces.
        seed: Other seeds give other faces.
        workers: Processes; 0 is one a core. The files are the same for every number.

    Raises:
        DataError: `root` holds faces of other settings, or files of another origin. Nothing is overwritten.
    """
    settings = {"version": VERSION, "seed": seed, "train": train, "test": test}
    complete, unfinished = root / "settings.json", root / "unfinished.json"
    if complete.exists():
        found = json.loads(complete.read_text())
        if found == settings:
            return
        raise DataError(f"{root} holds faces of {found}, expected {settings}: name another folder or remove it")
    if root.exists() and any(root.iterdir()) and not unfinished.exists():
        raise DataError(f"{root} holds other files, expected rendered faces or nothing: name another folder")
    folder = root / "WFLW_images" / _EVENT
    folder.mkdir(parents=True, exist_ok=True)
    unfinished.write_text(json.dumps(settings))
    faces = _save_faces(folder, seed, ["train"] * train + ["test"] * test, [*range(train), *range(test)], workers)
    _write_lists(root / "WFLW_annotations", "train", faces[:train])
    _write_lists(root / "WFLW_annotations", "test", faces[train:])
    unfinished.replace(complete)


def _save_faces(folder: Path, seed: int, splits: list[str], indices: list[int], workers: int) -> list[RenderedFace]:
    from rich.progress import track  # in the train extra: rendering single faces does without

    paths = [folder / _file_name(split, index) for split, index in zip(splits, indices, strict=True)]
    save, label = partial(save_face, seed), f"Rendering {len(paths)} faces"
    if workers == 1:
        return list(track(map(save, paths, splits, indices), label, total=len(paths)))
    with ProcessPoolExecutor(
        workers or os.cpu_count(), get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        return list(track(pool.map(save, paths, splits, indices, chunksize=8), label, total=len(paths)))


def _file_name(split: str, index: int) -> str:
    return f"0_Rendered_{split}_{index:05d}.jpg"


def _write_lists(folder: Path, split: str, faces: list[RenderedFace]) -> None:
    names = [f"{_EVENT}/{_file_name(split, index)}" for index in range(len(faces))]
    points = [" ".join(f"{value:.6f}" for value in face.points.ravel()) for face in faces]
    numbers = [" ".join(map(str, [*face.box, *face.flags])) for face in faces]
    _write_lines(
        folder / "list_98pt_rect_attr_train_test" / f"list_98pt_rect_attr_{split}.txt",
        [f"{p} {n} {name}" for p, n, name in zip(points, numbers, names, strict=True)],
    )
    if split == "test":
        short = [f"{p} {name}" for p, name in zip(points, names, strict=True)]
        _write_lines(folder / "list_98pt_test" / "list_98pt_test.txt", short)
        for flag, subset in enumerate(_SUBSETS):
            chosen = [line for line, face in zip(short, faces, strict=True) if face.flags[flag]]
            _write_lines(folder / "list_98pt_test" / f"list_98pt_test_{subset}.txt", chosen)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
