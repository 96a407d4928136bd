"""The elementwise losses against the paper's equations, written once more in NumPy and float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.losses import adaptive_wing, dilated_weight_map, wing

PAPER = {"omega": 14.0, "theta": 0.5, "epsilon": 1.0, "alpha": 2.1}
TARGETS = [0.0, 0.2, 0.5, 0.8, 1.0]
SIDES = (1 - 1e-9, 1 + 1e-9)  # factors right below and above a threshold

# Slope A and offset C of the line, and the loss at an error of .01, .1, .5 and 1: worked out by hand from
# equation 3 at the paper's constants.
GOLDEN = {
    0.0: (11.121422, 2.625476, 0.000883, 0.110767, 2.935235, 8.495946),
    0.2: (11.242290, 2.297598, 0.002219, 0.175149, 3.323547, 8.944692),
    0.5: (11.112673, 1.565127, 0.008831, 0.347320, 3.991210, 9.547547),
    0.8: (10.513277, 0.484899, 0.035122, 0.684645, 4.771740, 10.028378),
    1.0: (9.797850, -0.461533, 0.088057, 1.070100, 5.360458, 10.259383),
}

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
few = settings(max_examples=60, deadline=None)


def awing_reference(y_hat, y, omega, theta, epsilon, alpha):
    """Equation 3, letter by letter."""
    y_hat, y = np.asarray(y_hat, np.float64), np.asarray(y, np.float64)
    d = np.abs(y - y_hat)
    a = (
        omega
        * (1 / (1 + (theta / epsilon) ** (alpha - y)))
        * (alpha - y)
        * ((theta / epsilon) ** (alpha - y - 1))
        * (1 / epsilon)
    )
    c = theta * a - omega * np.log(1 + (theta / epsilon) ** (alpha - y))
    return np.where(d < theta, omega * np.log(1 + np.abs((y - y_hat) / epsilon) ** (alpha - y)), a * d - c)


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


def slope_jump(loss, y, **kwargs):
    """Slope right above theta over the slope right below it, minus 1."""
    below, above = (value_and_slope(loss, kwargs["theta"] * side, y, **kwargs)[1] for side in SIDES)
    return float(above / below - 1)


@pytest.mark.parametrize("y", TARGETS)
def test_golden_constants(y):
    slope, offset, *losses = GOLDEN[y]
    value, _ = value_and_slope(adaptive_wing, [0.01, 0.1, 0.5, 1.0, 2.0], [y] * 5)
    np.testing.assert_allclose(value[:4], losses, rtol=0, atol=6e-7)
    a = float(value[4] - value[3])
    assert a == pytest.approx(slope, abs=6e-7)
    assert a * 1.0 - float(value[3]) == pytest.approx(offset, abs=6e-7)


@few
@given(y=unit, d=st.floats(-20.0, 20.0), c=constants)
def test_adaptive_wing_equals_the_paper(y, d, c):
    value = adaptive_wing(torch.tensor(y + d, dtype=torch.float64), torch.tensor(y, dtype=torch.float64), **c)
    np.testing.assert_allclose(value, awing_reference(y + d, y, **c), rtol=1e-9, atol=1e-12)


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
        torch.tensor(TARGETS, dtype=torch.float64),
        indexing="ij",
    )
    pred = (y + d).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: adaptive_wing(p, y, **c), pred)
    assert torch.autograd.gradcheck(lambda p: wing(p, y, omega=1.0, epsilon=0.5), pred)


@few
@given(y=unit, c=constants)
def test_value_and_slope_are_continuous_at_theta(y, c):
    below, above = (value_and_slope(adaptive_wing, c["theta"] * side, y, **c)[0] for side in SIDES)
    np.testing.assert_allclose(above, below, rtol=1e-7)
    assert abs(slope_jump(adaptive_wing, y, **c)) < 1e-6


def test_the_slope_check_sees_a_line_scaled_by_omega():
    """Dividing A by omega where the paper divides by epsilon breaks the slope, and the check shows it."""

    def slip(pred, target, omega, theta, epsilon, alpha):
        d = (target - pred).abs()
        p = alpha - target
        ratio = (theta / epsilon) ** p
        a = omega * p * ratio / (theta / epsilon) / (1 + ratio) / omega
        return torch.where(
            d < theta, omega * torch.log1p((d / epsilon) ** p), a * (d - theta) + omega * torch.log1p(ratio)
        )

    assert slope_jump(slip, 1.0, **PAPER) == pytest.approx(1 / 14 - 1, abs=1e-6)
    assert abs(slope_jump(adaptive_wing, 1.0, **PAPER)) < 1e-6


@few
@given(y=st.integers(0, 1024), d=st.integers(0, 4096), c=constants)
def test_even_in_the_error(y, d, c):
    # multiples of 1/1024, so that y + d and y - d have exactly the same error
    target = torch.tensor([y, y], dtype=torch.float64) / 1024
    pred = target + torch.tensor([d, -d], dtype=torch.float64) / 1024
    value = adaptive_wing(pred, target, **c)
    assert value[0] == value[1]


@few
@given(y=unit, d=st.floats(1e-5, 50.0), c=constants)
def test_zero_at_equality_and_rising_from_there(y, d, c):
    value, slope = value_and_slope(adaptive_wing, [0.0, d, 2 * d], [y] * 3, **c)
    assert value[0] == 0
    assert 0 < value[1] < value[2]
    assert slope[1] > 0


@few
@given(y=unit, d=st.floats(-3.0, 3.0), c=constants, factor=st.floats(0.01, 100.0))
def test_linear_in_omega(y, d, c, factor):
    once, slope = value_and_slope(adaptive_wing, d, y, **c)
    scaled, scaled_slope = value_and_slope(adaptive_wing, d, y, **{**c, "omega": factor * c["omega"]})
    np.testing.assert_allclose(scaled, factor * once, rtol=1e-12, atol=1e-300)  # subnormals round coarsely
    np.testing.assert_allclose(scaled_slope, factor * slope, rtol=1e-12, atol=1e-300)  # subnormals round coarsely


@few
@given(omega=st.floats(1.0, 50.0), epsilon=st.floats(0.1, 5.0), share=st.floats(0.0, 0.99))
def test_alpha_2_on_a_peak_is_the_logarithm_of_wing(omega, epsilon, share):
    theta = 0.9
    target = torch.tensor(1.0, dtype=torch.float64)
    pred = target - share * theta
    value = adaptive_wing(pred, target, omega=omega, theta=theta, epsilon=epsilon, alpha=2.0)
    np.testing.assert_allclose(value, omega * np.log(1 + share * theta / epsilon), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(value, wing(pred, target, omega=omega, epsilon=epsilon), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [2.0, 2.1])
def test_no_gradient_at_equality(dtype, alpha):
    target = torch.linspace(0, 1, 101, dtype=dtype)
    pred = target.clone().requires_grad_()
    loss = adaptive_wing(pred, target, alpha=alpha)
    (slope,) = torch.autograd.grad(loss.sum(), pred)
    assert torch.equal(loss, torch.zeros_like(loss))
    assert torch.equal(slope, torch.zeros_like(slope))


def test_the_slope_exactly_at_a_threshold_is_the_line_s():
    """Both sides of the `where` that the code does not have must not both count there."""
    at_theta = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    adaptive_wing(at_theta, torch.zeros_like(at_theta)).sum().backward()
    np.testing.assert_allclose(at_theta.grad, [11.121422, -11.121422], atol=1e-6)
    at_omega = torch.tensor([10.0], dtype=torch.float64, requires_grad=True)
    wing(at_omega, torch.zeros_like(at_omega), omega=10.0, epsilon=2.0).sum().backward()
    np.testing.assert_allclose(at_omega.grad, [10 / 12])  # omega / (epsilon + d), the logarithm's


def test_a_huge_error_keeps_the_slope_of_the_line():
    pred = torch.tensor([1e30, -1e30], requires_grad=True)
    (slope,) = torch.autograd.grad(adaptive_wing(pred, torch.zeros(2)).sum(), pred)
    np.testing.assert_allclose(slope, [GOLDEN[0.0][0], -GOLDEN[0.0][0]], rtol=1e-6)


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
    exact, close = pred.detach().double().numpy(), {"rtol": 2e-5, "atol": 1e-6}
    np.testing.assert_allclose(loss.detach(), awing_reference(exact, target, **PAPER), **close)
    np.testing.assert_allclose(wing_loss.detach(), wing_reference(exact, target, 10.0, 2.0), **close)
    (slope,) = torch.autograd.grad(loss.sum(), pred)
    assert slope.dtype == half
    assert slope.isfinite().all()


def test_the_wider_of_two_dtypes_wins():
    single, double = torch.zeros(2), torch.zeros(2, dtype=torch.float64)
    assert adaptive_wing(single, single).dtype == torch.float32
    assert adaptive_wing(single, double).dtype == torch.float64
    assert adaptive_wing(double, single).dtype == torch.float64


def test_compiles_into_one_graph(unchecked):
    def weighted(pred, target, omega, weight):
        loss = adaptive_wing(pred, target, omega=omega) * dilated_weight_map(target, weight=weight)
        return (loss + wing(pred, target, omega=omega)).mean()

    torch.compiler.reset()
    # "aot_eager" traces forward and backward as every other backend does, but needs no C++ compiler
    compiled = torch.compile(weighted, fullgraph=True, backend="aot_eager")
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 8, 8, generator=generator)
    pred = torch.where(target < 0.3, target, torch.randn(2, 3, 8, 8, generator=generator)).requires_grad_()
    # from the second constant on the compiler no longer takes it for fixed but traces it as a symbol
    for omega, weight in [(14.0, 10.0), (10.0, 5.0), (18.0, 1.0)]:
        losses = [loss(pred, target, omega, weight) for loss in (weighted, compiled)]
        torch.testing.assert_close(*losses)
        gradients = [torch.autograd.grad(loss, pred)[0] for loss in losses]
        torch.testing.assert_close(*gradients)
        assert (gradients[1][target < 0.3] == 0).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["omega", "theta", "epsilon"])
def test_refuses_constants_that_are_not_positive(name, bad):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        adaptive_wing(torch.zeros(2), torch.zeros(2), **{name: bad})
    if name != "theta":
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            wing(torch.zeros(2), torch.zeros(2), **{name: bad})


@pytest.mark.parametrize("bad", [1.99, -2.1, float("inf"), float("nan")])
def test_refuses_alpha_below_2(bad):
    with pytest.raises(ValueError, match="alpha must be finite and at least 2"):
        adaptive_wing(torch.zeros(2), torch.zeros(2), alpha=bad)


@pytest.mark.parametrize("loss", [adaptive_wing, wing])
def test_refuses_a_silent_broadcast(loss, unchecked):
    with pytest.raises(ValueError, match=r"one shape, found \(2, 3\) and \(3,\)"):
        loss(torch.zeros(2, 3), torch.zeros(3))
