"""The elementwise losses against the paper's equations in NumPy and float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.losses import adaptive_wing, wing
from awing.losses.check import ERRORS, GOLDEN, PAPER, equation3

SLOPES = {0.0: 11.121422, 0.2: 11.242290, 0.5: 11.112673, 0.8: 10.513277, 1.0: 9.797850}  # A at the paper's constants
SIDES = (1 - 1e-9, 1 + 1e-9)  # factors right below and above a threshold

unit = st.floats(0.0, 1.0)
wide = st.floats(-50.0, 50.0)
constants = st.fixed_dictionaries(
    {
        "omega": st.floats(0.01, 100.0),
        "theta": st.floats(0.05, 5.0),
        "epsilon": st.floats(0.1, 10.0),
        "alpha": st.floats(2.0, 4.0),
    }
)
few = settings(max_examples=40, deadline=None)


def wing_reference(y_hat, y, omega, epsilon):
    """Equation 2, letter by letter."""
    d = np.abs(np.asarray(y, np.float64) - np.asarray(y_hat, np.float64))
    c = omega - omega * np.log(1 + omega / epsilon)
    return np.where(d < omega, omega * np.log(1 + np.abs(d / epsilon)), d - c)


def value_and_slope(loss, d, y, **kwargs):
    """The loss at y_hat = y + d and its derivative in y_hat, in float64."""
    target = torch.as_tensor(y, dtype=torch.float64)
    pred = (target + torch.as_tensor(d, dtype=torch.float64)).requires_grad_()
    value = loss(pred, target, **kwargs)
    (slope,) = torch.autograd.grad(value.sum(), pred)
    return value.detach(), slope


@pytest.mark.parametrize("y", GOLDEN)
def test_adaptive_wing_golden_values(y):
    value, _ = value_and_slope(adaptive_wing, [*ERRORS, 2.0], [y] * 6)
    np.testing.assert_allclose(value[:5], GOLDEN[y], rtol=0, atol=6e-7)
    np.testing.assert_allclose(value[5] - value[4], SLOPES[y], rtol=0, atol=6e-7)
    np.testing.assert_allclose(equation3(np.array(y), np.array(ERRORS), PAPER), GOLDEN[y], rtol=0, atol=6e-7)


@few
@given(y=unit, d=st.floats(-20.0, 20.0), c=constants)
def test_adaptive_wing_equals_the_paper(y, d, c):
    y, y_hat = np.array(y), np.array(y + d)
    value = adaptive_wing(torch.from_numpy(y_hat), torch.from_numpy(y), **c)
    np.testing.assert_allclose(value, equation3(y, np.asarray(y_hat - y), c), rtol=1e-9, atol=1e-12)


@few
@given(y=wide, d=wide, omega=st.floats(0.1, 20.0), epsilon=st.floats(0.1, 5.0))
def test_wing_equals_the_paper(y, d, omega, epsilon):
    pred, target = torch.tensor(y + d, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    value = wing(pred, target, omega=omega, epsilon=epsilon)
    np.testing.assert_allclose(value, wing_reference(y + d, y, omega, epsilon), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("c", [PAPER, {"omega": 3.0, "theta": 0.3, "epsilon": 0.4, "alpha": 2.5}])
def test_gradcheck_on_both_sides_of_theta(c):
    d, y = torch.meshgrid(
        torch.tensor([-2.0, -0.6, -0.25, -0.02, 0.02, 0.25, 0.6, 2.0], dtype=torch.float64),
        torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0], dtype=torch.float64),
        indexing="ij",
    )
    pred = (y + d).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: adaptive_wing(p, y, **c), pred)
    assert torch.autograd.gradcheck(lambda p: wing(p, y, omega=1.0, epsilon=0.5), pred)


@few
@given(y=unit, c=constants)
def test_adaptive_wing_is_continuous_at_theta(y, c):
    below, above = (value_and_slope(adaptive_wing, c["theta"] * side, y, **c) for side in SIDES)
    np.testing.assert_allclose(above[0], below[0], rtol=1e-7)
    np.testing.assert_allclose(above[1], below[1], rtol=1e-6)


@few
@given(y=unit, d=st.floats(-3.0, 3.0), c=constants, factor=st.floats(0.01, 100.0))
def test_adaptive_wing_is_linear_in_omega(y, d, c, factor):
    once = value_and_slope(adaptive_wing, d, y, **c)
    scaled = value_and_slope(adaptive_wing, d, y, **{**c, "omega": factor * c["omega"]})
    for one, other in zip(once, scaled, strict=True):
        np.testing.assert_allclose(other, factor * one, rtol=1e-12, atol=1e-300)  # subnormals round coarsely


@few
@given(omega=st.floats(1.0, 50.0), epsilon=st.floats(0.1, 5.0), share=st.floats(0.0, 0.99))
def test_adaptive_wing_with_alpha_2_is_wing_on_a_peak(omega, epsilon, share):
    theta = 0.9
    target = torch.tensor(1.0, dtype=torch.float64)
    pred = target - share * theta
    value = adaptive_wing(pred, target, omega=omega, theta=theta, epsilon=epsilon, alpha=2.0)
    np.testing.assert_allclose(value, omega * np.log(1 + share * theta / epsilon), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(value, wing(pred, target, omega=omega, epsilon=epsilon), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [2.0, 2.1])
def test_gradient_at_equality_is_zero(dtype, alpha):
    target = torch.linspace(0, 1, 101, dtype=dtype)
    pred = target.clone().requires_grad_()
    loss = adaptive_wing(pred, target, alpha=alpha)
    (slope,) = torch.autograd.grad(loss.sum(), pred)
    assert torch.equal(loss, torch.zeros_like(loss))
    assert torch.equal(slope, torch.zeros_like(slope))


def test_slope_exactly_at_a_threshold_counts_once():
    at_theta = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    adaptive_wing(at_theta, torch.zeros_like(at_theta)).sum().backward()
    np.testing.assert_allclose(at_theta.grad, [SLOPES[0.0], -SLOPES[0.0]], atol=1e-6)
    at_omega = torch.tensor([10.0], dtype=torch.float64, requires_grad=True)
    wing(at_omega, torch.zeros_like(at_omega), omega=10.0, epsilon=2.0).sum().backward()
    np.testing.assert_allclose(at_omega.grad, [10 / 12])  # omega / (epsilon + d), the logarithm's


def test_huge_errors_keep_the_slope_of_the_line():
    pred = torch.tensor([1e30, -1e30], requires_grad=True)
    (slope,) = torch.autograd.grad(adaptive_wing(pred, torch.zeros(2)).sum(), pred)
    np.testing.assert_allclose(slope, [SLOPES[0.0], -SLOPES[0.0]], rtol=1e-6)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_computed_in_float32(half, autocast):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1000, generator=generator)
    pred = (target + torch.randn(1000, generator=generator)).to(half).requires_grad_()
    with torch.autocast("cpu", dtype=half, enabled=autocast):
        loss = adaptive_wing(pred, target)
        wing_loss = wing(pred, target)
        both_half = adaptive_wing(pred, target.to(half))
    assert loss.dtype == wing_loss.dtype == both_half.dtype == torch.float32
    y_hat, y = pred.detach().double().numpy(), target.double().numpy()
    np.testing.assert_allclose(loss.detach(), equation3(y, y_hat - y, PAPER), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(wing_loss.detach(), wing_reference(y_hat, y, 10.0, 2.0), rtol=2e-5, atol=1e-6)
    (slope,) = torch.autograd.grad(loss.sum(), pred)
    assert slope.dtype == half
    assert slope.isfinite().all()


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_constants_out_of_range_are_refused(bad):
    zeros = torch.zeros(2)
    for name in ("omega", "theta", "epsilon"):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            adaptive_wing(zeros, zeros, **{name: bad})
    for name in ("omega", "epsilon"):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            wing(zeros, zeros, **{name: bad})
    with pytest.raises(ValueError, match="alpha must be finite and at least 2"):
        adaptive_wing(zeros, zeros, alpha=1.99 + bad)


@pytest.mark.parametrize("loss", [adaptive_wing, wing])
def test_broadcast_is_refused(loss, unchecked):
    with pytest.raises(ValueError, match=r"one shape, found \(2, 3\) and \(3,\)"):
        loss(torch.zeros(2, 3), torch.zeros(3))
