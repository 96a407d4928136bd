"""The network: coordinate convolution, stacked hourglass, conversion of the authors' weights."""

from awing.models.coordinates import append_coordinates, boundary_coordinates, coordinate_channels
from awing.models.hourglass import Block, Hourglass, StackedHourglass
from awing.models.official import load_official, to_official

__all__ = [
    "Block",
    "Hourglass",
    "StackedHourglass",
    "append_coordinates",
    "boundary_coordinates",
    "coordinate_channels",
    "load_official",
    "to_official",
]
