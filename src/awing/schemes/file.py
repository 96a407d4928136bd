"""Landmark schemes from YAML files and from plain values; maps of the landmarks that two schemes have in common."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from awing.errors import ConfigError, check_choice
from awing.schemes.scheme import Indices, Scheme

MAPS = Path(__file__).parent / "maps"


def read_scheme(file: Path) -> Scheme:
    """Read a scheme from a YAML file: the fields of :class:`Scheme`, landmarks by name or by 0-based index.

    Required are ``names`` and ``flip_pairs`` (``[]`` if no landmark exchanges with another); ``name`` defaults to that
    of the file. One end of a normaliser is a landmark, or the mean of several.

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
    """Make a scheme from plain values of :func:`read_scheme` or a checkpoint; every error begins with ``source``."""
    if not values.keys() >= {"name", "names", "flip_pairs"}:
        raise ConfigError(f"{source}: expected a mapping with names and flip_pairs, found {values!r:.80}")
    try:
        for key in values:
            check_choice("an entry of a scheme", key, [field.name for field in dataclasses.fields(Scheme)])
        names = [str(name) for name in _list(values["names"], "names")]
        flip_pairs: Any = _groups(values["flip_pairs"], names, "flip_pairs")
        normalisers: Any = {k: _groups(ends, names, k) for k, ends in (values.get("normalisers") or {}).items()}
        five = _groups(values.get("five") or [], names, "five")
        lines = _groups(values.get("lines") or [], names, "lines")
        groups = {name: _indices(joints, names, name) for name, joints in (values.get("groups") or {}).items()}
        return Scheme(str(values["name"]), tuple(names), flip_pairs, lines, normalisers, groups, five)
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{source}: {error}") from None


def read_map(name: str, annotated: Scheme, predicted: Scheme) -> list[int]:
    """For each landmark of ``predicted``, return the index of the same landmark of ``annotated``, or -1.

    ``name`` is ``wflw98-ibug68``, for either direction, or a YAML file with the names of both schemes, each with a list
    of landmarks, by name or 0-based index: landmarks at the same position of the lists are the same.

    Raises:
        ConfigError: there is no such map, or it is not of these schemes.

    >>> from awing.schemes import SCHEMES
    >>> read_map("wflw98-ibug68", SCHEMES["wflw98"], SCHEMES["ibug68"])[34:40]  # nose, then the left eye
    [58, 59, 60, 61, 63, 64]
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else MAPS / f"{name}.yaml"
    values = read_yaml(file, "a map of landmarks")
    schemes = {scheme.name: scheme for scheme in (annotated, predicted)}
    if values.keys() != schemes.keys():
        raise ConfigError(f"{file}: expected two lists of landmarks, of {' and '.join(schemes)}, found {values!s:.80}")
    try:
        own, other = (_indices(values[s.name], list(s.names), s.name) for s in (annotated, predicted))
        same = dict(zip(other, own, strict=True))
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    if outside := [i for i, s in ((max(own), annotated), (max(other), predicted)) if i >= s.num_landmarks]:
        raise ConfigError(f"{file}: there is no landmark {outside[0]}")
    return [same.get(i, -1) for i in range(predicted.num_landmarks)]


def maps_between(annotated: Scheme, predicted: Scheme) -> list[str]:
    """Names of the package's maps between two schemes."""
    return [file.stem for file in MAPS.glob("*.yaml") if set(file.stem.split("-")) == {annotated.name, predicted.name}]


def _indices(landmarks: Any, names: list[str], where: str) -> Indices:
    """Indices of landmarks that are given by name or by index."""
    for landmark in _list(landmarks, where):
        if not isinstance(landmark, int):
            check_choice(f"{where}: a landmark", landmark, names)
    return tuple(landmark if isinstance(landmark, int) else names.index(landmark) for landmark in landmarks)


def _groups(value: Any, names: list[str], where: str) -> tuple[Indices, ...]:
    """Lists of indices of landmarks; a single landmark becomes a list."""
    parts = [[part] if isinstance(part, str | int) else part for part in _list(value, where)]
    return tuple(_indices(part, names, f"{where}[{i}]") for i, part in enumerate(parts))


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{where}: expected a list, found {value!r:.80}")
    return list(value)


def _numbers(node: Any) -> Iterator[int]:
    """All integers in nested plain values."""
    if isinstance(node, int):
        yield node
    elif isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _numbers(value)
