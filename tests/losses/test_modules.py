"""The loss modules: each one's formula, the weight and the shared reduction."""

import numpy as np
import pytest
import torch

from awing.losses import (
    AdaptiveWingLoss,
    L1Loss,
    MSELoss,
    WingLoss,
    adaptive_wing,
    base_weight_map,
    dilated_weight_map,
)

ALL = [AdaptiveWingLoss, WingLoss, MSELoss, L1Loss]
CONSTANTS = [
    {},
    {"omega": 10.0, "theta": 0.3, "epsilon": 2.0, "alpha": 2.5},
    {"omega": 2.0, "theta": 5.0, "epsilon": 0.5, "alpha": 2.0},
]


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
    ],
)
def test_baselines_follow_their_formula(module, formula, maps):
    pred, target = maps
    error = np.abs(pred.double().numpy() - target.double().numpy())
    np.testing.assert_allclose(module(pred, target), formula(error), rtol=1e-5, atol=1e-6)


def value_and_gradient(loss, pred, *rest):
    """Of the sum, with factors that make each element's derivative count."""
    pred = pred.detach().requires_grad_()
    value = loss(pred, *rest)
    outer = torch.linspace(0.5, 2.0, value.numel(), dtype=value.dtype).view(value.shape)
    return value.detach(), torch.autograd.grad(value, pred, outer)[0]


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("constants", CONSTANTS)
def test_one_pass_equals_autograd_of_the_function(constants, reduction, dtype, rtol):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(8, 5, 16, 16, generator=generator, dtype=dtype)
    target[:, :, :8] = 0  # as most of a heatmap is
    sizes = 10 ** torch.empty(target.shape, dtype=dtype).uniform_(-4, 0.5, generator=generator)
    pred = target + sizes * torch.randn(target.shape, generator=generator, dtype=dtype).sign()
    weight = dilated_weight_map(target)

    def reference(pred):
        loss = adaptive_wing(pred, target, **constants) * weight
        return {"mean": loss.mean(), "sum": loss.sum(), "none": loss}[reduction]

    found = value_and_gradient(AdaptiveWingLoss(**constants, reduction=reduction), pred, target, weight)
    for one, other in zip(found, value_and_gradient(reference, pred), strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [AdaptiveWingLoss(), AdaptiveWingLoss(alpha=2.0)])
def test_one_pass_is_zero_at_equality(loss, dtype):
    target = torch.linspace(0, 1, 101, dtype=dtype)
    value, gradient = value_and_gradient(loss, target, target)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_one_pass_under_autocast_is_float32(half, maps):
    loss = AdaptiveWingLoss()
    target, weight = maps[1], dilated_weight_map(maps[1]).to(half)
    pred = maps[0].to(half).requires_grad_()
    with torch.autocast("cpu", dtype=half):
        value = loss(pred * 1, target, weight)
    assert value.dtype == torch.float32
    value.backward()
    exact = value_and_gradient(loss, pred.double(), target.double(), weight.double())
    torch.testing.assert_close(value.double(), exact[0], rtol=1e-6, atol=0)
    assert pred.grad.dtype == half
    torch.testing.assert_close(pred.grad * 768, (exact[1] / 0.5 * 768).to(half), rtol=1e-2, atol=1e-3)


def test_one_pass_keeps_the_gradient_alone(maps):
    kept = []
    loss = AdaptiveWingLoss().prepare(maps[1], dilated_weight_map(maps[1]))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.nbytes) or x, lambda x: x):
        (loss(maps[0].requires_grad_()) + loss(maps[0] + 1)).backward()
    assert kept == [maps[0].nbytes] * 2


@pytest.mark.parametrize("loss", [AdaptiveWingLoss(), MSELoss()])
def test_gradient_lies_in_memory_as_the_maps(loss, maps):
    pred, target = (x.to(memory_format=torch.channels_last) for x in maps)
    _, gradient = value_and_gradient(loss, pred, target, dilated_weight_map(target))
    assert gradient.stride() == pred.stride()


def test_one_pass_refuses_a_second_derivative(maps):
    pred = maps[0].requires_grad_()
    value = AdaptiveWingLoss()(pred, maps[1])
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(value, pred, create_graph=True)


def test_target_and_weight_get_their_gradients(maps):
    target, weight = maps[1].requires_grad_(), torch.ones(4, 3, 1, 1, requires_grad=True)
    expected = torch.autograd.grad((adaptive_wing(*maps) * weight).mean(), (target, weight))
    torch.testing.assert_close(torch.autograd.grad(AdaptiveWingLoss()(*maps, weight), (target, weight)), expected)


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


@pytest.mark.parametrize("loss", ALL)
def test_modules_compile_into_one_graph(loss, maps, unchecked):
    torch.compiler.reset()
    weight = dilated_weight_map(maps[1])
    compiled = torch.compile(loss(), fullgraph=True, backend="aot_eager")
    for one, other in zip(
        value_and_gradient(compiled, *maps, weight), value_and_gradient(loss(), *maps, weight), strict=True
    ):
        torch.testing.assert_close(one, other)


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
