"""What a reader returns: one record per annotated face, and what every reader needs to say what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from awing.arrays import Box, Mask, Points
from awing.errors import DataError


@dataclass(frozen=True)
class Record:
    """One annotated face in one image file, in source px."""

    path: Path
    points: Points
    labelled: Mask
    box: Box | None = None  # provided with the data set
    subsets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Annotations:
    """The faces of one split that are on disk, and how many the official split has."""

    records: list[Record]
    expected: int


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, for messages."""

    title: str
    url: str
    layout: str


def check_complete(source: Source, root: Path, problems: Sequence[str], allow_partial: bool) -> None:
    """Refuse an incomplete data set, listing what is missing, unless partial data are allowed.

    Raises:
        DataError: ``problems`` is not empty and ``allow_partial`` is false.
    """
    if not problems or allow_partial:
        return
    shown = [f"  {problem}" for problem in problems[:12]]
    if len(problems) > 12:
        shown.append(f"  ... and {len(problems) - 12} more")
    raise DataError(
        f"{source.title} in {root} is not complete:\n" + "\n".join(shown) + "\n"
        f"Get it from {source.url} and unpack it so that {root} holds {source.layout}.\n"
        "To run on what is there, set dataset.allow_partial=true (the numbers are then not the official set's)."
    )


def inside(root: Path, name: str, where: str) -> Path:
    """The path of an image that an annotation names.

    Raises:
        DataError: the name leads out of ``root``.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not name.strip():
        raise DataError(f"{where}: expected the name of a file below {root}, found {name!r}")
    return root / parts


def parse_numbers(words: Sequence[str], where: str) -> np.ndarray:
    """Finite numbers from the words of a line.

    Raises:
        DataError: a word is no finite number.
    """
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers, found {str(error).split(': ')[-1]}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: expected finite numbers, found {words[int(np.argmin(np.isfinite(values)))]}")
    return values
