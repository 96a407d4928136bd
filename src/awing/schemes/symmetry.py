"""Flip pairs compared with the landmarks' names, and with the faces that are annotated."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from awing.schemes.scheme import Scheme

OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])")


def side_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Indices of the landmarks whose names differ in left and right alone.

    >>> side_pairs(["L_eye", "R_eye", "chin"])
    [(0, 1)]
    """
    names = [name.lower() for name in names]
    mirrored = [SIDE.sub(lambda side: OTHER[side[0]], name) for name in names]
    return [(i, names.index(name)) for i, name in enumerate(mirrored) if name in names[i + 1 :]]


def other_mirror_images(
    scheme: Scheme, points: Float[np.ndarray, "f k 2"], labelled: Bool[np.ndarray, "f k"]
) -> Iterator[str]:
    """Landmarks whose place in the mirrored mean face is another landmark's than their flip pair's.

    Only where the mean face is symmetric in these landmarks (to 5 % of its longer side), and their pair's place is at
    least three times as far and 10 % away; a set of profiles, or an object without symmetry, is not judged.
    """
    from scipy.optimize import linear_sum_assignment  # in the train extra

    known = np.where(labelled[..., None], points, np.nan)[labelled.sum(1) > 1]
    if not len(known) or not labelled.any(0).all():
        return
    low, high = np.nanmin(known, axis=1, keepdims=True), np.nanmax(known, axis=1, keepdims=True)
    face = np.nanmean((known - (low + high) / 2) / (high - low).max(-1, keepdims=True).clip(1e-9), axis=0)
    face = (face - (face.min(0) + face.max(0)) / 2) / np.ptp(face, axis=0).max().clip(1e-9)
    distance = np.linalg.norm((face * (-1, 1))[:, None] - face, axis=-1)
    nearest, pairs = linear_sum_assignment(distance)[1], scheme.flip_permutation
    for k, (near, pair) in enumerate(zip(nearest, pairs, strict=True)):
        reached, expected = distance[k, near], distance[k, pair]
        if near != pair and nearest[near] == k and reached < 0.05 and expected > max(0.1, 3 * reached):
            found = "has no pair" if pair == k else f"is paired with {scheme.names[pair]}"
            yield f"{scheme.names[k]} mirrors onto {scheme.names[near]} in the mean face, but {found}"
