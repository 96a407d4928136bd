"""Rendered faces, for training with nothing on disk and nothing to download."""

from awing.data.synthetic.dataset import render_face, write_dataset

__all__ = ["render_face", "write_dataset"]
