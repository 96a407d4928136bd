"""Face detection by dlib, whose weights are part of its wheel."""

import cv2
import numpy as np
from jaxtyping import Float, Int

from awing.arrays import Image
from awing.errors import ConfigError

# From dlib's box to that of 68 landmarks, by its five filters (frontal, two turned, two tilted): shift of the centre to
# the right and down, side of the square; in sides of dlib's box. Medians over faces of 300-W: benchmarks/detector.py.
TO_LANDMARKS = np.array([
    [-0.013, 0.089, 1.018], [0.105, 0.106, 0.940], [-0.108, 0.116, 0.985],
    [-0.021, 0.062, 1.018], [0.079, 0.062, 1.018],
])  # fmt: skip
SCHEMES = ("ibug68", "wflw98")  # whose landmarks span the same box: jaw and brows
THRESHOLD = -0.2  # score from which dlib's box counts; lower finds more faces, and more that are none
LONGEST = 3000  # px; a larger image is reduced to this longer side: time goes with the area


class FaceDetector:
    """Detector of upright faces of some 80 px or more, frontal to half turned (histograms of oriented gradients)."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError:
            raise ConfigError("finding faces needs dlib: pip install dlib-bin, or give boxes") from None
        self.dlib = dlib.get_frontal_face_detector()

    def __call__(self, image: Image) -> Float[np.ndarray, "f 4"]:
        """Find faces: squares around their landmarks, (F, 4) x0, y0, x1, y1 image px, the largest first."""
        boxes = to_landmarks(*self.raw(image))
        return boxes[np.argsort(boxes[:, 0] - boxes[:, 2], kind="stable")]

    def raw(self, image: Image) -> tuple[Float[np.ndarray, "f 4"], Int[np.ndarray, " f"]]:
        """Find dlib's own boxes in image px, and which of its five filters found each."""
        zoom = min(1.0, LONGEST / max(image.shape[:2]))
        if zoom < 1:
            width, height = (max(1, round(zoom * side)) for side in image.shape[1::-1])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        found, _, filters = self.dlib.run(np.ascontiguousarray(image), 0, THRESHOLD)
        edges = [[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in found]  # outer edges, from the image's
        return np.reshape(edges, (-1, 4)) / zoom - 0.5, np.array(filters, dtype=int)


def to_landmarks(boxes: Float[np.ndarray, "f 4"], filters: Int[np.ndarray, " f"]) -> Float[np.ndarray, "f 4"]:
    """Convert dlib's boxes to squares around the landmarks, by the filter that found each."""
    side = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + TO_LANDMARKS[filters, :2] * side
    half = TO_LANDMARKS[filters, 2:] * side / 2
    return np.concatenate([center - half, center + half], 1)
