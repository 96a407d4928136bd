"""Records of annotated faces, which readers return, and the parsing and checks that readers share."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np

from awing.arrays import Box, Mask, Points
from awing.errors import ConfigError, DataError

Bits = int | Literal["range"] | None  # number of bits that 16-bit images use; see awing.data.images.to_8_bits
log = logging.getLogger(__name__)
Counts = Mapping[str, int]  # number of faces of each complete split


@dataclass(frozen=True)
class Record:
    """One annotated face in one image file, in source px: 0-based, pixel centres on integers."""

    path: Path  # of the image file
    points: Points  # (K, 2) landmarks, x and y
    labelled: Mask  # (K,) whether a landmark is annotated; coordinates of the others have no meaning
    box: Box | None = None  # x0, y0, x1, y1 of the box that the data set provides
    subsets: frozenset[str] = frozenset()  # names of the subsets that the face belongs to
    entry: str = ""  # name of the image inside path if that is a file of several images (HDF5)
    no_box: str = ""  # why there is no box and where to get it, for the message of a crop that needs one
    group: str = ""  # images of one group (a person, a clip, copies) are held out together
    root: Path | None = None  # folder to which the image's name is relative in holding out; None: the data set's
    upright: bool = False  # whether points refer to the image turned by its EXIF orientation
    bits: Bits = None  # how a 16-bit image is reduced to 8 bits
    size: tuple[int, int] | None = None  # width and height that the annotations state, px
    id: str = ""  # of the face in its annotations, for messages

    @property
    def name(self) -> str:
        """Name of the image in messages and results."""
        return self.path.as_posix() + f":{self.entry}" * bool(self.entry)

    @property
    def where(self) -> str:
        """Name of the face in lists of faces: its id, if it has one, and its image."""
        return f"{self.id}, {self.name}" if self.id else self.name


class Annotations(NamedTuple):
    """Faces of one split that are on disk, number of faces of the complete split, and unusable entries."""

    records: list[Record]
    expected: int  # without unusable ones
    unusable: Sequence[str] = ()  # entry, image and reason of each


class Source(NamedTuple):
    """For messages: where a data set comes from (empty if it is the user's own) and which files its folder holds."""

    title: str
    url: str
    layout: str


class IncompleteError(DataError):
    """Part of a data set is not on disk; ``problems`` has an entry for each file or face that is missing."""

    def __init__(self, message: str, problems: Sequence[str]) -> None:
        super().__init__(message)
        self.problems = list(problems)


def check_complete(
    source: Source, root: Path, records: list[Record], expected: int, allow_partial: bool, problems: Sequence[str] = ()
) -> Annotations:
    """Return the faces whose image is on disk; if any are missing, raise an IncompleteError unless ``allow_partial``.

    ``expected``, the number of faces in the complete split, is compared if the reader has found no ``problems`` itself.
    """
    problems = list(problems)
    if not root.is_dir():
        problems = [f"there is no folder {root}; name another with paths.data_dir=DIR or dataset.root=DIR"]
    elif not problems and len(records) != expected:
        problems = [f"expected {expected} faces, found {len(records)}"]
    missing = {path for path in {record.path for record in records} if not os.path.isfile(path)}
    problems += [f"{p.relative_to(root) if p.is_relative_to(root) else p} is missing" for p in sorted(missing)]
    if not problems or allow_partial:
        return Annotations([record for record in records if record.path not in missing], expected)
    get = f"Get it from {source.url} and unpack it" if source.url else "Put there what is missing"
    raise IncompleteError(
        f"{source.title} in {root} is not complete:{listed(problems, 12)}\n"
        f"{get}, so that {root} holds {source.layout}.\n"
        "To run on what is there, set dataset.allow_partial=true (the numbers are then of a part of the set).",
        problems,
    )


def check_usable(unusable: Sequence[str], skip: bool) -> None:
    """Raise a DataError that lists the unusable entries; or, to ``skip`` them, log their number as a warning."""
    if unusable and not skip:
        advice = "Correct them (src/prepare.py action=verify lists all), or leave them out: dataset.skip_unusable=true"
        raise DataError(f"{len(unusable)} of the annotated faces cannot be used:{listed(unusable, 12)}\n{advice}")
    if unusable:
        log.warning("left out, %d annotated faces that cannot be used:%s", len(unusable), listed(unusable, 12))


def listed(texts: Sequence[str], most: int) -> str:
    """Format texts as indented lines; of those beyond ``most``, only the number."""
    more = [f"... and {len(texts) - most} more"] * (len(texts) > most)
    return "".join(f"\n  {text}" for text in [*texts[:most], *more])


def check_bits(what: str, found: Any) -> Bits:
    """Return the rule for 16-bit images, or raise a ConfigError if ``found`` is no such rule."""
    bits = int(found) if str(found).isdecimal() else found
    if bits not in (None, "range", *range(8, 17)):
        raise ConfigError(f"{what}: expected the bits that images of 16 bits use, 8 to 16, or range, found {found!r}")
    return bits


def check_box(box: np.ndarray, where: str) -> Box:
    """Return the box x0, y0, x1, y1, or raise a DataError if it has no area; ``where`` is its file and line or face."""
    if not (box[2] > box[0] and box[3] > box[1]):
        raise DataError(f"{where}: expected a box of positive width and height, found {box.tolist()}")
    return box


def image_path(root: Path, name: str, where: str) -> Path:
    """The path of an image that an annotation names, below ``root``; ``where`` is the annotation's file and line."""
    parts = PurePosixPath(name.replace("\\", "/"))  # Windows
    if parts.is_absolute() or ".." in parts.parts or not name.strip():
        raise DataError(f"{where}: expected the name of a file below {root}, found {name!r:.80}")
    return root / parts


def parse_numbers(values: Sequence[Any], where: str) -> np.ndarray:
    """Parse finite numbers from strings or plain values; ``where`` is their file and line."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected numbers, found {str(error).split(': ')[-1]:.80}") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{where}: expected finite numbers, found {values[int(np.argmin(np.isfinite(numbers)))]}")
    return numbers


def read_mat(file: Path, name: str, shape: tuple[int, ...] | None = None) -> Any:
    """Read one variable of a MATLAB file of version 5 to 7: an array of ``shape``, or else plain cells and structs."""
    from scipy.io import loadmat  # in the train extra
    from scipy.io.matlab import MatReadError

    try:
        value = loadmat(file, variable_names=name, simplify_cells=shape is None)[name]
    except (OSError, LookupError, ValueError, NotImplementedError, MatReadError) as error:
        raise DataError(f"{file}: expected {name} in a MATLAB file of version 5 to 7, found {error!r}") from None
    if shape and value.shape != shape:
        raise DataError(f"{file}: expected {name} of shape {shape}, found {value.shape}")
    return value
