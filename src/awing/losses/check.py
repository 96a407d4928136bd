"""Check any implementation of the Adaptive Wing loss: ``python -m awing.losses.check module:Class``.

The reference is independent of this package's loss: golden values worked out by hand, and equation 3 of Wang et al.,
ICCV 2019, in float64.
"""

import argparse
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

Loss = Callable[..., Any]
PAPER = {"omega": 14.0, "theta": 0.5, "epsilon": 1.0, "alpha": 2.1}
CHANGED = {"omega": 10.0, "theta": 0.3, "epsilon": 2.0, "alpha": 2.5}
ERRORS = (0.0, 0.01, 0.1, 0.5, 1.0)
GOLDEN = {  # target y: the loss at each of ERRORS with the paper's constants
    0.0: (0.0, 0.000883, 0.110767, 2.935235, 8.495946),
    0.2: (0.0, 0.002219, 0.175149, 3.323547, 8.944692),
    0.5: (0.0, 0.008831, 0.347320, 3.991210, 9.547547),
    0.8: (0.0, 0.035122, 0.684645, 4.771740, 10.028378),
    1.0: (0.0, 0.088057, 1.070100, 5.360458, 10.259383),
}
# Checked pixels. Axes: prediction below or above the target; target; error (prediction minus target)
SIGN, Y, E = np.meshgrid([-1.0, 1.0], [*GOLDEN], ERRORS, indexing="ij")
E = SIGN * E


def equation3(y: np.ndarray, error: np.ndarray, c: dict[str, float], divisor: float | None = None) -> np.ndarray:
    """Adaptive Wing loss in float64; a ``divisor`` other than epsilon makes it wrong."""
    omega, theta, epsilon, alpha = (c[name] for name in PAPER)
    d, p, ratio = np.abs(error), alpha - y, theta / epsilon
    slope = omega * (1 / (1 + ratio**p)) * p * ratio ** (p - 1) * (1 / epsilon)
    offset = theta * slope - omega * np.log(1 + ratio**p)
    return np.asarray(np.where(d < theta, omega * np.log(1 + (d / (divisor or epsilon)) ** p), slope * d - offset))


SLIPS: dict[str, Callable[[dict[str, float]], np.ndarray]] = {  # known mistake -> the loss that it computes
    "below theta the error is divided by omega instead of epsilon": lambda c: equation3(Y, E, c, divisor=c["omega"]),
    "omega and epsilon are exchanged": lambda c: equation3(Y, E, c | {"omega": c["epsilon"], "epsilon": c["omega"]}),
    "the exponent is alpha instead of alpha - y": lambda c: equation3(0 * Y, E, c),
    "the exponent is alpha - pred, or the arguments are (target, pred)": lambda c: equation3(Y + E, E, c),
    "the line beyond theta is missing": lambda c: equation3(Y, E, c | {"theta": 1e9}),
    "the constants given are not used": lambda c: equation3(Y, E, PAPER),
}


def check(implementation: Loss) -> list[str]:
    """Compare a class or function with equation 3, at the paper's constants and then at others.

    Args:
        implementation: computes a loss of (pred, target), tensors of one shape; a class is instantiated first. Keywords
            omega, theta, epsilon and alpha are passed if the signature has them.

    Returns:
        Problems, one line each; empty if there are none.

    >>> from awing.losses import AdaptiveWingLoss, MSELoss
    >>> check(AdaptiveWingLoss)
    []
    >>> check(MSELoss)[0]
    'the value at y = 0, d = 0.01 is 0.0001, expected 0.000883; 40 of 50 are wrong'
    """
    names = [name for name in PAPER if name in inspect.signature(implementation).parameters]
    for constants in (PAPER, PAPER | {name: CHANGED[name] for name in names}):
        given = {name: constants[name] for name in names}
        loss = partial(implementation, **given)
        if problems := list(_problems(loss() if inspect.isclass(implementation) else loss, constants)):
            return problems if constants == PAPER else [f"{problem} (with {given})" for problem in problems]
    return []


def _problems(loss: Loss, constants: dict[str, float]) -> Iterator[str]:
    values, slopes = _values_and_slopes(loss, E)
    right = np.broadcast_to([*GOLDEN.values()], Y.shape) if constants == PAPER else equation3(Y, E, constants)
    h = 1e-5  # the expected slope is a difference of float64 values
    right_slopes = (equation3(Y, E + h, constants) - equation3(Y, E - h, constants)) / (2 * h)
    for what, found, expected in (("value", values, right), ("slope", slopes, right_slopes)):
        if (wrong := ~_close(found, expected)).any():
            y, d, first, instead_of = (array[wrong][0] for array in (Y, np.abs(E), found, expected))
            count = f"{wrong.sum()} of {wrong.size} are wrong"
            yield f"the {what} at y = {y:g}, d = {d:g} is {first:.4g}, expected {instead_of:.4g}; {count}"
    at_theta = np.abs(E) == constants["theta"]  # rounding puts it on either side
    for slip, formula in SLIPS.items():
        if not _close(values, right).all() and (_close(values, formula(constants)) | at_theta).all():
            yield f"known slip: {slip}"
    sides = (_values_and_slopes(loss, np.full_like(E, constants["theta"] * side)) for side in (1 - 1e-4, 1 + 1e-4))
    for what, below, above in zip(("value", "slope"), *sides, strict=True):
        if (jump := ~np.isclose(below, above, rtol=0.01)).any():
            y, before, after = (array[jump][0] for array in (Y, below, above))
            yield f"the {what} jumps at theta, from {before:.4g} to {after:.4g} at y = {y:g}"


def _close(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.asarray(np.isclose(found, right, rtol=2e-4, atol=3e-6))  # float32, and the digits of GOLDEN


def _values_and_slopes(loss: Loss, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each pixel alone, so that no reduction changes it, and its derivative with respect to the prediction."""
    values, slopes = np.empty_like(errors), np.empty_like(errors)
    for at in np.ndindex(errors.shape):
        pred = torch.full((1, 1, 1, 1), Y[at] + errors[at], requires_grad=True)
        value = loss(pred, torch.full((1, 1, 1, 1), Y[at])).sum()
        values[at], slopes[at] = value.item(), torch.autograd.grad(value, pred)[0].item()
    return values, slopes


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if there are problems, else 0."""
    parser = argparse.ArgumentParser(prog="python -m awing.losses.check", description="Check an Adaptive Wing loss.")
    parser.add_argument("loss", metavar="module:Class", help="a class or function; it is called with (pred, target)")
    name = parser.parse_args(arguments).loss
    try:
        implementation = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(str(error))
    problems = check(implementation)
    print(f"{name} {'differs from' if problems else 'equals'} equation 3 of Wang et al., ICCV 2019")
    print(*problems, sep="\n", end="\n" * bool(problems))
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
