"""Landmarks on images: a trained network as a function of an image. Needs neither Hydra nor Lightning."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from awing.arrays import Box, Image, Matrix
from awing.checkpoint import Checkpoint
from awing.data.images import crop
from awing.errors import CheckpointError, ConfigError, DataError
from awing.geometry import apply, crop_matrix, is_box
from awing.inference.detector import OUTLINES, FaceDetector


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of the faces of one image.

    Args:
        points: (F, K, 2) image px, pixel centres on integers; row k is the scheme's landmark k.
        confidence: (F, K) in [0, 1]; see :class:`Aligner`.
        boxes: (F, 4) x0, y0, x1, y1 image px: what was given, or detected.
        maps: (F, C, h, w): those of :meth:`Aligner.maps` where they were asked for, otherwise C is 0.
        dropped: Detected boxes that are left out; see ``min_confidence``.
    """

    points: Float[np.ndarray, "f k 2"]
    confidence: Float[np.ndarray, "f k"]
    boxes: Float[np.ndarray, "f 4"]
    maps: Float[np.ndarray, "f c h w"]
    dropped: int = 0


@dataclass(frozen=True)
class Faces:
    """What the network sees of one image.

    Args:
        boxes: (F, 4) x0, y0, x1, y1 image px.
        crops: The network's input for each, and the matrix from image px to its px.
        detected: Whether a detector found them.
    """

    boxes: Float[np.ndarray, "f 4"]
    crops: Sequence[tuple[Image, Matrix]]
    detected: bool


