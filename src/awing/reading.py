"""Text of unknown origin: JSON, YAML and lines within bounds. What is wrong with it is a ValueError, whatever it is."""

import json
from collections.abc import Iterator
from io import TextIOBase
from typing import Any

LONGEST_LINE = 100_000  # characters; a face of 478 points has some 20,000
LONGEST_YAML, LONGEST_WORD, DEEPEST = 200_000, 1000, 100  # characters, and levels; a run's has some 8,000, 100 and 6


def parse_json(text: str | bytes) -> Any:
    """The values of a JSON text.

    Raises:
        ValueError: it is none.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: values are nested too deeply
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("values are nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """The values of a YAML text, which must be written out: a few references can stand for more than memory holds.

    Raises:
        ValueError: it is none.

    >>> parse_yaml("[&a [1, 2], *a]")
    Traceback (most recent call last):
    ValueError: expected every value written out, found a reference, *a
    """
    import yaml  # in the train extra

    if len(text) > LONGEST_YAML:
        raise ValueError(f"expected at most {LONGEST_YAML} characters, found {len(text)}")
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:  # its time grows with the square
                raise ValueError("values are nested too deeply")
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_WORD:
                raise ValueError(f"expected words of at most {LONGEST_WORD} characters, found {event.value[:40]!r}...")
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"expected every value written out, found a reference, *{event.anchor}")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError) as error:  # of a wrong "!!int"
        raise ValueError(" ".join(str(error).split())) from None


def lines(stream: TextIOBase) -> Iterator[str]:
    """The lines of a table, for :mod:`csv`.

    Raises:
        ValueError: one is too long to be one.

    >>> from io import StringIO
    >>> list(lines(StringIO("a,b\\n1,2\\n")))
    ['a,b\\n', '1,2\\n']
    """
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} characters")
        yield line
