"""``key=value`` words of commands that need no composed configuration, and so no Hydra; any path is a value."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import NoReturn, TypeVar

from awing.errors import ConfigError, did_you_mean, exit_on_user_error

T = TypeVar("T")


def run(work: Callable[[T], int], options: type[T], usage: str) -> NoReturn:
    """Run a command: print its usage where nothing is asked; end an error in a sentence, and exit.

    Args:
        work: Gets the options, and gives the exit status.
        options: See :func:`parse`.
        usage: What ``--help`` prints.
    """
    words = sys.argv[1:]
    with exit_on_user_error():
        if not words or {"--help", "-h"} & set(words):
            print(usage)
            status = 0
        else:
            status = work(parse(words, options))
    sys.exit(status)


def parse(words: Sequence[str], options: type[T]) -> T:
    """Words -> an instance of a dataclass, whose defaults say of which kind a value is.

    Args:
        words: Of the command line.
        options: A dataclass; a field without a default must be given; one whose default is None takes text.

    Raises:
        ConfigError: an unknown key, a value that is empty, given twice or of another kind, or one that is missing.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Options:
    ...     input: str
    ...     pts: bool = False
    >>> parse(["input=a=b, c.jpg", "pts=true"], Options)
    Options(input='a=b, c.jpg', pts=True)
    """
    known = {field.name: field for field in fields(options)}  # type: ignore[arg-type]  # a dataclass
    values: dict[str, object] = {}
    first = next(iter(known))
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise ConfigError(f"expected key=value, found {word!r}; did you mean '{first}={word}'?")
        if key not in known:
            raise ConfigError(f"there is no option {key!r}: {', '.join(known)}.{did_you_mean(key, known)}")
        if not value:
            raise ConfigError(f"{key}= is empty: give a value or leave it out; is a shell variable not set?")
        if key in values:
            raise ConfigError(f"{key}= is given twice")
        values[key] = _typed(key, value, known[key].default)
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in values]:
        raise ConfigError(f"expected {missing[0]}=..., see --help")
    return options(**values)


def _typed(key: str, value: str, default: object) -> object:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"{key} is true or false, found {value!r}")
        return value.lower() == "true"
    if isinstance(default, int):
        if not value.isdecimal():
            raise ConfigError(f"{key} is a whole number, found {value!r}")
        return int(value)
    if isinstance(default, float):
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"{key} is a number, found {value!r}") from None
    return default if value == "null" and default is not MISSING else value