class Aligner:
    """Find the landmarks of faces.

    A confidence is the probability that the point lies within the checkpoint's calibration radius of where an annotator
    would put it; of a checkpoint that was not calibrated, the height of the map's peak, clipped to [0, 1].

    Args:
        checkpoint: What was trained; :meth:`load` reads one.
        device: Of torch; None takes a GPU where there is one.
        batch_size: Faces at a time.
        flip_test: Average the maps with those of the mirrored crop: a little more accurate, at half the speed. A
            confidence was fitted without, and claims a little less than it could.
        min_confidence: A detected box whose points' mean confidence is lower is taken for no face. 0.3 lies between
            faces and other boxes of 300w-small's validation images (docs/results/300w_small.md); a confidence of a
            smaller radius needs less, and 0 keeps all.

    Raises:
        ConfigError: the device cannot be used, or a value is none of its kind.
        CheckpointError: the checkpoint is broken.

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
        self.checkpoint, self.codec, self.scheme = checkpoint, checkpoint.codec(), checkpoint.codec().scheme
        if batch_size < 1:
            raise ConfigError(f"batch_size is at least 1, found {batch_size}")
        if not 0 <= min_confidence <= 1:
            raise ConfigError(f"min_confidence lies in [0, 1], found {min_confidence}")
        if flip_test:
            self.codec.flip_heatmaps(torch.zeros(1, self.codec.num_channels, 1, 1))  # refuses a codec that cannot
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            network = checkpoint.network().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batch_size, self.flip_test, self.min_confidence = batch_size, flip_test, min_confidence

    @classmethod
    def load(cls, name: str | Path = "300w-small", device: str | None = None, **options: Any) -> "Aligner":
        """Read a checkpoint: its path, ``official:PATH``, or the name of one that the package brings.

        Raises:
            CheckpointError: there is none, or it is broken.
            ConfigError: as the class.
        """
        return cls(Checkpoint.read(name), device, **options)

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Landmarks:
        """The landmarks of one image.

        Args:
            image: (H, W, 3) RGB uint8.
            boxes: (F, 4) x0, y0, x1, y1 image px, as the checkpoint's crop means them: around the landmarks, or the
                data set's own. None: a detector finds the faces.

        Raises:
            DataError: the image or a box is none, or a box lies outside the image.
            ConfigError: there is no detector for the checkpoint.
        """
        return self.align([self.faces(image, boxes)])[0]

    def faces(self, image: Image, boxes: ArrayLike | None = None) -> Faces:
        """The first half of a call: find the faces of one image, and crop them.

        Raises:
            DataError, ConfigError: as a call.
        """
        found = _checked_boxes(self.detector(_checked(image))[0] if boxes is None else boxes, _checked(image))
        return Faces(found, [self.crop(image, box) for box in found], detected=boxes is None)

    def align(self, images: Sequence[Faces], maps: bool = False) -> list[Landmarks]:
        """The second half: the landmarks of several images, in batches of faces.

        Args:
            images: The faces of each.
            maps: Also give the maps.
        """
        if not images:
            return []
        crops = [face for faces in images for face in faces.crops]
        starts = range(0, max(len(crops), 1), self.batch_size)  # without a face, an empty batch
        batches = [self._align(crops[start : start + self.batch_size], maps) for start in starts]
        ends = np.cumsum([len(faces.crops) for faces in images])[:-1]
        points, confidence, kept = (np.split(np.concatenate(parts), ends) for parts in zip(*batches, strict=True))
        found = []
        for faces, p, c, m in zip(images, points, confidence, kept, strict=True):
            is_face = c.mean(1) >= self.min_confidence * faces.detected
            found.append(Landmarks(p[is_face], c[is_face], faces.boxes[is_face], m[is_face], int((~is_face).sum())))
        return found

    def crop(self, image: Image, box: Box) -> tuple[Image, Matrix]:
        """The network's input for a face, and the matrix from image px to its px."""
        size, trained = self.codec.input_size, self.checkpoint.config["dataset"]
        if trained["crop"] == "official":  # the middle 360 of 450 px of the authors' square; truth may not enlarge it
            side = 0.8 * 1.05 * (box[2] - box[0] + box[3] - box[1]) * 360 / 450
            center = (box[:2] + box[2:]) / 2
            matrix = crop_matrix(np.concatenate([center - side / 2, center + side / 2]), size)
        else:
            matrix = crop_matrix(box, size, trained["crop_scale"])
        return crop(image, matrix, size), matrix

    @torch.no_grad()
    def maps(self, crops: Sequence[Image]) -> Float[Tensor, "b c h w"]:
        """The last stack's maps of crops: landmarks, then the boundary where there is one."""
        pixels = np.array(crops, np.uint8).reshape(len(crops), self.codec.input_size, self.codec.input_size, 3)
        image = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        maps: Tensor = self.network(image)[-1].float()
        return (
            (maps + self.codec.flip_heatmaps(self.network(image.flip(-1))[-1].float())) / 2 if self.flip_test else maps
        )

    @cached_property
    def detector(self) -> FaceDetector:
        """Finds faces as the checkpoint's crop means them.

        Raises:
            ConfigError: it was not fitted to them, or is not installed.
        """
        crop = self.checkpoint.config["dataset"]["crop"]
        if crop != "landmarks" or self.scheme.name not in OUTLINES:
            raise ConfigError(
                f"the detector's boxes lie around the landmarks of {' or '.join(OUTLINES)} (crop=landmarks); this "
                f"checkpoint takes crop={crop} of {self.scheme.name}: give boxes"
            )
        return FaceDetector()

    def _align(self, faces: Sequence[tuple[Image, Matrix]], keep: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        maps = self.maps([face for face, _ in faces])
        points, peaks = (found.cpu().double() for found in self.codec.decode(maps))
        if not peaks.isfinite().all():
            raise CheckpointError(f"{self.checkpoint.path}: its network gives maps that are not finite")
        for p, (_, matrix) in zip(points.numpy(), faces, strict=True):
            p[:] = apply(np.linalg.inv(matrix), p)
        kept = maps.cpu().numpy() if keep else np.empty((len(faces), 0, 0, 0), np.float32)
        return points.numpy(), self.checkpoint.confidence_of(peaks).numpy(), kept


def _checked(image: Image) -> Image:
    """Refuse what is no RGB picture.

    Raises:
        DataError: what was found.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"expected an RGB image, uint8 of shape (height, width, 3), found {found}")
    if 0 in image.shape:
        raise DataError(f"expected an image, found no pixel: {image.shape}")
    return image


def _checked_boxes(boxes: ArrayLike, image: Image) -> Float[np.ndarray, "f 4"]:
    """Boxes as an array.

    Raises:
        DataError: they are no boxes, or one of them lies outside the image.
    """
    try:
        found = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"expected boxes of four numbers each, found {boxes!r}") from None
    if found.size == 0:
        return np.zeros((0, 4))
    if found.ndim != 2 or found.shape[1] != 4:
        raise DataError(f"expected boxes of shape (faces, 4), found {found.shape}")
    height, width = image.shape[:2]
    for box in found:
        if not is_box(box):
            raise DataError(f"a box is x0, y0, x1, y1 with x1 > x0 and y1 > y0, found {box.tolist()}")
        if (box[2:] < 0).any() or (box[:2] >= (width, height)).any():
            raise DataError(f"the box {box.tolist()} lies outside the image of {width} x {height} px")
    return found
