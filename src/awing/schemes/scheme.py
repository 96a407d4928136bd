"""The landmark scheme, and the check that it is consistent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from awing.arrays import Mask, Points

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
            pictures of faces. Left is the image's.

    Raises:
        ValueError: an index out of range, or facts that do not fit together, such as a line without its mirror image.

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
        """Distance between the two ends of a named normaliser, each the mean of its landmarks.

        Args:
            name: One of ``normalisers``.
            points: (K, 2), in any px; the distance is in the same.
            labelled: (K,).

        Returns:
            The distance, or NaN where one of its points is unlabelled.
        """
        first, second = (list(group) for group in self.normalisers[name])
        if not (labelled[first].all() and labelled[second].all()):
            return float("nan")
        return float(np.linalg.norm(points[first].mean(0) - points[second].mean(0)))
