"""Rendered faces, for training with nothing on disk and nothing to download."""

from awing.data.synthetic.dataset import read_synthetic, render_face, write_dataset

__all__ = ["read_synthetic", "render_face", "write_dataset"]
