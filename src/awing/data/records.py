"""What a reader returns: one record per annotated face, and what every reader needs to say what is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from awing.arrays import Box, Mask, Points
from awing.errors import DataError, short


@dataclass(frozen=True)
class Record:
    """One annotated face in one image file, in source px.

    Args:
        path: The image file.
        points: (K, 2) landmarks, x and y; 0-based, pixel centres on integers.
        labelled: (K,) whether a landmark is annotated; the others' coordinates mean nothing.
        box: x0, y0, x1, y1 of the box that the data set provides, or None.
        subsets: Names of the subsets that the face belongs to.
        occluded: (K,) whether a landmark is annotated as hidden; None where the data set does not say.
        entry: Name of the image inside ``path`` where that is a file of many (HDF5).
        no_box: Why there is no box and where to get it, for the message of a crop that needs one.
        root: Folder that the cut of held-out faces names the image from; None is the data set's.

    >>> face = Record(Path("a.jpg"), np.array([[3.0, 4.0]]), np.array([True]), subsets=frozenset({"blur"}))
    >>> face.box is None, "blur" in face.subsets
    (True, True)
    """

    path: Path
    points: Points
    labelled: Mask
    box: Box | None = None
    subsets: frozenset[str] = frozenset()
    occluded: Mask | None = None
    entry: str = ""
    no_box: str = ""
    root: Path | None = None

    @property
    def name(self) -> str:
        """What messages and results call the image."""
        return self.path.as_posix() + f":{self.entry}" * bool(self.entry)


@dataclass(frozen=True)
class Annotations:
    """The faces of one split that are on disk, and how many the complete split has."""

    records: list[Record]
    expected: int


@dataclass(frozen=True)
class Source:
    """Where a data set comes from (nowhere: it is the user's own) and which files its folder holds, for messages."""

    title: str
    url: str
    layout: str


class IncompleteError(DataError):
    """Part of a data set is not on disk: ``problems`` has an entry for each file or face, the message the first."""

    def __init__(self, message: str, problems: Sequence[str]) -> None:
        super().__init__(message)
        self.problems = list(problems)


def check_complete(source: Source, root: Path, problems: Sequence[str], allow_partial: bool) -> None:
    """Refuse an incomplete data set, listing what is missing, unless partial data are allowed.

    Args:
        source: What the message says about where to get the set.
        root: The folder that it was looked for in.
        problems: What is missing, an entry each; the first twelve are shown.
        allow_partial: Accept the set as it is.

    Raises:
        IncompleteError: ``problems`` is not empty and ``allow_partial`` is false.
    """
    if not problems or allow_partial:
        return
    get = f"Get it from {source.url} and unpack it" if source.url else "Put there what is missing"
    get += f", so that {root} holds {source.layout}."
    if not root.is_dir():
        raise IncompleteError(
            f"{source.title}: there is no folder {root}. Name another with paths.data_dir=DIR or dataset.root=DIR, "
            f"or:\n{get}",
            problems,
        )
    shown = [f"  {problem}" for problem in problems[:12]]
    if len(problems) > 12:
        shown.append(f"  ... and {len(problems) - 12} more")
    raise IncompleteError(
        f"{source.title} in {root} is not complete:\n" + "\n".join(shown) + "\n"
        f"{get}\n"
        "To run on what is there, set dataset.allow_partial=true (the numbers are then not the official set's).",
        problems,
    )


def inside(root: Path, name: str, where: str) -> Path:
    """The path of an image that an annotation names; ``where`` is the annotation's file and line.

    Raises:
        DataError: the name is empty or leads out of ``root``.

    >>> inside(Path("images"), "0--Parade/1.jpg", "list.txt:1").as_posix()
    'images/0--Parade/1.jpg'
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not name.strip():
        raise DataError(f"{where}: expected the name of a file below {root}, found {short(name)}")
    return root / parts


def read_text(file: Path) -> str:
    """The content of a file of annotations.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{file}: expected annotations, but the file cannot be read: {error.strerror}") from None


def parse_numbers(words: Sequence[str], where: str) -> np.ndarray:
    """Finite numbers from the words of a line; ``where`` is its file and number.

    Raises:
        DataError: a word is no finite number.

    >>> parse_numbers(["1", "2.5"], "list.txt:1")
    array([1. , 2.5])
    >>> parse_numbers(["1", "x"], "list.txt:1")
    Traceback (most recent call last):
    awing.errors.DataError: list.txt:1: expected numbers, found 'x'
    """
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers, found {str(error).split(': ')[-1][:80]}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: expected finite numbers, found {words[int(np.argmin(np.isfinite(values)))][:80]}")
    return values
