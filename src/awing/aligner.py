"""Landmarks on images: a trained network as a function of an image. Needs neither Hydra nor Lightning."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from awing.arrays import Box, Image, Matrix
from awing.checkpoint import Checkpoint
from awing.detector import FaceDetector
from awing.errors import ConfigError, DataError
from awing.geometry import apply, crop_matrix, is_box
from awing.images import crop

LEAST = 0.3  # mean confidence of a face: between faces and other boxes of validation images, docs/results/300w_small.md


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of the faces of one image.

    Args:
        points: (F, K, 2) image px, pixel centres on integers; row k is the scheme's landmark k.
        confidence: (F, K) in [0, 1]; see :class:`Aligner`.
        boxes: (F, 4) x0, y0, x1, y1 image px: what was given, or detected.
    """

    points: Float[np.ndarray, "f k 2"]
    confidence: Float[np.ndarray, "f k"]
    boxes: Float[np.ndarray, "f 4"]


class Aligner:
    """Find the landmarks of faces.

    A confidence is the probability that the point lies within the checkpoint's calibration radius of where an annotator
    would put it; of a checkpoint that was not calibrated, the height of the map's peak, clipped to [0, 1].

    Args:
        checkpoint: What was trained; :meth:`load` reads one.
        device: Of torch; None takes a GPU where there is one.
        batch_size: Faces at a time.

    >>> aligner = Aligner.load("300w-small", device="cpu")
    >>> aligner(np.zeros((96, 96, 3), np.uint8), boxes=[[16, 16, 80, 80]]).points.shape
    (1, 68, 2)
    """

    def __init__(self, checkpoint: Checkpoint, device: str | None = None, batch_size: int = 16) -> None:
        self.checkpoint, self.codec, self.scheme = checkpoint, checkpoint.codec(), checkpoint.codec().scheme
        if batch_size < 1:
            raise ConfigError(f"batch_size is at least 1, found {batch_size}")
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            network = checkpoint.network().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batch_size = batch_size

    @classmethod
    def load(cls, name: str | Path = "300w-small", device: str | None = None, batch_size: int = 16) -> "Aligner":
        """Read a checkpoint: its path, ``official:PATH``, or the name of one that the package brings.

        Raises:
            CheckpointError: there is none, or it is broken.
            ConfigError: the device cannot be used.
        """
        return cls(Checkpoint.read(name), device, batch_size)

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Landmarks:
        """The landmarks of one image.

        Args:
            image: (H, W, 3) RGB uint8.
            boxes: (F, 4) x0, y0, x1, y1 image px, as the checkpoint's crop means them: around the landmarks, or the
                data set's own. None: a detector finds the faces.

        Raises:
            DataError: the image or a box is none.
        """
        if boxes is None:
            return self.only_faces(self.align([image], [self.detect(image)])[0])
        return self.align([image], [boxes])[0]

    def detect(self, image: Image) -> Float[np.ndarray, "f 4"]:
        """Boxes around the landmarks of the faces that a detector finds; (0, 4) where there is none.

        Raises:
            ConfigError: the detector is not installed, or the landmarks are no face's.
            DataError: the image is none.
        """
        if self.scheme.groups:
            raise ConfigError(f"{self.scheme.name} are joints, and the detector finds faces: give boxes")
        return self._detector(_checked(image))[0]

    def only_faces(self, found: Landmarks) -> Landmarks:
        """Without detected boxes in which the network finds no face: their points' mean confidence is below LEAST.

        Of a checkpoint that was not calibrated, all stay.
        """
        kept = (found.confidence.mean(1) >= LEAST) | (self.checkpoint.confidence is None)
        return Landmarks(found.points[kept], found.confidence[kept], found.boxes[kept])

    def align(self, images: Sequence[Image], boxes: Sequence[ArrayLike]) -> list[Landmarks]:
        """The landmarks of several images, in batches of faces.

        Raises:
            DataError: an image or a box is none, or a box lies outside its image.
        """
        if not images:
            return []
        checked = [checked_boxes(its, _checked(image)) for image, its in zip(images, boxes, strict=True)]
        faces = [self.crop(image, box) for image, its in zip(images, checked, strict=True) for box in its]
        found = [self._align(faces[i : i + self.batch_size]) for i in range(0, len(faces), self.batch_size)]
        k = self.scheme.num_landmarks
        points = np.concatenate([np.zeros((0, k, 2)), *(points for points, _ in found)])
        confidence = np.concatenate([np.zeros((0, k)), *(confidence for _, confidence in found)])
        ends = np.cumsum([len(its) for its in checked])[:-1]
        parts = zip(np.split(points, ends), np.split(confidence, ends), checked, strict=True)
        return [Landmarks(*part) for part in parts]

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
        batch = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2)
        last: Tensor = self.network(batch.float() / 255)[-1]
        return last.float()

    def _align(self, faces: Sequence[tuple[Image, Matrix]]) -> tuple[np.ndarray, np.ndarray]:
        points, peaks = (found.cpu().double() for found in self.codec.decode(self.maps([face for face, _ in faces])))
        in_image = [apply(np.linalg.inv(matrix), p) for p, (_, matrix) in zip(points.numpy(), faces, strict=True)]
        return np.stack(in_image), self.checkpoint.confidence_of(peaks).numpy()

    @cached_property
    def _detector(self) -> FaceDetector:
        return FaceDetector()


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


def checked_boxes(boxes: ArrayLike, image: Image) -> Float[np.ndarray, "f 4"]:
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
