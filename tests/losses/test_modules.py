"""The loss modules: each one's formula, the weight and the shared reduction."""

import numpy as np
import pytest
import torch

from awing.losses import (
    AdaptiveWingLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    WingLoss,
    adaptive_wing,
    base_weight_map,
    dilated_weight_map,
    wing,
)

ALL = [AdaptiveWingLoss, WingLoss, MSELoss, L1Loss, SmoothL1Loss]


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 3, 8, 8, generator=generator)
    return target + torch.randn(4, 3, 8, 8, generator=generator), target


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (MSELoss(reduction="none"), lambda d: d**2),
        (L1Loss(reduction="none"), lambda d: d),
        (SmoothL1Loss(reduction="none"), lambda d: np.where(d < 1, d**2 / 2, d - 0.5)),
    ],
)
def test_baselines_follow_their_formula(module, formula, maps):
    pred, target = maps
    error = np.abs(pred.double().numpy() - target.double().numpy())
    np.testing.assert_allclose(module(pred, target), formula(error), rtol=1e-5, atol=1e-6)


def test_modules_pass_their_constants(maps):
    # whole numbers, as a command line gives them
    constants = {"omega": 9, "theta": 0.3, "epsilon": 2, "alpha": 3}
    found = AdaptiveWingLoss(**constants, reduction="none")(*maps)
    assert torch.equal(found, adaptive_wing(*maps, **constants))
    assert not torch.equal(found, adaptive_wing(*maps))
    found = WingLoss(omega=1, epsilon=3, reduction="none")(*maps)
    assert torch.equal(found, wing(*maps, omega=1, epsilon=3))
    assert not torch.equal(found, wing(*maps))


@pytest.mark.parametrize("loss", ALL)
def test_weight_comes_before_the_reduction(loss, maps):
    pred, target = maps
    weight = base_weight_map(target)
    each = loss(reduction="none")
    weighted = each(pred, target).double() * weight.double()
    torch.testing.assert_close(each(pred, target, weight).double(), weighted, rtol=1e-6, atol=0)
    total = float(weighted.sum())
    assert float(loss(reduction="sum")(pred, target, weight)) == pytest.approx(total, rel=1e-5)
    assert float(loss()(pred, target, weight)) == pytest.approx(total / pred.numel(), rel=1e-5)


def test_mean_divides_by_the_number_of_elements(maps):
    pred, target = maps
    unlabelled = torch.ones(4, 3, 1, 1)
    unlabelled[:, 1:] = 0.0
    found = MSELoss()(pred, target, unlabelled)
    torch.testing.assert_close(found, (pred - target)[:, 0].square().sum() / pred.numel())


def test_mean_over_ranks_is_the_mean_of_the_batch(maps):
    pred, target = maps
    weight = dilated_weight_map(target) * torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1, 1)
    loss = AdaptiveWingLoss()
    ranks = [loss(pred[part], target[part], weight[part]) for part in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(torch.stack(ranks).mean(), loss(pred, target, weight))


@pytest.mark.parametrize("loss", ALL)
def test_sum_in_half_precision_is_finite(loss):
    half = torch.float16
    pred, target = torch.zeros(1, 99, 64, 64, dtype=half), torch.ones(1, 99, 64, 64, dtype=half)
    with torch.autocast("cpu", dtype=half):
        total = loss(reduction="sum")(pred, target, dilated_weight_map(target))
    one = float(loss()(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)))
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(one * 11 * 99 * 64 * 64, rel=1e-5)


def test_modules_compile_into_one_graph(maps, unchecked):
    torch.compiler.reset()
    weight = dilated_weight_map(maps[1])
    for loss in ALL:
        compiled = torch.compile(loss(), fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*maps, weight), loss()(*maps, weight))


def test_shapes_that_do_not_fit_are_refused(maps, unchecked):
    pred, target = maps
    with pytest.raises(ValueError, match="prediction and target must have one shape"):
        MSELoss()(pred, target[:1])
    for shape in [(8, 8), (4, 2, 8, 8), (1, 4, 3, 8, 8)]:
        with pytest.raises(ValueError, match="weight must have the heatmaps' shape"):
            MSELoss()(pred, target, torch.ones(shape))


def test_arguments_are_checked_when_built():
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, none; found 'average'"):
        MSELoss(reduction="average")
    with pytest.raises(ValueError, match=r"alpha must be .* found 1\.9"):
        AdaptiveWingLoss(alpha=1.9)
    with pytest.raises(ValueError, match="epsilon must be positive"):
        WingLoss(epsilon=float("inf"))
