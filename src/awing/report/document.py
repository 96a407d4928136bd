"""Put finished runs into the paper's tables, draw them, and write the report."""

import base64
import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader
from omegaconf import DictConfig, OmegaConf

from awing.errors import ConfigError, DataError
from awing.report.runs import Run, load_runs
from awing.report.statistics import mean_and_spread, mean_interval
from awing.report.tables import Cell, Table, read_tables
from awing.training.resume import write_rows
from awing.visualization.plots import CED_LIMITS, save_bars, save_ced, save_curves

KINDS = ("paper", "measured", "difference")
USUAL_CURVES = ("train/loss", "val/nme", "train/mse_fg")  # columns of metrics.csv
Problems = list[tuple[str, str]]  # where, why
Figures = list[tuple[Path, str]]  # file, what it shows: a key of the captions in report.jinja


def write_report(cfg: DictConfig, output: Path) -> None:
    """Write ``report.md``, ``report.html``, ``report.csv`` (a line a cell), ``intervals.csv`` and ``figures/``.

    ``cfg`` is of ``conf/report.yaml``. The output may lie among its runs, which are only read.
    """
    if (output / "report.md").exists():
        raise ConfigError(f"{output} holds a report already: choose another output")
    if OmegaConf.is_missing(cfg, "runs"):
        raise ConfigError("expected a folder of runs: name it with runs=DIR")
    runs, evaluations, problems = load_runs(Path(cfg.runs))
    if not (runs or evaluations or problems):
        raise DataError(f"runs={cfg.runs}: expected trainings (config.yaml) or evaluations (metrics.json); found none")
    (output / "figures").mkdir(parents=True, exist_ok=True)
    tables = read_tables()
    chosen = {name: [run for run in runs if table.has(name, run)] for name, table in tables.items()}
    parts = [_part(output / "figures" / name, tables[name], of, problems) for name, of in chosen.items() if of]
    unknown = [run for run in runs if run.get("report.table") not in (None, *tables)]
    problems += [(run.folder, f"report.table is {run.get('report.table')}, no table of the paper") for run in unknown]
    for file, kind in (("report.csv", "cells"), ("intervals.csv", "intervals")):
        groups = [group for part in parts for group in part["groups"]]
        lines = [{"table": group["name"], **line} for group in groups for line in group[kind]]
        write_rows(output / file, list(lines[0]) if lines else ["table"], lines)
    counts = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in runs).items())
    content = {
        "summary": f"{len(runs)} trainings{f' ({counts})' if runs else ''} and {len(evaluations)} other evaluations.",
        "parts": parts,
        "others": [run for run in runs + evaluations if run.get("report.table") is None],
        "empty": [tables[name].title for name, of in chosen.items() if not of],
        "problems": problems,
    }
    environment = Environment(loader=PackageLoader("awing.report"), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"plain": _plain, "base64": lambda file: base64.b64encode(file.read_bytes()).decode()}
    for file, blocks in (("report.md", "markdown.jinja"), ("report.html", "html.jinja")):
        of_format = environment.overlay(autoescape=blocks == "html.jinja")
        text = of_format.get_template("report.jinja").render(content, blocks=blocks)
        (output / file).write_text(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", encoding="utf-8")
    print(f"{len(runs)} runs, {len(evaluations)} other evaluations, {len(problems)} problems: {output / 'report.html'}")


def _part(stem: Path, table: Table, runs: Sequence[Run], problems: Problems) -> dict[str, Any]:
    """What the report says of one table of the paper, whose pictures' paths begin with ``stem``."""
    groups = table.groups([run for run in runs if run.results])
    labels = {run: label for label, chosen in table.variants(runs).items() for run in chosen}
    return {
        "name": stem.name,
        "table": table,
        "runs": [run for run in runs if run.get("report.table") == stem.name],  # another table lists its own
        "labels": labels,
        "groups": [_group(Path(f"{stem}-{i}"), table, group, problems) for i, group in enumerate(groups, 1)],
        "curves": _draw_curves(stem, labels, table.curves or USUAL_CURVES),
    }


def _group(stem: Path, table: Table, runs: Sequence[Run], problems: Problems) -> dict[str, Any]:
    """What it says of runs of one protocol."""
    rows = [[(cell, cell.line(runs)) for cell in row] for row in table.rows]
    compared = [(cell, run) for cell in table.cells if cell.paper is not None for run in cell.measured(runs)]
    variants = table.variants(runs)
    for label, chosen in variants.items():
        if len({run.get("seed") for run in chosen}) < len(chosen):
            problems.append((", ".join(run.folder for run in chosen), f"{label}: n counts a seed more than once"))
    of_test = {} if table.curves else variants  # what a training's test faces say is in the table that they are of
    return {
        "name": stem.name,
        "runs": runs,
        "settings": dict.fromkeys(run.setting for run in runs),
        "protocols": dict.fromkeys(run.protocol for run in runs),
        "deviations": sorted({deviation for cell, run in compared for deviation in cell.deviations(run)}),
        "grid": _grid(rows),
        "cells": [line for row in rows for _, line in row if line["n"] or line["paper"] is not None],
        "intervals": _intervals(of_test, table.normaliser, problems),
        "figures": _draw_errors(stem, of_test, table.normaliser),
    }


def _grid(rows: Sequence[Sequence[tuple[Cell, Mapping[str, Any]]]]) -> list[list[str]]:
    """Header and rows. One or two columns: paper, measured, difference side by side; more: one below the other."""
    lines = [line for row in rows for _, line in row]
    kinds = [kind for kind in KINDS if kind == "measured" or any(line[kind] is not None for line in lines)]
    columns = [cell.column for cell, _ in rows[0]]
    if len(columns) > 2:
        body = [[row[0][0].row, kind, *(cell.text(line, kind) for cell, line in row)] for row in rows for kind in kinds]
        return [["", "", *columns], *body]
    body = [[row[0][0].row, *(cell.text(line, kind) for cell, line in row for kind in kinds)] for row in rows]
    return [["", *(f"{column}, {kind}" for column in columns for kind in kinds)], *body]


def _intervals(variants: Mapping[str, Sequence[Run]], normaliser: str, problems: Problems) -> list[dict[str, str]]:
    """The interval of each mean, and of its difference to the first on the same faces."""
    lines: list[dict[str, str]] = []
    first: dict[Any, tuple[str, np.ndarray]] = {}  # what was tested -> label and errors
    for label, runs in variants.items():
        if any(normaliser not in run.errors or run.faces != runs[0].faces for run in runs):
            why = f"no interval of {label}: its trainings were tested on different faces, or not by {normaliser}"
            problems.append((", ".join(run.folder for run in runs), why))
            continue
        errors = np.mean([run.errors[normaliser] for run in runs], axis=0)
        other, reference = first.setdefault((runs[0].results["dataset"], runs[0].faces), (label, errors))
        with np.errstate(invalid="ignore"):  # infinite errors: a difference that is not a number
            apart = errors - reference if other != label else errors[:0]
        line = {"row": label, "n": str(len(runs)), "faces": str(len(errors)), **_interval("NME %", errors)}
        lines.append(line | {"against": other if other != label else "", **_interval("difference", apart, "+")})
    return lines


def _interval(name: str, errors: np.ndarray, sign: str = "") -> dict[str, str]:
    mean = f"{100 * errors.mean():{sign}.2f}" if len(errors) else ""
    interval = mean_interval(errors)
    low, high = (f"{100 * end:{sign}.2f}" for end in interval) if interval else ("", "")
    return {name: mean, f"{name}, from": low, f"{name}, to": high}


def _draw_errors(stem: Path, variants: Mapping[str, Sequence[Run]], normaliser: str) -> Figures:
    """Cumulative error distributions, and bars (mean and spread in percent) of the subsets where there are any."""
    pooled: dict[str, torch.Tensor] = {}
    bars: dict[str, dict[str, tuple[float, float | None]]] = {}
    for label, runs in variants.items():
        if all(normaliser in run.errors for run in runs):
            pooled[label] = torch.from_numpy(np.concatenate([run.errors[normaliser] for run in runs]))
        for subset in runs[0].results["subsets"]:
            nmes = [run.get(f"results.subsets.{subset}.nme.{normaliser}") for run in runs]
            if None not in nmes:
                bars.setdefault(label, {})[subset] = mean_and_spread([100 * nme for nme in nmes])
    figures: Figures = []
    if pooled:
        figures.append((Path(f"{stem}-ced.png"), "ced"))
        save_ced(figures[-1][0], pooled, CED_LIMITS, f"NME by {normaliser}")
    if any(len(bar) > 1 for bar in bars.values()):
        figures.append((Path(f"{stem}-subsets.png"), "subsets"))
        save_bars(figures[-1][0], bars, f"NME by {normaliser} (%)")
    return figures


def _draw_curves(stem: Path, labels: Mapping[Run, str], columns: Sequence[str]) -> dict[str, Figures]:
    """Training curves, finished or not: pictures for each setting and length."""
    settings = {run: f"{run.setting}, {run.get('trainer.max_epochs')} epochs" for run in labels}
    drawn: dict[str, Figures] = {}
    for number, setting in enumerate(dict.fromkeys(settings.values()), 1):
        for column in columns:
            curves: dict[str, list[tuple[dict[int, float], bool]]] = {}
            for run, label in labels.items():
                if settings[run] == setting and run.curves.get(column):
                    curves.setdefault(label, []).append((run.curves[column], bool(run.results)))
            if curves:
                file = Path(f"{stem}-{number}-{column.replace('/', '_')}.png")
                save_curves(file, curves, column)
                drawn.setdefault(setting, []).append((file, column))
    return drawn


def _plain(text: object) -> str:
    """Text that Markdown takes for nothing else."""
    return re.sub(r"[\\|*`\[\]#~$]|\b_|_\b", r"\\\g<0>", html.escape(" ".join(str(text).split()), quote=False))
