"""The network: coordinate convolution, stacked hourglass, conversion of the authors' weights."""

from awing.models.hourglass import StackedHourglass, append_coordinates, boundary_coordinates, coordinate_channels
from awing.models.official import load_official, to_official

__all__ = [
    "StackedHourglass",
    "append_coordinates",
    "boundary_coordinates",
    "coordinate_channels",
    "load_official",
    "to_official",
]
