"""The check of other people's losses: right ones pass, each kind of slip is called by its name."""

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from awing.errors import AwingError
from awing.losses import AdaptiveWingLoss, adaptive_wing
from awing.losses.check import CHANGED, PAPER, SLIPS, check, equation3, load, main

ROOT = Path(__file__).parents[2]


def written_anew(
    pred,
    target,
    omega=14.0,
    theta=0.5,
    epsilon=1.0,
    alpha=2.1,
    *,
    power=lambda y, y_hat, alpha: alpha - y,
    curve=lambda d, p, omega, epsilon: omega * torch.log(1 + (d / epsilon) ** p),
    slope=lambda t, p, omega, epsilon: omega / (1 + t**p) * p * t ** (p - 1) / epsilon,
    offset=lambda a, p, t, omega, theta: theta * a - omega * torch.log(1 + t**p),
    distance=lambda y, y_hat: (y - y_hat).abs(),
):
    """Equation 3 in PyTorch; the tests put a slip into one of its parts."""
    d, p, t = distance(target, pred), power(target, pred, alpha), torch.tensor(theta / epsilon)
    a = slope(t, p, omega, epsilon)
    return torch.where(d < theta, curve(d, p, omega, epsilon), a * d - offset(a, p, t, omega, theta))


def slipped(**parts):
    def loss(pred, target, omega=14.0, theta=0.5, epsilon=1.0, alpha=2.1):
        return written_anew(pred, target, omega, theta, epsilon, alpha, **parts).mean()

    return loss


def wrong(implementation):
    return {finding.what: finding.text for finding in check(implementation) if finding.state == "wrong"}


def states(implementation):
    return {finding.what: finding.state for finding in check(implementation)}


@pytest.mark.parametrize("right", [AdaptiveWingLoss, adaptive_wing, written_anew, slipped()])
def test_right_ones_pass(right):
    checks = ("values", "reduction", "at theta", "at d = 0", "gradient")
    assert states(right) == dict.fromkeys(checks, "ok")


def test_boolean_indexing_and_other_names_pass():
    class Masked(nn.Module):
        def __init__(self, alpha=2.1, eps=1.0, theta=0.5, w=10.0):
            super().__init__()
            self.constants = w, theta, eps, alpha

        def forward(self, prediction, heatmap):
            small = (prediction - heatmap).abs() < self.constants[1]
            parts = [written_anew(prediction[m], heatmap[m], *self.constants) for m in (small, ~small)]
            return torch.cat(parts).mean()

    findings = check(Masked)
    assert {finding.state for finding in findings if finding.what != "omega"} == {"ok"}
    assert ("note", "omega", "the default is 10.0, the paper's 14") in findings


def test_constants_that_the_signature_lacks_are_untested():
    (finding,) = (
        f for f in check(lambda pred, target, theta=0.5: adaptive_wing(pred, target, theta=theta)) if f.state != "ok"
    )
    assert finding.state == "untested"
    assert "omega, epsilon, alpha:" in finding.text


@pytest.mark.parametrize(
    ("slip", "name"),
    [
        ({"curve": lambda d, p, o, e: o * torch.log(1 + (d / o) ** p)}, "divided by omega instead of epsilon"),
        ({"power": lambda y, y_hat, alpha: alpha + 0 * y}, "alpha instead of alpha - y"),
        ({"power": lambda y, y_hat, alpha: alpha - y_hat}, "takes y from the prediction, or the arguments are"),
        ({"slope": lambda t, p, o, e: o * p * t ** (p - 1) / e}, r"A lacks 1 / \(1 \+"),
        ({"slope": lambda t, p, o, e: o / (1 + t**p) * t ** (p - 1) / e}, "A lacks alpha - y"),
        ({"slope": lambda t, p, o, e: o / (1 + t**p) * p * t ** (p - 1)}, "A lacks 1 / epsilon"),
        ({"slope": lambda t, p, o, e: o / (1 + t**p) * p * t**p / e}, "exponent in A is alpha - y instead of"),
        ({"offset": lambda a, p, t, o, theta: 0 * a}, "C is left out"),
        ({"offset": lambda a, p, t, o, theta: o * torch.log(1 + t**p) - theta * a}, "C is added"),
    ],
)
def test_slips_are_named(slip, name):
    assert re.search(name, wrong(slipped(**slip))["values"])


def test_swapped_constants_are_named():
    def swapped(pred, target, omega=14.0, theta=0.5, epsilon=1.0, alpha=2.1):
        return adaptive_wing(pred, target, omega=epsilon, theta=theta, epsilon=omega, alpha=alpha)

    assert wrong(swapped) == {"values": "epsilon and omega are swapped"}


def test_arguments_the_other_way_round_are_named():
    found = wrong(lambda target, pred: adaptive_wing(pred, target))
    assert found["values"].endswith("the arguments are (target, pred)")


def test_a_missing_line_is_named():
    assert wrong(lambda pred, target: 14 * torch.log(1 + (target - pred).abs() ** (2.1 - target))) == {
        "values": "the line beyond theta is missing"
    }


def test_slips_give_different_values():
    formulas = [equation3, *SLIPS.values()]
    settings = [PAPER] + [PAPER | {name: CHANGED[name]} for name in PAPER]
    values = [np.stack([formula(*constants.values()) for constants in settings]) for formula in formulas]
    for one, other in itertools.combinations(values, 2):
        assert not np.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_jump_at_theta():
    copied = wrong(slipped(curve=lambda d, p, o, e: o * torch.log(1 + (d / o) ** p)))["at theta"]
    # at y = 0: 14 ln(1 + (0.5 / 14)^2.1) = 0.01280 right below theta, 14 ln(1 + 0.5^2.1) = 2.935 at it
    assert copied == "the value jumps from 0.01279 to 2.936 at y = 0"
    steep = wrong(slipped(slope=lambda t, p, o, e: o / (1 + t**p) * t ** (p - 1) / e))["at theta"]
    # 11.121422 / 2.1 = 5.296
    assert steep == "the slope jumps from 11.12 to 5.296 at y = 0"


