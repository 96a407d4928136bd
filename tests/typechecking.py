"""The checker of shapes and types that tests/conftest.py installs."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype

F = TypeVar("F", bound=Callable[..., object])


def check(function: F) -> F:
    """Beartype that takes an int where a float is asked for, as PEP 484 does."""
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)
