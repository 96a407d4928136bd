"""A function as a command of ``key=value`` words, for what needs no Hydra."""

import inspect
import sys
from collections.abc import Callable
from typing import Any

from awing.errors import ConfigError

PARSERS: dict[Any, Callable[[str], object]] = {bool: {"true": True, "false": False}.__getitem__, int: int, float: float}


def call_with_options(function: Callable[..., Any]) -> Any:
    """Call a function with the ``key=value`` words of the command line; print its docstring for none or ``--help``."""
    words, signature, values = sys.argv[1:], inspect.signature(function), {}
    if not words or {"-h", "--help"} & set(words):
        print(inspect.getdoc(function))
        sys.exit()
    for word in words:
        key, _, value = word.partition("=")
        if key not in signature.parameters or not value:
            raise ConfigError(f"expected key=value, the key one of {', '.join(signature.parameters)}; found {word!r}")
        kind = signature.parameters[key].annotation
        try:
            values[key] = PARSERS.get(kind, str)(value)
        except (KeyError, ValueError):
            expected = "true or false" if kind is bool else kind.__name__
            raise ConfigError(f"{key}: expected {expected}, found {value!r}") from None
    try:
        signature.bind(**values)
    except TypeError as error:
        raise ConfigError(f"{error}; see --help") from None
    return function(**values)
