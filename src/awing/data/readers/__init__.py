"""One file a data set: its official files -> records."""

from awing.data.readers.aflw import read_aflw
from awing.data.readers.cofw import read_cofw
from awing.data.readers.custom import read_custom
from awing.data.readers.lsp import read_lsp
from awing.data.readers.w300 import read_300w, read_300w_private
from awing.data.readers.wflw import read_wflw

__all__ = ["read_300w", "read_300w_private", "read_aflw", "read_cofw", "read_custom", "read_lsp", "read_wflw"]
