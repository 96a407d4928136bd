"""Check any implementation of the Adaptive Wing loss: ``python -m awing.losses.check module:Class``.

What is right stands here once more, apart from the loss of this package: golden values worked out by hand, and equation
3 of Wang et al., ICCV 2019, in float64. What is wrong is named by the slip that gives the same values.
"""

import argparse
import importlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from awing.errors import AwingError, did_you_mean

PAPER = {"omega": 14.0, "theta": 0.5, "epsilon": 1.0, "alpha": 2.1}
CHANGED = {"omega": 10.0, "theta": 0.3, "epsilon": 2.0, "alpha": 2.5}
SPELLINGS = {"omega": "omega", "w": "omega", "theta": "theta", "epsilon": "epsilon", "eps": "epsilon", "alpha": "alpha"}
ERRORS = (0.01, 0.1, 0.5, 1.0)
GOLDEN = {  # target y: the loss at each of ERRORS with the paper's constants
    0.0: (0.000883, 0.110767, 2.935235, 8.495946),
    0.2: (0.002219, 0.175149, 3.323547, 8.944692),
    0.5: (0.008831, 0.347320, 3.991210, 9.547547),
    0.8: (0.035122, 0.684645, 4.771740, 10.028378),
    1.0: (0.088057, 1.070100, 5.360458, 10.259383),
}
# The checked pixels: a batch of 2, predictions above and below; a channel a target; a row an error.
SIDE, Y, D = (axis[..., None] for axis in np.meshgrid([1.0, -1.0], [*GOLDEN], ERRORS, indexing="ij"))
Y_HAT = Y + SIDE * D


def equation3(
    omega: float,
    theta: float,
    epsilon: float,
    alpha: float,
    *,
    divisor: float | None = None,
    power: np.ndarray | None = None,
    a_factor: float | np.ndarray = 1.0,
    c_factor: float = 1.0,
) -> np.ndarray:
    """Equation 3 at the checked pixels; the keywords make it wrong."""
    p = alpha - Y if power is None else power
    t = theta / epsilon
    a = omega * (1 / (1 + t**p)) * p * t ** (p - 1) * (1 / epsilon) * a_factor
    c = theta * a - omega * np.log(1 + t**p)
    return np.where(theta > D, omega * np.log(1 + (D / (divisor or epsilon)) ** p), a * D - c_factor * c)


SLIPS: dict[str, Callable[..., np.ndarray]] = {
    "below theta the error is divided by omega instead of epsilon": lambda o, t, e, a: equation3(o, t, e, a, divisor=o),
    "epsilon and omega are swapped": lambda o, t, e, a: equation3(e, t, o, a),
    "the exponent is alpha instead of alpha - y": lambda o, t, e, a: equation3(o, t, e, a, power=a + 0 * Y),
    "the exponent takes y from the prediction, or the arguments are (target, pred)": (
        lambda o, t, e, a: equation3(o, t, e, a, power=a - Y_HAT)
    ),
    "A lacks 1 / (1 + (theta/epsilon)^(alpha-y))": (
        lambda o, t, e, a: equation3(o, t, e, a, a_factor=1 + (t / e) ** (a - Y))
    ),
    "A lacks alpha - y": lambda o, t, e, a: equation3(o, t, e, a, a_factor=1 / (a - Y)),
    "A lacks 1 / epsilon": lambda o, t, e, a: equation3(o, t, e, a, a_factor=e),
    "the exponent in A is alpha - y instead of alpha - y - 1": lambda o, t, e, a: equation3(o, t, e, a, a_factor=t / e),
    "C is left out": lambda o, t, e, a: equation3(o, t, e, a, c_factor=0),
    "C is added instead of subtracted": lambda o, t, e, a: equation3(o, t, e, a, c_factor=-1),
    "the line beyond theta is missing": lambda o, t, e, a: equation3(o, 1e9, e, a),
}


class Finding(NamedTuple):
    """One line of the report; ``state`` is "ok", "wrong", "note" or "untested"."""

    state: str
    what: str
    text: str


def main(arguments: list[str] | None = None) -> int:
    """The command: returns 1 where something is wrong, else 0."""
    parser = argparse.ArgumentParser(prog="python -m awing.losses.check", description="Check an Adaptive Wing loss.")
    parser.add_argument("loss", metavar="module:Class", help="a class or function; it is called with (pred, target)")
    name = parser.parse_args(arguments).loss
    try:
        findings = check(load(name))
    except AwingError as error:
        raise SystemExit(str(error)) from None
    print(f"{name} against equation 3 of Wang et al., ICCV 2019\n")
    for finding in findings:
        print(f"{finding.state:<10}{finding.what:<11}{finding.text}")
    return int(any(finding.state == "wrong" for finding in findings))


