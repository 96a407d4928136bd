"""A trained network as a function of an image and its boxes."""

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
from awing.data.crops import box_matrix
from awing.data.images import crop
from awing.errors import ConfigError, DataError
from awing.geometry import apply
from awing.inference.detector import SCHEMES, FaceDetector


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of the faces of one image.

    Args:
        points: (F, K, 2) image px, pixel centres on integers; row k is the scheme's landmark k.
        confidence: (F, K) in [0, 1]; see :class:`Aligner`.
        boxes: (F, 4) x0, y0, x1, y1 image px, given or detected.
    """

    points: Float[np.ndarray, "f k 2"]
    confidence: Float[np.ndarray, "f k"]
    boxes: Float[np.ndarray, "f 4"]


class Aligner:
    """Landmark detector for images.

    A confidence is the probability that the point lies within the checkpoint's calibration radius of where an annotator
    would put it; of a checkpoint that was not calibrated, the height of the map's peak, clipped to [0, 1].

    Args:
        checkpoint: What was trained; :meth:`load` reads one.
        device: Of torch; None takes a GPU where there is one.
        batch_size: Faces of an image at a time.
        flip_test: Average the maps with those of the mirrored crop: a little more accurate, at half the speed. A
            confidence was fitted without, and claims a little less than it could.
        min_confidence: A detected box whose points' mean confidence is lower is taken for no face. 0.3 lies between
            faces and other boxes of 300w-small's validation images (docs/results/300w_small.md); a confidence of a
            smaller radius needs less, and 0 keeps all.

    Raises:
        ConfigError: the device cannot be used, or batch_size is below 1.
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
        if batch_size < 1:
            raise ConfigError(f"batch_size is at least 1, found {batch_size}")
        self.checkpoint, self.codec, self.scheme = checkpoint, checkpoint.codec(), checkpoint.codec().scheme
        self.batch_size, self.flip_test, self.min_confidence = batch_size, flip_test, min_confidence
        network = checkpoint.network()
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            network = network.to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
            raise ConfigError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(cls, name_or_path: str | Path = "300w-small", device: str | None = None, **options: Any) -> "Aligner":
        """Load a checkpoint by its path, ``official:PATH`` or a shipped name, with options and errors of the class."""
        return cls(Checkpoint.read(name_or_path), device, **options)

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Landmarks:
        """Find the landmarks of one image.

        Args:
            image: (H, W, 3) RGB uint8.
            boxes: (F, 4) x0, y0, x1, y1 image px, as the checkpoint's crop means them: around the landmarks, or the
                data set's own. None: a detector finds the faces.

        Raises:
            DataError: the image is no RGB array, or a box is none or lies outside the image.
            ConfigError: there is no detector for the checkpoint.
        """
        if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise DataError(f"expected an RGB image, uint8 of shape (height, width, 3), found {found}")
        faces = _check_boxes(self.detector(image) if boxes is None else boxes, image)
        crops = [self.crop(image, box) for box in faces]
        batches = [crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)] or [[]]
        decoded = [self.codec.decode(self.maps([face for face, _ in batch])) for batch in batches]
        points, peaks = (torch.cat(parts).cpu().double() for parts in zip(*decoded, strict=True))
        in_image, confidence = points.numpy(), self.checkpoint.confidence_of(peaks).numpy()
        for p, (_, matrix) in zip(in_image, crops, strict=True):
            p[:] = apply(np.linalg.inv(matrix), p)
        kept = confidence.mean(1) >= (self.min_confidence if boxes is None else 0)
        return Landmarks(in_image[kept], confidence[kept], faces[kept])

    def crop(self, image: Image, box: Box) -> tuple[Image, Matrix]:
        """Crop a face: the network's input, and the matrix from image px to crop px."""
        trained = self.checkpoint.config["dataset"]
        matrix = box_matrix(box, trained["crop"], trained["crop_scale"], self.codec.input_size)
        return crop(image, matrix, self.codec.input_size), matrix

    @torch.no_grad()
    def maps(self, crops: Sequence[Image]) -> Float[Tensor, "b c h w"]:
        """Compute the last stack's maps of crops: landmarks, then the boundary where there is one."""
        pixels = np.array(crops, np.uint8).reshape(-1, self.codec.input_size, self.codec.input_size, 3)
        image = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
        maps: Tensor = self.network(image)[-1].float()
        if self.flip_test:
            maps = (maps + self.codec.flip_heatmaps(self.network(image.flip(-1))[-1].float())) / 2
        return maps

    @cached_property
    def detector(self) -> FaceDetector:
        """Detector of boxes as the checkpoint's crop means them; a ConfigError if it was not fitted to these."""
        trained, _ = self.checkpoint.crop
        if trained != "landmarks" or self.scheme.name not in SCHEMES:
            raise ConfigError(
                f"the detector's boxes lie around the landmarks of {' or '.join(SCHEMES)} (crop=landmarks); this "
                f"checkpoint takes crop={trained} of {self.scheme.name}: give boxes"
            )
        return FaceDetector()


def _check_boxes(boxes: ArrayLike, image: Image) -> Float[np.ndarray, "f 4"]:
    found, (height, width) = np.asarray(boxes, dtype=np.float64), image.shape[:2]
    if found.size and found.shape[1:] != (4,):
        raise DataError(f"expected boxes of shape (faces, 4), found {found.shape}")
    for box in found:
        if not (box[2:] > box[:2]).all():
            raise DataError(f"a box is x0, y0, x1, y1 with x1 > x0 and y1 > y0, found {box.tolist()}")
        if (box[2:] < 0).any() or (box[:2] >= (width, height)).any():
            raise DataError(f"the box {box.tolist()} lies outside the image of {width} x {height} px")
    return found.reshape(-1, 4)
