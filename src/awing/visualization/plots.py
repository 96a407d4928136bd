"""Plots of numbers, by matplotlib: curves and bars."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure  # without pyplot: a file needs no window, and a notebook keeps its own
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from awing.metrics import ced

CED_LIMIT = 0.10  # NME at which the axis of a cumulative error distribution ends
STYLES = cycler(linestyle=["-", "--", ":"]) * cycler(color=colormaps["tab10"](range(10)))  # 30 that differ


def save_ced(path: Path, errors: Mapping[str, Float[Tensor, " i"]], limit: float, title: str) -> None:
    """Cumulative error distribution (paper 7.2), one curve per subset.

    Args:
        path: Where the picture goes.
        errors: Subset -> NME of each of its images, fractions.
        limit: Where the axis of the NME ends; where all errors are above, the picture says so.
        title: What data they are of, and what they are divided by.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(STYLES)
    for name, nmes in errors.items():
        x, share = ced(nmes, limit)
        axes.step(100 * np.asarray(x), 100 * np.asarray(share), where="post", label=f"{name} ({len(nmes)})")
    lowest = min((float(nmes.min()) for nmes in errors.values()), default=0.0)
    if lowest > limit:
        said = f"every NME is above {100 * limit:g} %; the lowest is {100 * lowest:.2f} %"
        axes.text(0.5, 0.5, said, ha="center", transform=axes.transAxes)
    axes.set(xlim=(0, 100 * limit), ylim=(0, 100), xlabel="NME (%)", ylabel="faces (%)", title=title)
    axes.grid(alpha=0.3)
    _save(figure, path)


def save_curves(path: Path, runs: Mapping[str, Sequence[tuple[Mapping[int, float], bool]]], ylabel: str) -> None:
    """A value over the epochs of several runs, on a logarithmic axis.

    Args:
        path: Where the picture goes.
        runs: Label -> its runs, all in one style: epoch -> value, and whether the run ended; faint where it did not.
            A value that is not positive and finite has no place.
        ylabel: What the values are.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for (label, curves), style in zip(runs.items(), cycle(STYLES), strict=False):
        for i, (curve, ended) in enumerate(curves):
            points = {epoch: value for epoch, value in curve.items() if 0 < value < np.inf}
            (line,) = axes.plot(list(points), list(points.values()), marker=".")
            line.set(alpha=1 if ended else 0.4, label="_" if i else label, **style)
    axes.set(xlabel="epoch", ylabel=ylabel, yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3, which="both")
    _save(figure, path)


def save_bars(path: Path, values: Mapping[str, Mapping[str, tuple[float, float | None]]], ylabel: str) -> None:
    """Groups of bars with an error bar each.

    Args:
        path: Where the picture goes.
        values: Label -> group -> height, half length of the error bar or None. A group that a label lacks is empty.
        ylabel: What the heights are.
    """
    groups = list(dict.fromkeys(group for bars in values.values() for group in bars))
    width = 0.8 / len(values)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, ((label, bars), style) in enumerate(zip(values.items(), cycle(STYLES), strict=False)):
        places = [groups.index(group) + (i + 0.5) * width - 0.4 for group in bars]
        heights, halves = zip(*bars.values(), strict=True)
        axes.bar(places, heights, width, yerr=np.array(halves, float), label=label, color=style["color"], capsize=2)
    axes.set_xticks(range(len(groups)), groups, rotation=20)
    axes.set(ylabel=ylabel)
    axes.grid(alpha=0.3, axis="y")
    _save(figure, path)


def save_box_jitter(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """NME over the shift and the scale of the boxes: a panel each, a curve a normaliser.

    Args:
        path: Where the picture goes.
        rows: ``{"kind": "shift" or "scale", "amount": number, normaliser: NME as a fraction, ...}``.
        title: What was evaluated.
    """
    labels = {"shift": "shift (sides of the box)", "scale": "size of the box"}
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure = Figure(figsize=(5 * len(kinds), 4), layout="constrained")
    figure.suptitle(title)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        chosen = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["amount"])
        for name in [key for key in chosen[0] if key not in ("kind", "amount")]:
            axes.plot([r["amount"] for r in chosen], [100 * r[name] for r in chosen], marker="o", label=name)
        axes.set(xlabel=labels[kind], ylabel="NME (%)", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def save_reliability(path: Path, curve: Mapping[str, Any], title: str) -> None:
    """Reliability diagram: the share of points that were right over their confidence; calibrated on the diagonal.

    Args:
        path: Where the picture goes.
        curve: What :func:`awing.training.calibration.reliability` found.
        title: What data it is of.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="calibrated")
    axes.plot(curve["confidence"], curve["right"], marker="o", label="found")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of points that were right", title=title)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a picture with its legend below the axes, where it hides no curve."""
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
