"""Files of unknown origin: JSON, YAML, lines and what torch.save wrote, within bounds and as plain data.

What is wrong with a text is a ValueError, whatever it is.
"""

import json
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from io import TextIOBase
from pathlib import Path
from typing import Any

import torch

from awing.errors import CheckpointError, DamagedCheckpoint

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


def alike(found: Any, model: Any) -> bool:
    """Whether nested values are of the kinds of a model's; what only one of the two has does not count.

    >>> alike({"steps": 3, "more": "x"}, {"steps": 0}), alike({"steps": "3"}, {"steps": 0})
    (True, False)
    """
    if isinstance(model, Mapping):
        both = found.keys() & model.keys() if isinstance(found, Mapping) else ()
        return isinstance(found, Mapping) and all(alike(found[key], model[key]) for key in both)
    if isinstance(model, list | tuple):
        return isinstance(found, list | tuple) and all(alike(*pair) for pair in zip(found, model, strict=False))
    kind = (int, float) if isinstance(model, int | float) else type(model)
    return model is None or isinstance(found, kind)


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


def load_plain(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is plain data; no code runs, no more is unpacked than the file holds.

    Raises:
        CheckpointError: the file cannot be read; DamagedCheckpoint where its content is the reason.
    """
    try:
        return _unpickled(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except MemoryError:
        raise CheckpointError(f"{path} needs more memory than there is") from None
    except Exception as error:  # a file of unknown origin can fail anywhere in the unpickler
        raise DamagedCheckpoint(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, was not written by "
            "torch.save, or holds more than plain data and could run code"
        ) from None


def _unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        head, size = file.read(4), path.stat().st_size
        file.seek(max(size - 98, 0))
        end = file.read()
    if head == b"PK\3\4":
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > size or not _one_directory(end, size):  # torch.save compresses nothing
                raise ValueError(f"would unpack from {size} to {unpacked} bytes or more")
            if changed := archive.testzip():  # torch does not look at the checksums that it writes
                raise ValueError(f"{changed} is damaged")
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    else:  # as old versions wrote it
        pickles = [path.read_bytes()]
    if any(b"bytearray" in text for text in pickles):  # torch would make one of any size
        raise ValueError("holds more than tensors and plain values")
    return torch.load(path, map_location="cpu", weights_only=True)


def _one_directory(end: bytes, size: int) -> bool:
    """Whether an archive's directory ends where its end record begins: Python and torch could else read two."""
    if end[-98:-94] == b"PK\6\6":
        entries, start = struct.unpack_from("<QQ", end, len(end) - 98 + 40)
        return bool(start + entries == size - 98)
    entries, start = struct.unpack_from("<II", end, len(end) - 22 + 12)
    return bool(start + entries == size - 22)


def dense(tensors: Collection[torch.Tensor], path: Path) -> bool:
    """Whether the numbers of a file's tensors are all in the file: one of them can be repeated to any shape."""
    if any(t.layout != torch.strided or t.device.type != "cpu" or t.is_quantized for t in tensors):
        return False
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) <= path.stat().st_size
