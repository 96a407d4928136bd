"""Landmarks that two schemes have in common, as data."""

from pathlib import Path

from awing.errors import ConfigError
from awing.schemes.file import indices, read_yaml
from awing.schemes.scheme import Scheme

MAPS = Path(__file__).parent / "maps"


def read_map(name: str, annotated: Scheme, predicted: Scheme) -> list[int]:
    """For each landmark of ``predicted``, the index of the same one of ``annotated``; -1 where there is none.

    Args:
        name: ``wflw98-ibug68``, either way round; or a YAML file with the names of both schemes, each with a list of
            landmarks, by name or 0-based index: those at the same place of the lists are the same.
        annotated: Of the data set.
        predicted: Of the checkpoint.

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
        own, other = (indices(values[s.name], list(s.names), s.name) for s in (annotated, predicted))
        same = dict(zip(other, own, strict=True))
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    if outside := [i for i, s in ((max(own), annotated), (max(other), predicted)) if i >= s.num_landmarks]:
        raise ConfigError(f"{file}: there is no landmark {outside[0]}")
    return [same.get(i, -1) for i in range(predicted.num_landmarks)]


def maps_between(annotated: Scheme, predicted: Scheme) -> list[str]:
    """Names of the maps that come with the package for two schemes."""
    return [file.stem for file in MAPS.glob("*.yaml") if set(file.stem.split("-")) == {annotated.name, predicted.name}]