def load(name: str) -> Callable[..., Any]:
    """The class or function that ``module:Class`` names.

    Raises:
        AwingError: there is none, or its module cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise AwingError(f"expected module:Class or module:function, such as mylosses:AWing; found {name!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # other people's code may raise anything
        raise AwingError(f"cannot import {module_name!r} from this folder or the environment: {_said(error)}") from None
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise AwingError(f"{module_name} has no class or function {attribute!r}.{did_you_mean(attribute, known)}")
    return found  # type: ignore[no-any-return]


def check(implementation: Callable[..., Any]) -> list[Finding]:
    """Compare a class, built with its constants, or a function with equation 3.

    Args:
        implementation: gives a loss for (pred, target), tensors of one shape. Its keywords omega, theta, epsilon and
            alpha (or w and eps) are varied where the signature of the class or the function has them.

    Returns:
        The findings. An exception of the implementation is the last.

    Example:
        >>> from awing.losses import AdaptiveWingLoss, MSELoss
        >>> {finding.state for finding in check(AdaptiveWingLoss)}
        {'ok'}
        >>> check(MSELoss)[0].text
        '40 of 40 values deviate; the first, at y = 0, pred = 0.01: expected 0.000883, found 0.0001'
    """
    findings: list[Finding] = []
    try:
        for finding in _findings(implementation):
            findings.append(finding)
    except _CannotGoOn as error:
        findings.append(Finding("wrong", "cannot run", str(error)))
    return findings


class _CannotGoOn(AwingError):
    """The checked implementation raised, or its result is no tensor with a gradient."""


def _findings(implementation: Callable[..., Any]) -> Iterator[Finding]:
    parameters = _constants(implementation)

    def build(**changed: float) -> Callable[..., Any]:
        constants = {parameter.name: {**PAPER, **changed}[name] for name, parameter in parameters.items()}
        if not inspect.isclass(implementation):
            return partial(implementation, **constants)
        return _run(f"built with {constants}", implementation, **constants)  # type: ignore[no-any-return]

    loss = build()
    found = {"": _values(loss)} | {name: _values(build(**{name: CHANGED[name]})) for name in parameters}
    ignored = [name for name in parameters if _close(found[name], found[""]).all()]
    yield _formula({name: values for name, values in found.items() if name not in ignored})
    for name in ignored:
        yield Finding("wrong", name, f"ignored: {CHANGED[name]:g} gives the values of {PAPER[name]:g}")
    for name, parameter in parameters.items():
        if parameter.default not in (PAPER[name], inspect.Parameter.empty):
            yield Finding("note", name, f"the default is {parameter.default}, the paper's {PAPER[name]:g}")
    if fixed := [name for name in PAPER if name not in parameters]:
        yield Finding("untested", "constants", f"could not vary {', '.join(fixed)}: no such keyword in the signature")
    yield _reduction(loss, found[""])
    yield _at_theta(loss)
    yield _at_zero(loss)
    yield _gradient(loss)


def _constants(implementation: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(implementation).parameters
    except ValueError:  # not written in Python
        return {}
    return {SPELLINGS[name]: parameter for name, parameter in parameters.items() if name in SPELLINGS}


def _formula(found: dict[str, np.ndarray]) -> Finding:
    """``found`` has the values at the paper's constants, and with the constant that is the key changed."""
    constants = {name: PAPER | {key: CHANGED[key] for key in CHANGED if key == name} for name in found}
    right = {name: equation3(*values.values()) for name, values in constants.items()}
    right[""] = np.broadcast_to(np.array([*GOLDEN.values()])[..., None], Y.shape)
    wrong = {name: ~_close(found[name], right[name]) for name in found}
    if not any(pixels.any() for pixels in wrong.values()):
        varied = ", ".join(f"{name} {CHANGED[name]:g}" for name in found if name)
        return Finding("ok", "values", f"{Y.size} golden values" + (f"; equation 3 at {varied}" if varied else ""))
    for slip, formula in SLIPS.items():
        # a pixel whose error is theta can be on either side of it
        values = {
            name: np.where(np.isclose(D, c["theta"]), found[name], formula(*c.values()))
            for name, c in constants.items()
        }
        if all(_close(found[name], values[name]).all() for name in found):
            return Finding("wrong", "values", slip)
    factor = found[""].flat[-1] / right[""].flat[-1]
    if all(_close(found[name], factor * right[name]).all() for name in found):
        return Finding("wrong", "values", f"all are {factor:.4g} times the right ones, as with omega {14 * factor:.4g}")
    name = next(name for name in found if wrong[name].any())
    first = np.flatnonzero(wrong[name])[0]
    where = f"y = {Y.flat[first]:g}, pred = {Y_HAT.flat[first]:g}" + (f", {name} {CHANGED[name]:g}" if name else "")
    text = f"expected {right[name].flat[first]:.6g}, found {found[name].flat[first]:.6g}"
    return Finding("wrong", "values", f"{wrong[name].sum()} of {Y.size} values deviate; the first, at {where}: {text}")


