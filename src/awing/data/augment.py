"""Random augmentation of training samples (paper 7.3), and label noise (10.4.2)."""

import hashlib
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from awing.arrays import Image, Matrix, Points
from awing.data.records import Record
from awing.errors import ConfigError, DataError
from awing.geometry import augmentation_matrix
from awing.schemes import Scheme

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the library looks online for a newer release
import albumentations
from albumentations.augmentations.dropout.transforms import BaseDropout

Transform = albumentations.BasicTransform | albumentations.BaseCompose


class Augmentation:
    """Random geometric and photometric augmentation; all random numbers come from the generator that is passed in.

    Args:
        rotation: Largest angle, degrees. Angle, shift and change of size are drawn uniformly within +- the largest one.
        translation: Largest shift along each axis, px of a 256 px crop; proportional to the size of the crop.
        scale: Largest relative change of size, in [0, 1).
        flip: Probability of mirroring.
        photometric: albumentations transforms of the crop; they must not move pixels.

    >>> augmentation = Augmentation(rotation=0, translation=0, scale=0, flip=1)
    >>> matrix, flip = augmentation.draw(64, np.random.default_rng(0))
    >>> flip, matrix[0].tolist()  # x -> 63 - x
    (True, [-1.0, 0.0, 63.0])
    """

    def __init__(
        self,
        rotation: float = 50.0,
        translation: float = 25.0,
        scale: float = 0.15,
        flip: float = 0.5,
        photometric: Sequence[Transform] = (),
    ) -> None:
        if not (rotation >= 0 and translation >= 0 and 0 <= scale < 1 and 0 <= flip <= 1):
            found = f"{rotation}, {translation}, {scale}, {flip}"
            raise ConfigError(f"augment: expected rotation, translation >= 0, 0 <= scale < 1, flip <= 1, found {found}")
        for transform in _leaves(photometric):
            if isinstance(transform, albumentations.DualTransform) and not isinstance(transform, BaseDropout):
                raise ConfigError(f"augment.photometric must not move pixels, found {type(transform).__name__}")
        self.rotation, self.translation, self.scale, self.flip = rotation, translation, scale, flip
        self.photometric = albumentations.Compose(list(photometric))

    @property
    def max_extent(self) -> float:
        """Largest distance along an axis from the crop's centre at which a pixel is read; in sides of the crop.

        >>> round(Augmentation(rotation=50, translation=25, scale=0.15).max_extent, 3)  # 0.5 of a plain crop
        0.994
        """
        turn = np.deg2rad(min(self.rotation, 45))
        return float((0.5 + self.translation / 256) * (np.cos(turn) + np.sin(turn)) / (1 - self.scale))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Matrix, bool]:
        """Draw one sample's geometry for a crop of ``size`` px: a matrix crop px -> crop px, and whether it mirrors."""
        (angle, zoom, dx, dy), flip = rng.uniform(-1, 1, 4), bool(rng.random() < self.flip)
        turn, factor, pixels = angle * self.rotation, 1 + zoom * self.scale, self.translation * size / 256
        return augmentation_matrix(size, angle=turn, zoom=factor, dx=dx * pixels, dy=dy * pixels, flip=flip), flip

    def apply_photometric(self, crop: Image, rng: np.random.Generator) -> Image:
        """Apply the photometric transforms to a crop; the array that is passed in may be returned.

        They draw from ``rng`` in turn: albumentations' own seeding gives each the same stream, so all apply or none.
        """
        if not self.photometric.transforms:
            return crop
        self.photometric.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        return np.asarray(self.photometric(image=crop)["image"])


@dataclass(frozen=True)
class LabelNoise:
    """Move some points of every face by a fixed distance at a random angle, the same in every epoch (paper 10.4.2)."""

    share: float  # P: share of a face's labelled points that are moved, in [0, 1]
    distance: float  # S: distance by which they are moved, as a share of the normaliser; at least 0
    normaliser: str = "inter_ocular"  # distance of the scheme of which S is a share
    seed: int = 0  # of the random numbers

    def __call__(self, record: Record, scheme: Scheme) -> Points:
        """Return the points of a face with some of them moved, in source px."""
        rng = np.random.default_rng(list(hashlib.sha256(f"{self.seed}/".encode() + record.points.tobytes()).digest()))
        labelled = np.flatnonzero(record.labelled)
        chosen = rng.permutation(labelled)[: round(self.share * len(labelled))]
        angle = rng.uniform(0, 2 * np.pi, len(chosen))
        length = self.distance * scheme.normaliser(self.normaliser, record.points, record.labelled)
        if np.isnan(length):
            raise DataError(f"{record.name}: label noise needs the landmarks of {self.normaliser} labelled")
        points: Points = record.points.copy()
        points[chosen] += length * np.stack([np.cos(angle), np.sin(angle)], -1)
        return points


def _leaves(transforms: Iterable[Transform]) -> Iterator[albumentations.BasicTransform]:
    """The single transforms, also those inside OneOf, Sequential and so on."""
    for transform in transforms:
        yield from _leaves(transform.transforms) if isinstance(transform, albumentations.BaseCompose) else [transform]
