"""Face boxes for images that come without any: dlib's detector, whose weights are part of its wheel."""

import cv2
import numpy as np
from jaxtyping import Float, Int

from awing.arrays import Image
from awing.errors import ConfigError

# From the box that dlib finds to the tight box around 68 landmarks, for each of its five filters (frontal, turned to
# the two sides, tilted to the two sides): shift of the centre to the right and down, side of the square; in sides of
# dlib's box. Medians over training faces of 300-W: benchmarks/detector.py, docs/results/300w_small.md.
TO_LANDMARKS = np.array(
    [
        [-0.013, 0.089, 1.018], [0.105, 0.106, 0.940], [-0.108, 0.116, 0.985],
        [-0.021, 0.062, 1.018], [0.079, 0.062, 1.018],
    ]
)  # fmt: skip


OUTLINES = ("ibug68", "wflw98")  # schemes whose landmarks span the same box: jaw and brows


class FaceDetector:
    """Find upright faces of some 80 px or more, frontal to half turned (histograms of oriented gradients).

    Args:
        threshold: Score from which a face counts; lower finds more faces, and more that are none.
        longest: A larger image is reduced to this longer side, px, and with it the faces: time goes with the area.

    Raises:
        ConfigError: dlib is not installed.
    """

    def __init__(self, threshold: float = -0.2, longest: int = 3000) -> None:
        try:
            import dlib
        except ImportError:
            raise ConfigError("finding faces needs dlib: pip install dlib-bin, or give boxes") from None
        self.dlib, self.threshold, self.longest = dlib.get_frontal_face_detector(), threshold, longest

    def __call__(self, image: Image) -> tuple[Float[np.ndarray, "f 4"], Float[np.ndarray, " f"]]:
        """Boxes, squares around the landmarks, and scores; the largest box first.

        Args:
            image: (H, W, 3) RGB uint8.

        Returns:
            (F, 4) x0, y0, x1, y1 image px, and (F,).
        """
        boxes, scores, filters = self.raw(image)
        mapped = to_landmarks(boxes, filters)
        order = np.argsort(mapped[:, 0] - mapped[:, 2], kind="stable")
        return mapped[order], scores[order]

    def raw(self, image: Image) -> tuple[Float[np.ndarray, "f 4"], Float[np.ndarray, " f"], Int[np.ndarray, " f"]]:
        """dlib's own boxes in image px, its scores, and which of its five filters found each."""
        height, width = image.shape[:2]
        zoom = min(1.0, self.longest / max(height, width))
        size = max(1, round(zoom * width)), max(1, round(zoom * height))
        small = image if zoom == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        found, scores, filters = self.dlib.run(np.ascontiguousarray(small), 0, self.threshold)
        edges = np.array([[r.left() - 0.5, r.top() - 0.5, r.right() + 0.5, r.bottom() + 0.5] for r in found])
        boxes = (edges.reshape(-1, 4) + 0.5) / zoom - 0.5
        return boxes, np.array(scores, dtype=float), np.array(filters, dtype=int)


def to_landmarks(boxes: Float[np.ndarray, "f 4"], filters: Int[np.ndarray, " f"]) -> Float[np.ndarray, "f 4"]:
    """dlib's boxes -> squares around the landmarks, by the filter that found each.

    >>> to_landmarks(np.array([[0.0, 0.0, 1000.0, 1000.0]]), np.array([1])).round().tolist()
    [[135.0, 136.0, 1075.0, 1076.0]]
    """
    side = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + TO_LANDMARKS[filters, :2] * side
    half = TO_LANDMARKS[filters, 2:] * side / 2
    return np.concatenate([center - half, center + half], 1)
