"""Landmark schemes: the facts of each annotation as data, checked when they are imported."""

from awing.errors import check_choice
from awing.schemes.builtin import AFLW19, COFW29, IBUG68, LSP14, WFLW98
from awing.schemes.scheme import Scheme

SCHEMES = {scheme.name: scheme for scheme in (WFLW98, IBUG68, COFW29, AFLW19, LSP14)}


def get_scheme(name: str) -> Scheme:
    """Return a scheme by its name: ``wflw98``, ``ibug68``, ``cofw29``, ``aflw19`` or ``lsp14``.

    Raises:
        ConfigError: no scheme has this name; the nearest one is suggested.

    >>> get_scheme("ibug68").num_landmarks
    68
    """
    check_choice("the landmark scheme", name, SCHEMES)
    return SCHEMES[name]


__all__ = ["SCHEMES", "Scheme", "get_scheme"]
