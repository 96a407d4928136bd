"""Errors that a user can act on: each says what was expected, what was found and what to do next."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class AwingError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(AwingError, ValueError):
    """A configuration that cannot work, found before any data is read."""


class DataError(AwingError):
    """A data set's file is missing, broken or not in its official format."""


class CheckpointError(AwingError):
    """A checkpoint that cannot be read, or does not fit what it is used for."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print an :class:`AwingError` as one sentence and exit with 1; ``HYDRA_FULL_ERROR=1`` shows its traceback."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"  # as the user set it: the block may set it for Hydra
    try:
        yield
    except AwingError as error:
        if show_traceback:
            raise
        sys.exit(f"error: {error}")


def check_choice(what: str, found: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known; the message lists the known ones and suggests the nearest.

    >>> check_choice("codec.decoder", "quater", ["argmax", "quarter"])
    Traceback (most recent call last):
    awing.errors.ConfigError: codec.decoder is one of argmax, quarter; found 'quater'. Did you mean 'quarter'?
    """
    by_lower_case = {name.lower(): name for name in known}
    if found not in by_lower_case.values():
        near = get_close_matches(str(found).lower(), by_lower_case, n=1)
        hint = f" Did you mean {by_lower_case[near[0]]!r}?" if near else ""
        raise ConfigError(f"{what} is one of {', '.join(by_lower_case.values())}; found {found!r}.{hint}")
