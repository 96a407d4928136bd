"""Calibrated confidence: probability that a point is right, from the height of its map's peak (Platt scaling).

A point is right if it lies within ``radius`` times the normaliser of its annotated position.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import expit

from awing.checkpoint import Checkpoint
from awing.errors import DataError
from awing.regressor import LandmarkRegressor
from awing.visualization.plots import save_reliability


def write_confidence(
    regressor: LandmarkRegressor, checkpoint: Checkpoint, radius: float | None, output: Path, title: str
) -> None:
    """Check a confidence on the points of the last test; write ``confidence.json`` and ``reliability.png``.

    With a radius, a confidence is fitted to these points; otherwise the checkpoint's is evaluated, if it has one for
    the first normaliser.
    """
    parts, normaliser = zip(*regressor.points, strict=True), regressor.nme.normalisers[0]
    peaks, errors = (torch.cat(part).flatten().double().cpu().numpy() for part in parts)
    peaks, errors = peaks[np.isfinite(errors)], errors[np.isfinite(errors)]
    confidence = checkpoint.confidence if radius is None else fit(peaks, errors, radius, normaliser)
    if confidence is None or confidence["normaliser"] != normaliser:
        return
    right = errors < confidence["radius"]
    curve = reliability(expit(confidence["offset"] + confidence["slope"] * peaks), right)
    found = {**confidence, "points": len(peaks), "share_right": float(right.mean()), "reliability": curve}
    (output / "confidence.json").write_text(json.dumps(found, indent=2) + "\n")
    title = f"{title}, {normaliser}: within {100 * confidence['radius']:g} %"
    save_reliability(output / "reliability.png", curve, title)
    print(f"confidence: calibration error {100 * curve['error']:.2f} %, {output / 'reliability.png'}")


def fit(
    peaks: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"], radius: float, normaliser: str
) -> dict[str, Any]:
    """Fit a logistic function to peak heights and errors by maximum likelihood; errors are divided by the normaliser.

    Returns slope and offset of ``1 / (1 + exp(-(offset + slope * peak)))``, with radius and normaliser.

    Raises:
        DataError: all points are right, or none is.
    """
    right = errors < radius
    if right.all() or not right.any():
        found = f"{right.sum()} of {len(right)} right"
        raise DataError(f"a confidence needs points that are right and others at a radius of {radius}, found {found}")

    def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = parameters[0] * peaks + parameters[1]
        residual = expit(logit) - right
        loss = np.logaddexp(0, logit) - right * logit
        return float(loss.mean()), np.array([(residual * peaks).mean(), residual.mean()])

    slope, offset = minimize(cost, np.zeros(2), jac=True).x.tolist()
    return {"slope": slope, "offset": offset, "radius": radius, "normaliser": normaliser}


def reliability(confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = 10) -> dict[str, Any]:
    """Reliability curve and expected calibration error.

    Points are ordered by confidence and divided into bins of equal numbers. Returns the mean "confidence" and the share
    of "right" points of each bin, and as "error" the mean difference of the two.
    """
    groups = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))
    means = [float(confidence[group].mean()) for group in groups]
    shares = [float(right[group].mean()) for group in groups]
    error = np.average(np.abs(np.subtract(means, shares)), weights=[len(group) for group in groups]).item()
    return {"confidence": means, "right": shares, "error": round(error, 6)}
