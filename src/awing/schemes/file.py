"""Landmark schemes from YAML files, those of the paper's data sets among them, or from plain values."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from awing.errors import ConfigError, check_choice
from awing.schemes.scheme import Indices, Scheme


def read_scheme(file: Path) -> Scheme:
    """Read a scheme from a YAML file: the fields of :class:`Scheme`, landmarks by name or by 0-based index.

    Needed are ``names`` and ``flip_pairs`` (``[]`` if no landmark exchanges with another); ``name`` is the file's
    otherwise. One end of a normaliser is a landmark, or several whose mean counts.

    Raises:
        ConfigError: the file is missing, is no YAML or is no scheme; what is wrong with it is named.

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
           normalisers={'inter_ocular': ((0,), (1,))}, groups={}, five=())
    """
    values = read_yaml(file, "a landmark scheme")
    places: dict[str, int] = {str(name): i for i, name in enumerate(values.get("names") or [])}
    for number in _numbers([value for key, value in values.items() if key != "names"]):
        if places.get(str(number), number) != number:
            either = f"the name {str(number)!r} or the index of another landmark"
            raise ConfigError(f"{file}: {number} may be {either}; put quotes around names that are numbers")
    return make_scheme({"name": file.stem, **values}, str(file))


def read_yaml(file: Path, what: str) -> dict[str, Any]:
    """Read a mapping from a YAML file, or raise a ConfigError that says ``what`` was expected."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"expected {what} in {file}, but it cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected {what}, found {values!r:.80}")
    return values


def make_scheme(values: Mapping[str, Any], source: str) -> Scheme:
    """Scheme of plain values, as :func:`read_scheme` and checkpoints have them; ``source`` begins every error."""
    if not values.keys() >= {"name", "names", "flip_pairs"}:
        raise ConfigError(f"{source}: expected a mapping with names and flip_pairs, found {values!r:.80}")
    try:
        for key in values:
            check_choice("an entry of a scheme", key, [field.name for field in dataclasses.fields(Scheme)])
        names = [str(name) for name in _list(values["names"], "names")]
        flip_pairs: Any = _paths(values["flip_pairs"], names, "flip_pairs")
        normalisers: Any = {k: _means(ends, names, k) for k, ends in (values.get("normalisers") or {}).items()}
        five = _means(values.get("five") or [], names, "five")
        lines = _paths(values.get("lines") or [], names, "lines")
        groups = {name: indices(joints, names, name) for name, joints in (values.get("groups") or {}).items()}
        return Scheme(str(values["name"]), tuple(names), flip_pairs, lines, normalisers, groups, five)
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{source}: {error}") from None


def indices(landmarks: Any, names: list[str], where: str) -> Indices:
    """Indices of landmarks that are given by name or by index."""
    for landmark in _list(landmarks, where):
        if not isinstance(landmark, int):
            check_choice(f"{where}: a landmark", landmark, names)
    return tuple(landmark if isinstance(landmark, int) else names.index(landmark) for landmark in landmarks)


def _means(value: Any, names: list[str], where: str) -> tuple[Indices, ...]:
    """Groups of landmarks, one landmark standing for a group of its own."""
    return _paths([[part] if isinstance(part, str | int) else part for part in _list(value, where)], names, where)


def _paths(value: Any, names: list[str], where: str) -> tuple[Indices, ...]:
    return tuple(indices(path, names, f"{where}[{i}]") for i, path in enumerate(_list(value, where)))


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{where}: expected a list, found {value!r:.80}")
    return list(value)


def _numbers(node: Any) -> Iterator[int]:
    """The numbers in plain values."""
    if isinstance(node, int):
        yield node
    elif isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _numbers(value)
