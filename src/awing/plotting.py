"""Every picture: arrays of RGB pixels for faces, matplotlib for curves."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure  # without pyplot: a file needs no window, and a notebook keeps its own
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from awing.arrays import Image
from awing.metrics import ced

PREDICTED, ANNOTATED = (70, 255, 90), (255, 70, 60)  # green, red
STYLES = cycler(linestyle=["-", "--", ":"]) * cycler(color=colormaps["tab10"](range(10)))  # 30 that differ


def overlay(
    crop: Image,
    predicted: Float[np.ndarray, "k 2"],
    annotated: Float[np.ndarray, "k 2"] | None = None,
    lines: Sequence[tuple[int, ...]] = (),
    side: int = 320,
    caption: str = "",
) -> Image:
    """Draw predicted points and lines in green, annotated points in red, on an enlarged crop.

    Args:
        crop: A square RGB picture.
        predicted, annotated: (K, 2) points in crop px; points that are not finite are left out, and their lines.
        lines: Paths through the landmarks, such as :attr:`awing.schemes.Scheme.lines`.
        side: Side of the result, px.
        caption: Text at the top.

    >>> crop = np.zeros((64, 64, 3), np.uint8)
    >>> picture = overlay(crop, np.array([[31.5, 31.5]]), side=128)
    >>> picture.shape, picture[64, 64].tolist()  # green in the middle
    ((128, 128, 3), [70, 255, 90])
    """
    zoom = side / crop.shape[0]
    canvas = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)

    def pixel(point: np.ndarray) -> tuple[int, int]:
        x, y = ((point + 0.5) * zoom - 0.5) * 16  # four fractional bits
        return round(float(x)), round(float(y))

    for line in lines:
        for a, b in pairwise(predicted[list(line)]):
            if np.isfinite([a, b]).all():
                cv2.line(canvas, pixel(a), pixel(b), PREDICTED, 1, cv2.LINE_AA, shift=4)
    for points, color in ((annotated, ANNOTATED), (predicted, PREDICTED)):
        for point in points if points is not None else ():
            if np.isfinite(point).all():
                cv2.circle(canvas, pixel(point), 2 * 16, color, -1, cv2.LINE_AA, shift=4)
    return _captioned(canvas, caption)


def heatmaps(crop: Image, maps: Float[np.ndarray, "c h w"], boundary: bool, side: int = 320) -> Image:
    """A face, the maximum over its landmark maps, and its boundary map where there is one, side by side.

    Args:
        crop: A square RGB picture.
        maps: (C, h, w), shown from 0 (black) to 1 (white).
        boundary: Whether the last map is the boundary.
        side: Side of a panel, px.

    >>> heatmaps(np.zeros((64, 64, 3), np.uint8), np.zeros((69, 16, 16), np.float32), boundary=True).shape
    (320, 960, 3)
    """
    landmark_maps = maps[:-1] if boundary else maps
    panels = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC), _heat(landmark_maps.max(0), side)]
    if boundary:
        panels.append(_heat(maps[-1], side))
    return np.concatenate(panels, 1)


def grid(pictures: Sequence[Image], columns: int = 4) -> Image:
    """Pictures of one size in rows, black where the last row is not full.

    >>> grid([np.zeros((10, 20, 3), np.uint8)] * 5, columns=4).shape
    (20, 80, 3)
    """
    columns = min(columns, len(pictures))
    blank = np.zeros_like(pictures[0])
    cells = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows, 0)


def save_picture(path: Path, picture: Image) -> None:
    """Write a PNG (or whatever the suffix says); the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


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


def save_bars(path: Path, values: Mapping[str, Mapping[str, tuple[float, float]]], ylabel: str) -> None:
    """Groups of bars with an error bar each.

    Args:
        path: Where the picture goes.
        values: Label -> group -> height, half length of the error bar (NaN: none). A group that a label lacks is empty.
        ylabel: What the heights are.
    """
    groups = list(dict.fromkeys(group for bars in values.values() for group in bars))
    width = 0.8 / len(values)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, ((label, bars), style) in enumerate(zip(values.items(), cycle(STYLES), strict=False)):
        places = [groups.index(group) + (i + 0.5) * width - 0.4 for group in bars]
        heights, halves = zip(*bars.values(), strict=True)
        axes.bar(places, heights, width, yerr=halves, label=label, color=style["color"], capsize=2)
    axes.set_xticks(range(len(groups)), groups, rotation=20)
    axes.set(ylabel=ylabel)
    axes.grid(alpha=0.3, axis="y")
    _save(figure, path)


def save_box_jitter(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """NME as boxes move and grow: a panel each, a curve a normaliser.

    Args:
        path: Where the picture goes.
        rows: ``{"kind": "shift" or "scale", "amount": number, normaliser: NME as a fraction, ...}``.
        title: What was evaluated.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    figure = Figure(figsize=(5 * len(kinds), 4), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)
    labels = {"shift": "shift (sides of the box)", "scale": "size of the box"}
    for axes, kind in zip(panels[0], kinds, strict=True):
        chosen = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["amount"])
        for name in [key for key in chosen[0] if key not in ("kind", "amount")]:
            axes.plot([r["amount"] for r in chosen], [100 * r[name] for r in chosen], marker="o", label=name)
        axes.set(xlabel=labels[kind], ylabel="NME (%)", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _save(figure: Figure, path: Path) -> None:
    """Write a picture with its legend below the axes, where it hides no curve."""
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)


def _heat(values: Float[np.ndarray, "h w"], side: int) -> Image:
    color = colormaps["magma"](np.clip(values, 0, 1))[..., :3]
    return np.asarray(cv2.resize((255 * color).round().astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST))


def _captioned(canvas: Image, caption: str) -> Image:
    if caption:
        cv2.rectangle(canvas, (0, 0), (canvas.shape[1], 18), (0, 0, 0), -1)
        cv2.putText(canvas, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas
