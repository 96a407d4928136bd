"""Accuracy of landmarks: pure functions, and torchmetrics classes that use them over a data set."""

from awing.metrics.collection import LandmarkNME, PercentCorrectKeypoints
from awing.metrics.functional import auc, ced, failure_rate, nme, pck

__all__ = ["LandmarkNME", "PercentCorrectKeypoints", "auc", "ced", "failure_rate", "nme", "pck"]
