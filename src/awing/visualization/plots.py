"""Plots of numbers, by matplotlib: curves and bars."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any, Literal

import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure  # without pyplot: a file needs no window, and a notebook keeps its own
from torch import Tensor

from awing.metrics import ced

CED_LIMITS = 0.08, 0.10  # NMEs at which the axes of cumulative error distributions end
STYLES = cycler(linestyle=["-", "--", ":"]) * cycler(color=colormaps["tab10"](range(10)))  # 30 different styles


def save_ced(path: Path, errors: Mapping[str, Float[Tensor, " i"]], title: str) -> None:
    """Cumulative error distribution (paper 7.2): a curve for the NMEs (fractions) of each subset, a panel per limit."""
    lowest = min((float(nmes.min()) for nmes in errors.values()), default=0.0)
    with _panels(path, len(CED_LIMITS)) as panels:
        for axes, limit in zip(panels, CED_LIMITS, strict=True):
            axes.set_prop_cycle(STYLES)
            for name, nmes in errors.items():
                x, share = ced(nmes, limit)
                axes.step(100 * x, 100 * share, where="post", label=f"{name} ({len(nmes)})")
            if lowest > limit:
                text = f"every NME is above {100 * limit:g} %; the lowest is {100 * lowest:.2f} %"
                axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
            axes.set(xlim=(0, 100 * limit), ylim=(0, 100), xlabel="NME (%)", ylabel="faces (%)", title=title)


def save_curves(path: Path, runs: Mapping[str, Sequence[tuple[Mapping[int, float], bool]]], ylabel: str) -> None:
    """Curves of a value over the epochs, on a logarithmic axis; values that are not positive and finite are left out.

    ``runs`` maps a label to runs in one style: epoch -> value, and whether the run ended; if not, its curve is faint.
    """
    with _panels(path) as (axes,):
        for (label, curves), style in zip(runs.items(), STYLES(), strict=False):
            for i, (curve, ended) in enumerate(curves):
                points = {epoch: value for epoch, value in curve.items() if 0 < value < np.inf}
                look = {"marker": ".", "alpha": 1 if ended else 0.4, "label": "_" if i else label, **style}
                axes.plot(list(points), list(points.values()), **look)
        axes.locator_params("x", integer=True)
        axes.set(xlabel="epoch", ylabel=ylabel, yscale="log")


def save_bars(path: Path, values: Mapping[str, Mapping[str, tuple[float, float | None]]], ylabel: str) -> None:
    """Groups of bars: label -> group -> height, and half the length of its error bar or None."""
    groups = list(dict.fromkeys(group for bars in values.values() for group in bars))
    width = 0.8 / len(values)
    with _panels(path, grid="y") as (axes,):
        for i, (label, bars) in enumerate(values.items()):
            places = [groups.index(group) + (i + 0.5) * width - 0.4 for group in bars]
            heights, halves = zip(*bars.values(), strict=True)
            axes.bar(places, heights, width, yerr=np.array(halves, float), label=label, capsize=2)
        axes.set_xticks(range(len(groups)), groups, rotation=20)
        axes.set(ylabel=ylabel)


def save_box_jitter(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """NME over the shift and over the scale of the boxes: a panel each, with a curve per normaliser.

    ``rows`` are ``{"kind": "shift" or "scale", "amount": number, normaliser: NME as a fraction, ...}``.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    with _panels(path, len(kinds)) as panels:
        for axes, kind in zip(panels, kinds, strict=True):
            chosen = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["amount"])
            for name in [key for key in chosen[0] if key not in ("kind", "amount")]:
                axes.plot([r["amount"] for r in chosen], [100 * r[name] for r in chosen], marker="o", label=name)
            axes.set(xlabel=f"{kind} (sides of the box)", ylabel="NME (%)", ylim=(0, None), title=title)


def save_reliability(path: Path, curve: Mapping[str, Any], title: str) -> None:
    """Reliability diagram of a result of :func:`awing.training.calibration.reliability`; the diagonal is calibrated."""
    with _panels(path) as (axes,):
        axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="calibrated")
        axes.plot(curve["confidence"], curve["right"], marker="o", label="found")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
        axes.set(xlabel="confidence", ylabel="share of points that were right")


@contextmanager
def _panels(path: Path, columns: int = 1, grid: Literal["both", "y"] = "both") -> Iterator[Any]:
    """Yield axes to draw in, then save the figure, with a grid and one legend below, where it hides no curve."""
    figure = Figure(figsize=(5 * columns + 1, 4.5), layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False)[0]
    yield panels
    for axes in panels:
        axes.grid(alpha=0.3, which="both", axis=grid)
    handles, labels = panels[0].get_legend_handles_labels()
    labels, ncols = [fill(label, 80) for label in labels], 2 if max(map(len, labels), default=0) < 40 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, fontsize="small")
    figure.savefig(path, dpi=120)
