"""The check of loss implementations: right ones pass, known slips are named, the docs' example is true."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from awing.losses import AdaptiveWingLoss, MSELoss, adaptive_wing
from awing.losses.check import check, main

ROOT = Path(__file__).parents[2]


def divided_by_omega(pred, target, omega=14.0, theta=0.5, epsilon=1.0, alpha=2.1):
    """The most copied slip: a jump at theta."""
    curve = omega * torch.log1p(((target - pred).abs() / omega) ** (alpha - target))
    right = adaptive_wing(pred, target, omega=omega, theta=theta, epsilon=epsilon, alpha=alpha)
    return torch.where((target - pred).abs() < theta, curve, right).mean()


def exchanged(pred, target, omega=14.0, epsilon=1.0):
    return adaptive_wing(pred, target, omega=epsilon, epsilon=omega)


class Masked(nn.Module):
    """Boolean indexing, another order of the constants, and other defaults than the paper's."""

    def __init__(self, alpha=2.1, epsilon=1.0, theta=0.3, omega=10.0):
        super().__init__()
        self.constants = {"omega": omega, "theta": theta, "epsilon": epsilon, "alpha": alpha}

    def forward(self, prediction, heatmap):
        small = (prediction - heatmap).abs() < 0.2
        return torch.cat([adaptive_wing(prediction[m], heatmap[m], **self.constants) for m in (small, ~small)]).mean()


class IgnoresItsConstants(AdaptiveWingLoss):
    def __init__(self, omega=14.0, theta=0.5, epsilon=1.0, alpha=2.1):
        super().__init__()


@pytest.mark.parametrize("right", [AdaptiveWingLoss, adaptive_wing, Masked, lambda pred, y: adaptive_wing(pred, y)])
def test_check_passes_right_losses(right):
    assert check(right) == []


@pytest.mark.parametrize(
    ("loss", "slip"),
    [
        (divided_by_omega, "below theta the error is divided by omega instead of epsilon"),
        (exchanged, "omega and epsilon are exchanged"),
        (lambda pred, y: adaptive_wing((pred - y).abs(), 0 * y), "the exponent is alpha instead of alpha - y"),
        (lambda pred, y: adaptive_wing(y, pred), "the exponent is alpha - pred, or the arguments are (target, pred)"),
        (lambda pred, y: 14 * torch.log1p((pred - y).abs() ** (2.1 - y)), "the line beyond theta is missing"),
        (IgnoresItsConstants, "the constants given are not used"),
        (MSELoss, None),
    ],
)
def test_check_names_known_slips(loss, slip):
    problems = check(loss)
    assert re.match(r"the value at y = [\d.]+, d = [\d.]+ is \S+, expected \S+; \d+ of 50 are wrong", problems[0])
    found = [problem.removeprefix("known slip: ") for problem in problems if problem.startswith("known slip")]
    assert [name.partition(" (with")[0] for name in found] == ([slip] if slip else [])


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (lambda pred, y: 2 * (loss := adaptive_wing(pred, y)) - loss.detach(), "the slope at y = 0, d = 0.01"),
        (lambda pred, y: adaptive_wing(((pred - y) ** 2).sqrt() + y, y), "the slope at y = 0, d = 0 is nan, expected"),
    ],
)
def test_check_finds_wrong_gradients(loss, problem):
    assert [text for text in check(loss) if text.startswith(problem)]


def test_docs_example_trains_and_is_checked_as_printed(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```(?:python|text)\n(.*?)```", (ROOT / "docs" / "loss.md").read_text(), re.DOTALL)
    training, slip, printed = blocks
    (tmp_path / "train.py").write_text(training)
    runpy.run_path(str(tmp_path / "train.py"))
    output = capsys.readouterr().out
    first, *_, last = map(float, re.findall(r"loss (\S+)", output))
    assert last < first / 5
    assert float(re.search(r"peaks (\S+) px", output)[1]) < 0.5
    (tmp_path / "mylosses.py").write_text(slip)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["mylosses:awing"]) == 1
    assert capsys.readouterr().out == printed


def test_main_exit_codes(capsys):
    assert main(["awing.losses:adaptive_wing"]) == 0
    assert capsys.readouterr().out == "awing.losses:adaptive_wing equals equation 3 of Wang et al., ICCV 2019\n"
    for name in ("awing.losses:AdaptiveWinLoss", "no_such_module:Loss"):
        with pytest.raises(SystemExit, match="2"):
            main([name])
        assert re.search("no attribute 'AdaptiveWinLoss'|No module named 'no_such_module'", capsys.readouterr().err)