def test_nan_at_zero():
    root = wrong(slipped(distance=lambda y, y_hat: ((y - y_hat) ** 2).sqrt()))
    assert root == {"at d = 0": "the gradient is nan at y = 0, expected 0"}


def test_no_absolute_value():
    found = wrong(slipped(distance=lambda y, y_hat: y - y_hat))["values"]
    assert "the first, at y = 0, pred = 0.01: expected 0.000883, found nan" in found


@pytest.mark.parametrize(
    ("reduce", "text"),
    [
        (lambda loss: loss.sum(), "divided by nothing: it is a sum, not"),
        (lambda loss: loss.sum() / len(loss), "divided by the batch, not"),
        (lambda loss: loss.sum((2, 3)).mean(), "divided by the number of maps, not"),
        (lambda loss: loss.flatten(1).mean(1), r"found shape \(2,\)"),
        (lambda loss: 2 * loss.mean() - loss.max(), "or their mean 3.50906"),
    ],
)
def test_other_reductions_than_the_mean(reduce, text):
    found = wrong(lambda pred, target: reduce(adaptive_wing(pred, target)))
    assert found.keys() == {"reduction"}
    assert re.search(text, found["reduction"])


def test_a_factor_is_named():
    found = wrong(lambda pred, target: adaptive_wing(pred, target, omega=10))
    assert found["values"] == "all are 0.7143 times the right ones, as with omega 10"


def test_an_ignored_constant():
    class Ignores(AdaptiveWingLoss):
        def __init__(self, omega=14.0, theta=0.5, epsilon=1.0, alpha=2.1):
            super().__init__(14.0, theta, epsilon, alpha)

    assert wrong(Ignores) == {"omega": "ignored: 10 gives the values of 14"}


def test_a_wrong_constant_is_told_where_the_paper_s_are_right():
    def loss(pred, target, epsilon=1.0):
        return adaptive_wing(pred, target, epsilon=math.sqrt(epsilon))

    assert "of 40 values deviate; the first, at y = 0, pred = 0.01, epsilon 2: expected" in wrong(loss)["values"]


def test_a_wrong_gradient():
    def loss(pred, target):
        values = adaptive_wing(pred, target)
        return 2 * values - values.detach()

    found = wrong(loss)
    assert found.keys() == {"gradient"}
    # twice the slope A = 11.121422 of the line at y = 0
    assert found["gradient"] == "at y = 0, pred = -1 it is -22.24, but the values rise by -11.12"


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda pred, target: pred.view(3), "called with .pred, target. of shape .1, 1, 1, 1. it raises Run"),
        (lambda pred, target, mask: pred, "TypeError: .*'mask'. Does it need other arguments?"),
        (lambda pred, target: (pred.mean(), {}), "expected a tensor as result, found a tuple"),
        (lambda pred, target: adaptive_wing(pred, target).detach(), "cut off from the prediction"),
    ],
)
def test_one_that_cannot_run(loss, text):
    assert re.search(text, wrong(loss)["cannot run"])


def test_a_class_that_needs_other_arguments():
    class Unknown(AdaptiveWingLoss):
        def __init__(self, gamma, omega=14.0):
            super().__init__(omega)

    text = wrong(Unknown)["cannot run"]
    assert text.startswith("built with {'omega': 14.0} it raises TypeError: ")
    assert text.endswith("'gamma'. Does it need other arguments? Check a function (pred, target) that gives them")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("losses", "expected module:Class or module:function, such as mylosses:AWing; found 'losses'"),
        ("no_such_module:AWing", "cannot import 'no_such_module' .* ModuleNotFoundError"),
        ("awing.losses:AdaptiveWinLoss", "no class or function 'AdaptiveWinLoss'. Did you mean 'AdaptiveWingLoss'?"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    with pytest.raises(AwingError, match=message):
        load(name)


def run(folder, *arguments):
    """Python as a user starts it in a folder; the package is found whether or not it is installed."""
    path = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def blocks():
    """The code of docs/loss.md: the training, the copied slip, and what the check prints of it."""
    return re.findall(r"```(?:python|text)\n(.*?)```", (ROOT / "docs" / "loss.md").read_text(), re.DOTALL)


def test_the_command(blocks, tmp_path):
    (tmp_path / "mylosses.py").write_text(blocks[1])
    found = run(tmp_path, "-m", "awing.losses.check", "mylosses:awing")
    assert (found.returncode, found.stdout, found.stderr) == (1, blocks[2], "")


def test_the_exit_code_of_a_right_loss(capsys):
    assert main(["awing.losses:adaptive_wing"]) == 0
    assert capsys.readouterr().out.startswith("awing.losses:adaptive_wing against equation 3")


def test_a_wrong_name_exits_with_a_sentence():
    with pytest.raises(
        SystemExit, match=r"has no class or function 'Wing'\. Did you mean 'wing'"
    ):  # printed; exit code 1
        main(["awing.losses:Wing"])


def test_the_training_in_the_docs(blocks, tmp_path):
    (tmp_path / "train.py").write_text(blocks[0])
    found = run(tmp_path, "train.py")
    assert found.returncode == 0, found.stderr
    first, *_, last = map(float, re.findall(r"loss (\S+)", found.stdout))
    assert last < first / 5
    assert float(re.search(r"peaks (\S+) px", found.stdout)[1]) < 0.5
