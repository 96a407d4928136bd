"""Points to heatmaps and back: one object, both ways."""

from awing.codec.heatmap import HeatmapCodec

__all__ = ["HeatmapCodec"]
