"""Data sets: official files -> records -> samples -> batches."""

from awing.data.aflw import read_aflw
from awing.data.augment import Augmentation
from awing.data.cofw import read_cofw
from awing.data.custom import read_custom
from awing.data.datamodule import LandmarkDataModule
from awing.data.dataset import LandmarkDataset
from awing.data.lsp import read_lsp
from awing.data.records import Annotations, Record
from awing.data.synthetic import write_dataset
from awing.data.w300 import read_300w, read_300w_private
from awing.data.wflw import read_wflw

__all__ = [
    "Annotations",
    "Augmentation",
    "LandmarkDataModule",
    "LandmarkDataset",
    "Record",
    "read_300w",
    "read_300w_private",
    "read_aflw",
    "read_cofw",
    "read_custom",
    "read_lsp",
    "read_wflw",
    "write_dataset",
]
