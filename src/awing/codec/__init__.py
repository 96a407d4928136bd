"""Encoding of landmarks as heatmaps, and decoding of heatmaps to landmarks."""

from awing.codec.heatmap import HeatmapCodec

__all__ = ["HeatmapCodec"]
