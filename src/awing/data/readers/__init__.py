"""Readers of the data sets, one file each: from official files to records.

Every reader parses files into records and has :func:`awing.data.records.check_complete` compare them with the official
split. All have these first arguments, and some have ``expected``:

Args:
    root: Folder of the data set in its official layout.
    split: ``"train"`` or ``"test"``.
    allow_partial: Leave out faces whose image is missing, and accept another number of faces, instead of raising.
    expected: Number of faces in each complete split.

Raises:
    DataError: a file is broken (it is named, with the line or face), or the set is incomplete.
"""

from awing.data.readers.aflw import read_aflw
from awing.data.readers.cofw import read_cofw
from awing.data.readers.custom import read_custom
from awing.data.readers.lsp import read_lsp
from awing.data.readers.w300 import read_300w, read_300w_private
from awing.data.readers.wflw import read_wflw

__all__ = ["read_300w", "read_300w_private", "read_aflw", "read_cofw", "read_custom", "read_lsp", "read_wflw"]
