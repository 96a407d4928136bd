"""The landmark scheme, checks of its consistency, and checks of flip pairs against names and annotated faces."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from awing.arrays import Mask, Points

OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])")
Indices = tuple[int, ...]
BOX_NORMALISERS = ("box", "box_diagonal", "landmark_box")  # come from boxes: no scheme has one of these names


@dataclass(frozen=True)
class Scheme:
    """The facts of one annotation scheme; indices are 0-based.

    Args:
        name: Identifier, for example ``"wflw98"``.
        names: One name per landmark, unique.
        flip_pairs: Pairs of landmarks that exchange their identities when the image is mirrored.
        lines: Boundary lines, each a path through landmarks (paper section 5).
        normalisers: Name -> two groups of landmarks; the distance between their means divides an error.
        groups: Name -> the joints whose PCK is reported together; none for faces.
        five: Left eye, right eye, nose tip, left and right mouth corner, each the mean of its landmarks; for aligned
            pictures of faces. Left means the image's left.

    Raises:
        ValueError: an index is out of range, or facts do not fit together, such as a line without its mirror image.

    >>> from awing.schemes import get_scheme
    >>> scheme = get_scheme("wflw98")
    >>> scheme.num_landmarks, len(scheme.flip_pairs), scheme.normalisers["inter_ocular"]
    (98, 44, ((60,), (72,)))
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    lines: tuple[Indices, ...] = ()
    normalisers: Mapping[str, tuple[Indices, Indices]] = field(default_factory=dict)
    groups: Mapping[str, Indices] = field(default_factory=dict)
    five: tuple[Indices, ...] = ()

    def __post_init__(self) -> None:
        ends = [*self.five, *(end for pair in self.normalisers.values() for end in pair)]
        used = {i for indices in (*self.flip_pairs, *self.lines, *ends, *self.groups.values()) for i in indices}
        outside = sorted(i for i in used if not 0 <= i < self.num_landmarks)
        paired = [i for pair in self.flip_pairs for i in pair]
        two_ends = all(ends) and all(len(pair) == 2 for pair in self.normalisers.values())
        usable_groups = all(self.groups.values()) and "mean" not in self.groups
        box_free = self.normalisers.keys().isdisjoint(BOX_NORMALISERS)
        self._require(not outside, f"indices {outside} are outside 0..{self.num_landmarks - 1}")
        self._require(len(set(self.names)) == len(self.names), "landmark names must be unique")
        self._require(all(len(pair) == 2 for pair in self.flip_pairs), "a flip pair needs two landmarks")
        self._require(len(set(paired)) == len(paired), "a landmark stands in two flip pairs")
        self._require(all(len(line) > 1 for line in self.lines), "a boundary line needs at least two landmarks")
        self._require(len(self.five) in (0, 5), "five needs five parts")
        self._require(two_ends, "a normaliser needs two ends")
        self._require(box_free, f"{', '.join(BOX_NORMALISERS)} come from boxes")
        self._require(usable_groups, 'a group needs landmarks, "mean" is taken')
        flip = self.flip_permutation
        undirected = {min(line, line[::-1]) for line in self.lines}
        for line in self.lines:
            mirrored = tuple(int(flip[i]) for i in line)
            known = min(mirrored, mirrored[::-1]) in undirected
            self._require(known, f"line {line} becomes {mirrored} under a flip, no line of it")

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise ValueError(f"scheme {self.name}: {problem}")

    @property
    def num_landmarks(self) -> int:
        """Number of landmarks, K."""
        return len(self.names)

    @property
    def flip_permutation(self) -> np.ndarray:
        """(K,) indices, their own inverse: ``mirrored[k] = points[permutation[k]]``.

        >>> from awing.schemes import get_scheme
        >>> get_scheme("lsp14").flip_permutation
        array([ 5,  4,  3,  2,  1,  0, 11, 10,  9,  8,  7,  6, 12, 13])
        """
        permutation = np.arange(self.num_landmarks)
        for left, right in self.flip_pairs:
            permutation[[left, right]] = right, left
        return permutation

    def normaliser(self, name: str, points: Points, labelled: Mask) -> float:
        """Distance between the two ends of a named normaliser, in the points' px; NaN if one of them is unlabelled."""
        first, second = (list(group) for group in self.normalisers[name])
        if not (labelled[first].all() and labelled[second].all()):
            return float("nan")
        return float(np.linalg.norm(points[first].mean(0) - points[second].mean(0)))


def side_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs of landmarks whose names differ only in left and right.

    >>> side_pairs(["L_eye", "R_eye", "chin"])
    [(0, 1)]
    """
    names = [name.lower() for name in names]
    mirrored = [SIDE.sub(lambda side: OTHER[side[0]], name) for name in names]
    return [(i, names.index(name)) for i, name in enumerate(mirrored) if name in names[i + 1 :]]


def other_mirror_images(
    scheme: Scheme, points: Float[np.ndarray, "f k 2"], labelled: Bool[np.ndarray, "f k"]
) -> Iterator[str]:
    """Landmarks that fall on another landmark than their flip pair in the mirrored mean face, as messages.

    Reported only if the mean face is symmetric in these landmarks (to 5 % of its longer side), and the flip pair is at
    least three times as far and 10 % away. Sets of profiles, and objects without symmetry, are therefore not judged.
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
