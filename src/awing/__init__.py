"""Adaptive Wing loss: facial (and body) landmark detection by heatmap regression."""

__version__ = "0.1.0"
