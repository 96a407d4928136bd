"""A data set of rendered faces in WFLW's own files, for training with nothing on disk and nothing to download."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
from filelock import FileLock
from rich.progress import track

from awing.data.readers.wflw import read_wflw
from awing.data.records import Annotations
from awing.data.synthetic.face import FaceParameters, sample_face
from awing.data.synthetic.rendering import RenderedFace, render
from awing.errors import DataError

VERSION = 2  # of the pictures: raised when they change, so that an older set on disk is not taken for a new one

_EVENT = "0--Rendered"
_LISTS = {split: f"list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}" for split in ("train", "test")}
_TEST = "list_98pt_test/list_98pt_test"
_SUBSETS = ("", "_largepose", "_expression", "_illumination", "_makeup", "_occlusion", "_blur")  # all, flag by flag


def read_synthetic(
    root: Path, split: str, allow_partial: bool = False, *, expected: Mapping[str, int], seed: int = 0
) -> Annotations:
    """Read a split of rendered faces with :func:`awing.data.readers.read_wflw`; they are rendered where none is there.

    Args:
        root: Folder of the data set; created where it is missing.
        split: "train" or "test".
        allow_partial: Read what is there, if files are missing.
        expected: Numbers of faces: {"train": ..., "test": ...}.
        seed: Other seeds give other faces.

    Raises:
        DataError: ``root`` holds faces of other settings, or files of another origin; or files are missing.
    """
    write_dataset(root, train=expected["train"], test=expected["test"], seed=seed)
    return read_wflw(root, split, allow_partial, expected=expected)


def write_dataset(root: Path, *, train: int = 2000, test: int = 500, seed: int = 0, workers: int = 0) -> None:
    """Write rendered faces, one a picture, in WFLW's layout, unless they are already there.

    Image i of a split is a function of (seed, split, i) alone. An interrupted writing is done again. Processes that
    want the same set wait for the first one to write it; it has ``workers`` of its own, one a core where that is 0.

    Raises:
        DataError: ``root`` holds faces of other settings, or files of another origin. Nothing is overwritten.
    """
    settings = {"version": VERSION, "seed": seed, "train": train, "test": test}
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if root.exists() and any(root.iterdir()):
            file = root / "settings.json"
            found = json.loads(file.read_text()) if file.exists() else "files of another origin"
            if found != settings:
                raise DataError(
                    f"{root}: expected rendered faces of {settings}, found {found}; name another folder with "
                    "dataset.root, or ask for those faces with dataset.reader.expected.train and .test"
                )
            return
        unfinished = root.with_name(f".{root.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _write_faces(
            unfinished, [("train", i) for i in range(train)] + [("test", i) for i in range(test)], seed, workers
        )
        (unfinished / "settings.json").write_text(json.dumps(settings))
        unfinished.replace(root)


def render_face(seed: int, split: str, index: int) -> RenderedFace:
    """Face ``index`` of a split, "train" or "test": a function of these three alone.

    >>> face = render_face(0, "train", 3)
    >>> face.image.shape, face.points.shape
    ((224, 224, 3), (98, 2))
    """
    return render(sample_face(seed, split, index))


def _write_faces(root: Path, keys: list[tuple[str, int]], seed: int, workers: int) -> None:
    lists: dict[str, list[str]] = {file: [] for file in (*_LISTS.values(), *(_TEST + subset for subset in _SUBSETS))}
    (root / "WFLW_images" / _EVENT).mkdir(parents=True)
    faces = _render([sample_face(seed, *key) for key in keys], workers)
    for (split, index), face in zip(keys, track(faces, f"Rendering {len(keys)} faces", len(keys)), strict=True):
        name = f"{_EVENT}/0_Rendered_{split}_{index:05d}.jpg"
        encoded = cv2.imencode(".jpg", face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        (root / "WFLW_images" / name).write_bytes(encoded.tobytes())
        points = " ".join(f"{value:.6f}" for value in face.points.ravel())
        lists[_LISTS[split]].append(" ".join([points, *map(str, [*face.box, *face.flags]), name]))
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
