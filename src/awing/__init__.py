"""Adaptive Wing loss: facial (and body) landmark detection by heatmap regression."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awing.aligner import Aligner, Landmarks

__version__ = "0.1.0"
__all__ = ["Aligner", "Landmarks"]


def __getattr__(name: str) -> Any:
    """Import what the package shows when it is asked for: a command line that only answers does not load torch."""
    if name in __all__:
        from awing import aligner

        return getattr(aligner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
