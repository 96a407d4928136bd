"""Adaptive Wing loss: facial (and body) landmark detection by heatmap regression."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awing.inference.aligner import Aligner, Landmarks

# Most px that OpenCV decodes, more than any camera's photograph has: a file of 3 MB can claim 3 GB. OpenCV reads this
# once, when it is loaded. For larger pictures, set another limit in the environment.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))

__version__ = "0.1.0"
__all__ = ["Aligner", "Landmarks"]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that a command line that only prints help does not load torch."""
    if name in __all__:
        from awing.inference import aligner

        return getattr(aligner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
