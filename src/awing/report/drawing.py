"""The pictures of a report, each with its caption."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context

from awing.report.runs import Run, lookup
from awing.report.statistics import mean_and_spread
from awing.training.evaluation import CED_LIMIT
from awing.visualization.plots import save_bars, save_ced, save_curves

CED = "Cumulative error distribution; the faces of all seeds are pooled, and their number is in brackets."
BARS = "NME of each subset: mean over the seeds and their sample standard deviation."
SETTING = ("dataset.name", "dataset.crop", "report.scale", "trainer.max_epochs")
CURVES = {  # column of metrics.csv: factor, axis, caption
    "train/loss": (1, "training loss", "Training loss, each method's own: heights of different losses do not compare."),
    "val/nme": (100, "validation NME (%)", "NME of the validation faces, by the data set's first normaliser."),
    "train/mse_all": (1, "squared error, all pixels", "Squared map error in training over all pixels, any loss."),
    "train/mse_fg": (1, "squared error, foreground", "Squared map error in training over foreground pixels, any loss."),
}
USUAL = ("train/loss", "val/nme", "train/mse_fg")
Figures = list[tuple[Path, str]]  # file, caption


@rc_context({"text.parse_math": False})  # names may have a $
def draw_errors(stem: Path, variants: Mapping[str, Sequence[Run]], normaliser: str) -> Figures:
    """Cumulative error distributions, and bars of the subsets where there are any.

    Args:
        stem: The files' path, up to ``-ced.png`` and ``-subsets.png``.
        variants: Label -> its runs, a seed each.
        normaliser: Of the NME.
    """
    figures: Figures = []
    pooled = {
        label: torch.from_numpy(np.concatenate(errors))
        for label, runs in variants.items()
        if (errors := [run.errors[normaliser] for run in runs if len(run.errors.get(normaliser, ()))])
    }
    if pooled:
        figures.append((Path(f"{stem}-ced.png"), CED))
        save_ced(figures[-1][0], pooled, CED_LIMIT, f"NME by {normaliser}")
    bars = {label: bar for label, runs in variants.items() if (bar := _subset_means(runs, normaliser))}
    if any(len(bar) > 1 for bar in bars.values()):
        figures.append((Path(f"{stem}-subsets.png"), BARS))
        save_bars(figures[-1][0], bars, f"NME by {normaliser} (%)")
    return figures


@rc_context({"text.parse_math": False})  # names may have a $
def draw_curves(
    stem: Path, runs: Sequence[Run], labels: Mapping[str, str], columns: Sequence[str]
) -> dict[str, Figures]:
    """Training curves, finished or not: a set for each data set, crop, scale and length.

    Args:
        stem: The files' path, up to ``-1-train_loss.png`` and so on.
        runs: Those without a label have no place.
        labels: Folder of a run -> its row, in the order of the table.
        columns: Of ``metrics.csv``; none stands for :data:`USUAL`.
    """
    settings: dict[str, list[Run]] = {}
    for run in sorted((run for run in runs if run.folder in labels), key=lambda r: list(labels).index(r.folder)):
        data, crop, scale, epochs = map(run.get, SETTING)
        settings.setdefault(f"{data}, crop {crop}, scale {scale}, {epochs} epochs", []).append(run)
    drawn: dict[str, Figures] = {}
    for number, (setting, chosen) in enumerate(settings.items(), 1):
        for column in columns or USUAL:
            factor, what, caption = CURVES[column]
            curves: dict[str, list[tuple[dict[int, float], bool]]] = {}
            for run in chosen:
                if curve := run.curves.get(column):
                    scaled = {epoch: factor * value for epoch, value in curve.items()}
                    curves.setdefault(labels[run.folder], []).append((scaled, bool(run.results)))
            if curves:
                file = Path(f"{stem}-{number}-{column.replace('/', '_')}.png")
                save_curves(file, curves, what)
                drawn.setdefault(setting, []).append((file, caption))
    return drawn


def _subset_means(runs: Sequence[Run], normaliser: str) -> dict[str, tuple[float, float]]:
    """Subset -> mean and spread of the NME in percent."""
    means = {}
    for subset in lookup(runs[0].results, ["subsets"]):
        found = [lookup(run.results, ["subsets", subset, "nme", normaliser]) for run in runs]
        if values := [100 * value for value in found if value is not None]:
            mean, spread = mean_and_spread(values)
            means[subset] = mean, np.nan if spread is None else spread
    return means
