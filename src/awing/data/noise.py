"""Training labels that are wrong on purpose (paper 10.4.2)."""

import hashlib
from dataclasses import dataclass

import numpy as np

from awing.arrays import Points
from awing.data.records import Record
from awing.errors import ConfigError, DataError
from awing.schemes import Scheme


@dataclass(frozen=True)
class LabelNoise:
    """Move some points of every face by a fixed distance at a random angle, the same in every epoch (paper 10.4.2).

    >>> from pathlib import Path
    >>> from awing.schemes import get_scheme
    >>> points = np.arange(196.0).reshape(98, 2)
    >>> face = Record(Path("a.jpg"), points, np.ones(98, dtype=bool))
    >>> moved = LabelNoise(share=0.5, distance=0.1)(face, get_scheme("wflw98")) - points
    >>> int((moved != 0).any(1).sum())
    49
    """

    share: float  # P, of a face's labelled points that move, in [0, 1]
    distance: float  # S, how far they move, as a share of the normaliser; at least 0
    normaliser: str = "inter_ocular"  # the scheme's distance that S is a share of
    seed: int = 0  # of the draws

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and self.distance >= 0):
            raise ConfigError(f"label noise: expected share in [0, 1] and distance of at least 0, found {self}")

    def __call__(self, record: Record, scheme: Scheme) -> Points:
        """The points of a face, some of them moved; in source px."""
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
