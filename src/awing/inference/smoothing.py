"""Landmarks of a video without jitter."""

from typing import Any

import numpy as np

from awing.arrays import Box
from awing.errors import ConfigError
from awing.geometry import overlap
from awing.inference.aligner import Landmarks

LOST = 0.5  # s after which a face that is not found is no longer followed
# Of the One-Euro filter, for points in sides of the face's first box: cutoff of a still face (Hz), its growth with the
# speed, and the cutoff of the speed (Hz). Chosen by benchmarks/smoothing.py.
MIN_CUTOFF, BETA, SPEED_CUTOFF = 0.2, 30.0, 0.2
Track = tuple[Box, float, float, list[Any]]  # of a face: its last box, when that was, the first box's side, the filters


class Smoother:
    """One-Euro filters (Casiez et al., CHI 2012) of the landmarks of one video, whose faces are followed by overlap.

    Call it with the frames in their order; ``rate`` is the video's, in frames per second.

    Raises:
        ConfigError: the package of the filter is not installed.
    """

    def __init__(self, rate: float) -> None:
        try:
            from OneEuroFilter import OneEuroFilter
        except ImportError:
            raise ConfigError("smooth=true needs the One-Euro filter: pip install OneEuroFilter") from None
        self.filter, self.rate = OneEuroFilter, rate or 25.0
        self.tracks: list[Track] = []

    def __call__(self, landmarks: Landmarks, time: float) -> Landmarks:
        """Smooth the points of the next frame, at ``time`` in seconds; boxes and confidences stay."""
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
