"""Landmark detection on images, in given or detected face boxes; smoothing of the landmarks of a video."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from awing.arrays import Box, Image, Matrix, Points
from awing.checkpoint import Checkpoint
from awing.data.crops import box_matrix
from awing.data.images import crop
from awing.errors import ConfigError, DataError
from awing.geometry import apply, is_box, overlap, similarity
from awing.inference.detector import SCHEMES, FaceDetector

# Eyes, nose tip and mouth corners on the pictures of 112 px that face recognition is trained with (ArcFace's template).
TEMPLATE = np.array([
    [38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041],
])  # fmt: skip
LOST = 0.5  # seconds without detection after which a face is no longer tracked
# One-Euro filter, for points in sides of the face's first box: cutoff of a still face (Hz), its growth with the speed,
# and the cutoff of the speed (Hz). Chosen by benchmarks/smoothing.py.
MIN_CUTOFF, BETA, SPEED_CUTOFF = 0.2, 30.0, 0.2
Track = tuple[Box, float, float, list[Any]]  # of a face: last box, its time in s, side of the first box, filters


class Landmarks(NamedTuple):
    """Landmarks of the faces of one image, in image px with pixel centres on integers."""

    points: Float[np.ndarray, "f k 2"]  # row k is the scheme's landmark k
    confidence: Float[np.ndarray, "f k"]  # in [0, 1]; see Aligner
    boxes: Float[np.ndarray, "f 4"]  # x0, y0, x1, y1; given or detected


class Faces(NamedTuple):
    """Faces of one image, cropped for the network."""

    boxes: Float[np.ndarray, "f 4"]  # x0, y0, x1, y1 image px
    crops: list[tuple[Image, Matrix]]  # pixels, and image px -> crop px
    detected: bool


class Aligner:
    """Landmark detector for images.

    A confidence is the probability that the point lies within the checkpoint's calibration radius of where an annotator
    would put it. If the checkpoint was not calibrated, it is the height of the map's peak, clipped to [0, 1].

    Args:
        checkpoint: The trained network and its settings; :meth:`load` reads one.
        device: Torch device; None takes a GPU if there is one.
        batch_size: Number of faces per forward pass, at least 1.
        flip_test: Average the maps with those of the mirrored crop: a little more accurate, at half the speed.
        min_confidence: A detected box whose points' mean confidence is lower is dropped; 0 keeps all.

    >>> aligner = Aligner.load("300w-small", device="cpu")
    >>> aligner(np.zeros((96, 96, 3), np.uint8), boxes=[[16, 16, 80, 80]]).points.shape
    (1, 68, 2)
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | None = None,
        batch_size: int = 16,
        flip_test: bool = False,
        min_confidence: float = 0.3,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is at least 1, found {batch_size}")
        self.checkpoint, self.codec = checkpoint, checkpoint.codec()
        self.scheme = self.codec.scheme
        self.batch_size, self.flip_test, self.min_confidence = batch_size, flip_test, min_confidence
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.network = checkpoint.network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None

    @classmethod
    def load(cls, name_or_path: str | Path = "300w-base", device: str | None = None, **options: Any) -> "Aligner":
        """Load a checkpoint by its path, ``official:PATH`` or a shipped name; ``options`` are those of the class."""
        return cls(Checkpoint.read(name_or_path), device, **options)

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Landmarks:
        """Find the landmarks of one image.

        Args:
            image: (H, W, 3) RGB uint8.
            boxes: (F, 4) x0, y0, x1, y1 image px, as the checkpoint's crop requires; None: a detector finds faces.

        Raises:
            DataError: the image is no RGB array, or a box is not valid or lies outside the image.
            ConfigError: there is no detector for the checkpoint.
        """
        return self.align([self.prepare(image, boxes)])[0]

    def prepare(self, image: Image, boxes: ArrayLike | None = None) -> Faces:
        """Check the arguments of a call and crop the faces, for :meth:`align`."""
        if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise DataError(f"expected an RGB image, uint8 of shape (height, width, 3), found {found}")
        height, width = image.shape[:2]
        faces = np.asarray(self.detector(image) if boxes is None else boxes, dtype=np.float64)
        if faces.size and faces.shape[1:] != (4,):
            raise DataError(f"expected boxes of shape (faces, 4), found {faces.shape}")
        for box in faces:
            if not is_box(box) or (box[2:] < 0).any() or (box[:2] >= (width, height)).any():
                raise DataError(f"box {box.tolist()}: expected x0 < x1, y0 < y1, not outside {width} x {height} px")
        return Faces(faces.reshape(-1, 4), [self.crop(image, box) for box in faces], detected=boxes is None)

    def align(self, images: Sequence[Faces]) -> list[Landmarks]:
        """Find the landmarks of several images, ``batch_size`` faces at a time."""
        crops = [pixels for faces in images for pixels, _ in faces.crops]
        batches = [crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)] or [[]]
        decoded = [self.codec.decode(self.stacks(batch)[-1]) for batch in batches]
        points, peaks = (torch.cat(parts).cpu().double() for parts in zip(*decoded, strict=True))
        counts, landmarks = [len(faces.crops) for faces in images], []
        for faces, in_crop, peak in zip(images, torch.split(points, counts), torch.split(peaks, counts), strict=True):
            in_image, confidence = in_crop.numpy(), self.checkpoint.confidence_of(peak).numpy()
            for p, (_, matrix) in zip(in_image, faces.crops, strict=True):
                p[:] = apply(np.linalg.inv(matrix), p)
            kept = confidence.mean(1) >= (self.min_confidence if faces.detected else 0)
            landmarks.append(Landmarks(in_image[kept], confidence[kept], faces.boxes[kept]))
        return landmarks

    def crop(self, image: Image, box: Box, size: int | None = None) -> tuple[Image, Matrix]:
        """Crop a face as the network sees it, to its input size or ``size`` px; also the matrix image px -> crop px."""
        size = size or self.codec.input_size
        matrix = box_matrix(box, *self.checkpoint.crop, size)
        return crop(image, matrix, size), matrix

    def upright(self, image: Image, points: Points, size: int = 112) -> Image:
        """Rotate, shift and scale a face so that eyes, nose tip and mouth corners lie on the five-point template.

        ``points`` are its landmarks in image px; the result is ``size`` px square.

        Raises:
            ConfigError: the scheme does not say which landmarks these are.
        """
        if not self.scheme.five:
            raise ConfigError(f"scheme {self.scheme.name} does not name eyes, nose tip and mouth corners (five: [...])")
        five = np.array([points[list(part)].mean(0) for part in self.scheme.five])
        return crop(image, similarity(five, (TEMPLATE + 0.5) * size / 112 - 0.5), size)

    @torch.no_grad()
    def stacks(self, crops: Sequence[Image]) -> list[Float[Tensor, "b c h w"]]:
        """Compute the maps of crops by every stack: landmarks, then the boundary if there is one."""
        pixels = np.array(crops, np.uint8).reshape(-1, self.codec.input_size, self.codec.input_size, 3)
        image = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        stacks = [maps.float() for maps in self.network(image)]
        if self.flip_test:
            mirrored = [self.codec.flip_heatmaps(maps.float()) for maps in self.network(image.flip(-1))]
            stacks = [(maps + other) / 2 for maps, other in zip(stacks, mirrored, strict=True)]
        return stacks

    @cached_property
    def detector(self) -> FaceDetector:
        """Detector of boxes as the checkpoint's crop requires; a ConfigError if it was not fitted to such boxes."""
        if (trained := self.checkpoint.crop[0]) != "landmarks" or self.scheme.name not in SCHEMES:
            found = f"this checkpoint takes crop={trained} of {self.scheme.name}: give boxes"
            raise ConfigError(f"the detector finds boxes of crop=landmarks of {' or '.join(SCHEMES)}, but {found}")
        return FaceDetector()


