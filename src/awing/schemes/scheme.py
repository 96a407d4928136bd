"""What a landmark scheme is, and the check that one is consistent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from awing.arrays import Mask, Points

Indices = tuple[int, ...]
BOX_NORMALISERS = ("box", "box_diagonal")  # come from a record's box: no scheme has one of these names


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

    Raises:
        ValueError: an index out of range, a landmark in two pairs, a line that is no line of the scheme any more
            after a flip, or a normaliser or group that is empty or has a name that is taken.

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

    def __post_init__(self) -> None:
        ends = [group for pair in self.normalisers.values() for group in pair]
        used = [i for group in (*self.flip_pairs, *self.lines, *ends, *self.groups.values()) for i in group]
        if bad := sorted({i for i in used if not 0 <= i < self.num_landmarks}):
            raise ValueError(f"scheme {self.name}: indices {bad} are outside 0..{self.num_landmarks - 1}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"scheme {self.name}: landmark names must be unique")
        paired = [i for pair in self.flip_pairs for i in pair]
        if len(set(paired)) != len(paired):
            raise ValueError(f"scheme {self.name}: a landmark stands in two flip pairs")
        if any(len(line) < 2 for line in self.lines):
            raise ValueError(f"scheme {self.name}: a boundary line needs at least two landmarks")
        if not all(ends) or not self.normalisers.keys().isdisjoint(BOX_NORMALISERS):
            raise ValueError(
                f"scheme {self.name}: a normaliser needs landmarks at both ends, and another name than "
                f"{' or '.join(BOX_NORMALISERS)}"
            )
        if not all(self.groups.values()) or "mean" in self.groups:
            raise ValueError(f'scheme {self.name}: a group needs landmarks, and another name than "mean"')
        flip = self.flip_permutation
        undirected = {min(line, line[::-1]) for line in self.lines}
        for line in self.lines:
            mirrored = tuple(int(flip[i]) for i in line)
            if min(mirrored, mirrored[::-1]) not in undirected:
                raise ValueError(f"scheme {self.name}: line {line} becomes {mirrored} under a flip, no line of it")

    @property
    def num_landmarks(self) -> int:
        """Number of landmarks, K.

        >>> from awing.schemes import get_scheme
        >>> get_scheme("cofw29").num_landmarks
        29
        """
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

        Raises:
            KeyError: the scheme has no such normaliser.

        >>> from awing.schemes import get_scheme
        >>> points = np.zeros((14, 2))
        >>> points[9], points[2] = (3.0, 0.0), (0.0, 4.0)  # left shoulder, right hip
        >>> get_scheme("lsp14").normaliser("torso", points, np.ones(14, dtype=bool))
        5.0
        """
        first, second = (list(group) for group in self.normalisers[name])
        if not (labelled[first].all() and labelled[second].all()):
            return float("nan")
        return float(np.linalg.norm(points[first].mean(0) - points[second].mean(0)))
