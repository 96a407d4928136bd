"""Small data sets in the official layouts, for the tests that read them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def wflw_line(points: np.ndarray, box: Sequence[int], flags: Sequence[int], name: str) -> str:
    """One of WFLW's 207-column lines."""
    return " ".join([*(f"{value:.6f}" for value in points.ravel()), *map(str, [*box, *flags]), name])


def write_wflw_list(root: Path, split: str, content: str | bytes) -> Path:
    """The annotations of one split, byte for byte."""
    file = root / f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def pts_text(points: np.ndarray) -> str:
    """The content of a .pts file; points as they stand there, 1-based."""
    body = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{body}}}\n"


def save_image(path: Path, image: np.ndarray, *options: int) -> None:
    """Write RGB or grey pixels in the format of the path's extension."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, list(options))[1].tobytes())
