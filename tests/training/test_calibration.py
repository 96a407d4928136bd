"""Confidences: fitted by likelihood, judged by how often they are right."""

import json

import numpy as np
import pytest

from awing.errors import ConfigError, DataError
from awing.training import calibration, engine


def test_the_fit_is_where_the_likelihood_is_flat():
    """At the maximum the residuals sum to nothing, and are uncorrelated with the peaks."""
    rng = np.random.default_rng(1)
    peaks = rng.beta(5, 2, 5000)
    right = rng.uniform(size=5000) < peaks**2
    found = calibration.fit(peaks, np.where(right, 0.01, 0.1), 0.05, "box")
    residual = 1 / (1 + np.exp(-(found["offset"] + found["slope"] * peaks))) - right
    assert abs(residual.mean()) < 1e-4
    assert abs((residual * peaks).mean()) < 1e-4
    assert found["slope"] > 0


@pytest.mark.parametrize("right", [True, False])
def test_points_of_one_kind_fit_nothing(right):
    with pytest.raises(DataError, match="of 9 right"):
        calibration.fit(np.linspace(0, 1, 9), np.full(9, 0.01 if right else 0.1), 0.05, "box")


def test_a_confidence_that_claims_too_much_is_found_out():
    rng = np.random.default_rng(2)
    truth = rng.uniform(0, 1, 20_000)
    right = rng.uniform(size=20_000) < truth
    assert calibration.reliability(truth, right)["error"] < 0.02
    claimed = np.sqrt(truth)  # the mean of sqrt(u) - u over [0, 1] is 2/3 - 1/2
    assert calibration.reliability(claimed, right)["error"] == pytest.approx(1 / 6, abs=0.01)


def test_fewer_points_than_bins_are_a_bin_each():
    found = calibration.reliability(np.array([0.9, 0.3, 0.6]), np.array([True, False, True]))
    assert found == {"confidence": [0.3, 0.6, 0.9], "right": [0.0, 1.0, 1.0], "error": pytest.approx(0.8 / 3, abs=1e-6)}


def test_an_evaluation_fits_and_writes_a_confidence(config, rendered, tmp_path):
    given = ["checkpoint=300w-small", "dataset=300w", f"paths.data_dir={rendered}", "dataset.allow_partial=true"]
    given += ["trainer=cpu", "dataset.name=own", "dataset.val_fraction=0.3", "calibrate=0.1"]
    engine.evaluate(config("evaluate", *given, "dataset.split=val"), tmp_path / "val")
    found = json.loads((tmp_path / "val" / "confidence.json").read_text())
    faces = json.loads((tmp_path / "val" / "metrics.json").read_text())["subsets"]["full"]["count"]
    assert found["points"] == 68 * faces
    assert found["radius"] == 0.1
    assert found["normaliser"] == "inter_ocular"
    assert (tmp_path / "val" / "reliability.png").stat().st_size > 0
    with pytest.raises(ConfigError, match=r"dataset\.split=val"):
        engine.evaluate(config("evaluate", *given), tmp_path / "test")
    with pytest.raises(DataError, match=r"radius of 1e-09, found 0 of"):
        engine.evaluate(config("evaluate", *given, "calibrate=1e-9", "dataset.split=val"), tmp_path / "none")


def test_a_test_by_another_normaliser_judges_no_confidence(config, rendered, tmp_path):
    """The shipped confidence is of inter_ocular; a test that divides by something else still gives its results."""
    given = ["checkpoint=300w-small", "dataset=300w", f"paths.data_dir={rendered}", "dataset.allow_partial=true"]
    given += ["trainer=cpu", "dataset.name=own", "dataset.test_fraction=0.1", "dataset.val_fraction=0.1"]
    engine.evaluate(config("evaluate", *given), tmp_path / "same")
    assert json.loads((tmp_path / "same" / "confidence.json").read_text())["radius"] == 0.05
    engine.evaluate(config("evaluate", *given, "dataset.normalisers=[inter_pupil]"), tmp_path / "other")
    assert (tmp_path / "other" / "metrics.json").exists()
    assert not (tmp_path / "other" / "confidence.json").exists()
