"""A landmark scheme from a YAML file or from plain values: your own landmarks."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from awing.errors import ConfigError, check_choice, did_you_mean, short
from awing.reading import parse_yaml
from awing.schemes.scheme import Indices, Scheme

KEYS = [field.name for field in dataclasses.fields(Scheme)]
T = TypeVar("T")
WORD = re.compile(r"[^\W_][\w .-]*")  # nothing that a configuration would take for more than a word


def read_scheme(file: Path) -> Scheme:
    """Read a scheme from a YAML file: the fields of :class:`Scheme`, landmarks by name or by 0-based index.

    Needed are ``names`` and ``flip_pairs`` (``[]`` if no landmark exchanges with another); ``name`` is the file's
    otherwise. One end of a normaliser is a landmark, or several whose mean counts.

    Raises:
        ConfigError: the file is missing or no YAML, or an entry of it is no part of a scheme; the entry is named.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "bird.yaml")
    ...     _ = file.write_text('''
    ...         names: [left_eye, right_eye, beak]
    ...         flip_pairs: [[left_eye, right_eye]]
    ...         lines: [[left_eye, beak, right_eye]]
    ...         normalisers: {inter_ocular: [left_eye, right_eye]}
    ...     ''')
    ...     read_scheme(file)  # doctest: +NORMALIZE_WHITESPACE
    Scheme(name='bird', names=('left_eye', 'right_eye', 'beak'), flip_pairs=((0, 1),), lines=((0, 2, 1),),
           normalisers={'inter_ocular': ((0,), (1,))}, groups={})
    """
    try:
        values = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"expected a landmark scheme in {file}, but it cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: expected YAML, found: {error}") from None
    if isinstance(values, Mapping):
        values = {"name": file.stem, **values}
    return make_scheme(values, str(file))


def make_scheme(values: Any, where: str) -> Scheme:
    """A scheme from plain values, as :func:`read_scheme` and checkpoints have them; ``where`` begins every message.

    Raises:
        ConfigError: they are no scheme.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping with {', '.join(KEYS)}, found {short(values)}")
    for key in values:
        check_choice(f"{where}: an entry of a scheme", key, KEYS)
    names = _list(values.get("names"), "the landmarks' names", f"{where}: names")
    for i, name in enumerate(names):
        _word(name, f"{where}: names[{i}]")

    def index(landmark: Any, place: str) -> int:
        if isinstance(landmark, int) and not isinstance(landmark, bool) and 0 <= landmark < len(names):
            return landmark
        if landmark not in names:
            near = did_you_mean(str(landmark), names)
            raise ConfigError(
                f"{place}: expected one of the {len(names)} landmarks or its index from 0, found "
                f"{short(landmark)}.{near}"
            )
        return names.index(landmark)

    def indices(landmarks: Any, place: str) -> Indices:
        return tuple(index(landmark, place) for landmark in _list(landmarks, "a list of landmarks", place))

    def end(landmarks: Any, place: str) -> Indices:
        return (index(landmarks, place),) if isinstance(landmarks, str | int) else indices(landmarks, place)

    def pair(value: Any, place: str, each: Callable[[Any, str], T]) -> tuple[T, T]:
        two = _list(value, "two landmarks", place)
        if len(two) != 2:
            raise ConfigError(f"{place}: expected two landmarks, found {short(value)}")
        return each(two[0], place), each(two[1], place)

    flip_pairs = _list(values.get("flip_pairs"), "a list of pairs, [] if there is none", f"{where}: flip_pairs")
    lines = _list(values.get("lines", ()), "a list of lines", f"{where}: lines")
    normalisers = _mapping(values.get("normalisers"), f"{where}: normalisers")
    groups = _mapping(values.get("groups"), f"{where}: groups")
    found: dict[str, Any] = {
        "name": _word(values.get("name"), f"{where}: name"),
        "names": tuple(names),
        "flip_pairs": tuple(pair(two, f"{where}: flip_pairs[{i}]", index) for i, two in enumerate(flip_pairs)),
        "lines": tuple(indices(line, f"{where}: lines[{i}]") for i, line in enumerate(lines)),
        "normalisers": {name: pair(two, f"{where}: normalisers.{name}", end) for name, two in normalisers.items()},
        "groups": {name: indices(joints, f"{where}: groups.{name}") for name, joints in groups.items()},
    }
    try:
        return Scheme(**found)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _list(value: Any, what: str, place: str) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{place}: expected {what}, found {short(value)}")
    return list(value)


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{place}: expected names, each with its landmarks, found {short(value)}")
    return {_word(name, place): entry for name, entry in (value or {}).items()}


def _word(value: Any, place: str) -> str:
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise ConfigError(
            f"{place}: expected a name of letters and digits (in quotes if need be), found {short(value)}"
        )
    return value
