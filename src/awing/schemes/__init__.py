"""Landmark schemes: the facts of each annotation as data, checked when they are imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from awing.errors import check_choice
from awing.schemes.file import make_scheme, read_scheme
from awing.schemes.scheme import Scheme

SCHEMES = {file.stem: read_scheme(file) for file in sorted(Path(__file__).parent.glob("*.yaml"))}


def get_scheme(scheme: str | Mapping[str, Any]) -> Scheme:
    """Return a scheme: ``wflw98``, ``ibug68``, ``cofw29``, ``aflw19`` or ``lsp14`` by its name, or one of your own.

    Your own is given by the path of a YAML file (ending in .yaml or .yml), see :func:`read_scheme`; or by its values,
    as a checkpoint keeps them.

    Raises:
        ConfigError: no scheme has this name (the nearest one is suggested), or the file or values are no scheme.

    >>> get_scheme("ibug68").num_landmarks
    68
    """
    if not isinstance(scheme, str):
        return make_scheme(scheme, "the landmark scheme")
    if scheme.endswith((".yaml", ".yml")):
        return read_scheme(Path(scheme))
    check_choice("the landmark scheme", scheme, [*SCHEMES, "FILE.yaml"])
    return SCHEMES[scheme]


__all__ = ["SCHEMES", "Scheme", "get_scheme", "read_scheme"]