class Smoother:
    """One-Euro filters (Casiez et al., CHI 2012) for the landmarks of one video; faces are tracked by box overlap.

    Call it with the frames in their order; ``rate`` is the video's, in frames per second.
    """

    def __init__(self, rate: float) -> None:
        try:
            from OneEuroFilter import OneEuroFilter
        except ImportError:
            raise ConfigError("smooth=true needs the One-Euro filter: pip install OneEuroFilter") from None
        self.filter, self.rate = OneEuroFilter, rate or 25.0
        self.tracks: list[Track] = []

    def __call__(self, landmarks: Landmarks, time: float) -> Landmarks:
        """Smooth the points of the next frame, at ``time`` in seconds; boxes and confidences do not change."""
        known = [track for track in self.tracks if time - track[1] <= LOST]
        followed, smooth = [], []
        for box, points in zip(landmarks.boxes, landmarks.points, strict=True):
            overlaps = overlap(box, np.reshape([track[0] for track in known], (-1, 4)))
            if len(known) and overlaps.max() > 0.3:
                _, _, side, filters = known.pop(int(overlaps.argmax()))
            else:
                side = float((box[2:] - box[:2]).max())
                filters = [self.filter(self.rate, MIN_CUTOFF, BETA, SPEED_CUTOFF) for _ in range(points.size)]
            followed.append((box, time, side, filters))
            values = [f(x, time) for f, x in zip(filters, (points / side).ravel().tolist(), strict=True)]
            smooth.append(side * np.reshape(values, points.shape))
        self.tracks = followed + known
        return landmarks._replace(points=np.reshape(smooth, landmarks.points.shape))
