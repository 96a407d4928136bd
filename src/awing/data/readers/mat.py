"""Arrays from MATLAB files: scipy's reader ends the whole process on many a damaged file, this one with a message."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from awing.errors import DataError

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {2: "latin1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
LARGEST = 2**28  # bytes of an array, inflated: 40 times the largest of the official files
COMPRESSED = 15  # an element that holds others
CELL, STRUCT, CHARACTERS, NUMERIC = 1, 2, 4, range(6, 16)  # classes of arrays


def read_mat(file: Path, name: str) -> Any:
    """Read one array of a MATLAB file of version 5 to 7 (7.3 is HDF5).

    Returns:
        Numbers as they are stored; cells as an array of objects; a struct as an array of dictionaries; a row of
        characters as a string.

    Raises:
        DataError: the file is broken, or holds no array of this name.

    >>> from tempfile import TemporaryDirectory
    >>> from scipy.io import savemat
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.mat")
    ...     savemat(file, {"a": np.eye(2)})
    ...     read_mat(file, "a")
    array([[1., 0.],
           [0., 1.]])
    """
    try:
        data = file.read_bytes()
        if data[124:128] != b"\0\1IM":
            raise ValueError("its head is another")
        for kind, part in _elements(memoryview(data)[128:]):
            for _, array in _elements(_inflated(part)) if kind == COMPRESSED else [(kind, part)]:
                flags, shape, called, *content = _elements(array)
                if bytes(called[1]) == name.encode():
                    return _value(flags, shape, content)
    except (OSError, LookupError, ValueError, RecursionError, struct.error, zlib.error) as error:
        raise DataError(f"{file}: expected a MATLAB file of version 5 to 7, but it cannot be read: {error}") from None
    raise DataError(f"{file}: expected an array {name!r}, found none of that name")


_Element = tuple[int, memoryview]


def _elements(data: memoryview) -> Iterator[_Element]:
    """Type and content of each element."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        start = at + 8
        if kind >> 16:  # a small one: its size stands in the upper half, its content in the place of the size
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        end = start + size
        if end > len(data):
            raise ValueError(f"an element of {size} bytes where {len(data) - start} are left")
        yield kind, data[start:end]
        at = end if kind == COMPRESSED else -(-end // 8) * 8


def _inflated(data: memoryview) -> memoryview:
    inflater = zlib.decompressobj()
    content = memoryview(inflater.decompress(data, LARGEST))
    if not inflater.eof:
        raise ValueError(f"a compressed array is cut off or over {LARGEST} bytes")
    return content


def _value(flags: _Element, shape: _Element, content: list[_Element]) -> Any:
    kind, values = np.frombuffer(flags[1], "<u4")[0] & 0xFF, []
    if kind in NUMERIC:
        ((stored, part),) = content  # a complex array has two
        return np.frombuffer(part, "<" + NUMBERS[stored]).reshape(_shape(shape), order="F")
    if kind == CHARACTERS:
        ((stored, part),) = content
        return bytes(part).decode(TEXTS[stored])
    if kind == CELL:
        values = [_nested(part) for _, part in content]
    elif kind == STRUCT:
        (_, width), (_, names), *fields = content
        step = int.from_bytes(width, "little")
        keys = [bytes(names[i : i + step]).split(b"\0")[0].decode() for i in range(0, len(names), step)]
        each = range(0, len(fields), len(keys))
        values = [dict(zip(keys, (_nested(p) for _, p in fields[i : i + len(keys)]), strict=True)) for i in each]
    else:
        raise ValueError(f"an array of class {kind}")
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array.reshape(_shape(shape), order="F")


def _nested(data: memoryview) -> Any:
    flags, shape, _, *content = _elements(data)
    return _value(flags, shape, content)


def _shape(element: _Element) -> tuple[int, ...]:
    return tuple(np.frombuffer(element[1], "<u4").tolist())