def _reduction(loss: Callable[..., Any], found: np.ndarray) -> Finding:
    pred, target = (torch.tensor(pixels, dtype=torch.float32) for pixels in (Y_HAT, Y))
    result = _call(loss, pred, target).detach().numpy()
    if result.shape == Y.shape and _close(result, found).all():
        return Finding("ok", "reduction", "none: the loss of each element")
    if result.size == 1 and np.isclose(result, found.mean(), rtol=1e-4):
        return Finding("ok", "reduction", "mean over all elements")
    for divisor, count in {
        "nothing: it is a sum": 1,
        "the batch": len(Y),
        "the number of maps": Y[..., 0, 0].size,
    }.items():
        if result.size == 1 and np.isclose(result, found.sum() / count, rtol=1e-4):
            return Finding("wrong", "reduction", f"the sum is divided by {divisor}, not by the number of elements")
    text = f"found {result.item():.6g}" if result.size == 1 else f"found shape {result.shape}"
    return Finding("wrong", "reduction", f"expected the loss of each element, or their mean {found.mean():.6g}; {text}")


def _at_theta(loss: Callable[..., Any]) -> Finding:
    for y in GOLDEN:
        sides = [_value_and_slope(loss, y + PAPER["theta"] * side, y) for side in (1 - 1e-4, 1 + 1e-4)]
        for what, below, above in zip(("value", "slope"), *sides, strict=True):
            if not np.isclose(below, above, rtol=0.01):
                return Finding("wrong", "at theta", f"the {what} jumps from {below:.4g} to {above:.4g} at y = {y:g}")
    return Finding("ok", "at theta", "value and slope have no jump")


def _at_zero(loss: Callable[..., Any]) -> Finding:
    for y in GOLDEN:
        for what, found in zip(("value", "gradient"), _value_and_slope(loss, y, y), strict=True):
            if not abs(found) <= 1e-6:
                return Finding("wrong", "at d = 0", f"the {what} is {found:.4g} at y = {y:g}, expected 0")
    return Finding("ok", "at d = 0", "value and gradient are 0")


def _gradient(loss: Callable[..., Any]) -> Finding:
    """Autograd against differences of the values, right or wrong as these may be."""
    for y in GOLDEN:
        for pred in (y - 1, y - 0.1, y + 0.1, y + 1):
            (before, _), (_, slope), (after, _) = (_value_and_slope(loss, pred + h, y) for h in (-0.01, 0, 0.01))
            if not np.isclose(slope, (after - before) / 0.02, rtol=0.02):
                text = f"is {slope:.4g}, but the values rise by {(after - before) / 0.02:.4g}"
                return Finding("wrong", "gradient", f"at y = {y:g}, pred = {pred:g} it {text}")
    return Finding("ok", "gradient", "is the slope of the values")


def _values(loss: Callable[..., Any]) -> np.ndarray:
    pixels = zip(Y_HAT.flat, Y.flat, strict=True)
    return np.array([_value_and_slope(loss, pred, target)[0] for pred, target in pixels]).reshape(Y.shape)


def _value_and_slope(loss: Callable[..., Any], pred: float, target: float) -> tuple[float, float]:
    """The loss of a single pixel, which no reduction changes, and its derivative in the prediction."""
    leaf = torch.full((1, 1, 1, 1), pred, requires_grad=True)
    value = _call(loss, leaf, torch.full((1, 1, 1, 1), target)).sum()
    if not value.requires_grad:
        raise _CannotGoOn("the result is cut off from the prediction: it has no gradient")
    (slope,) = _run("asked for its gradient", torch.autograd.grad, value, leaf)
    return value.item(), slope.item()


def _call(loss: Callable[..., Any], pred: Tensor, target: Tensor) -> Tensor:
    result = _run(f"called with (pred, target) of shape {tuple(pred.shape)}", loss, pred, target)
    if not isinstance(result, Tensor):
        raise _CannotGoOn(f"expected a tensor as result, found a {type(result).__name__}")
    return result


def _run(how: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except Exception as error:  # other people's code may raise anything
        other = ". Does it need other arguments? Check a function (pred, target) that gives them"
        raise _CannotGoOn(f"{how} it raises {_said(error)}{other * isinstance(error, TypeError)}") from None


def _close(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Equal but for float32 and the digits of the golden values."""
    return np.asarray(np.isclose(found, right, rtol=1e-4, atol=3e-6))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    raise SystemExit(main())
