"""Fill the paper's tables with finished runs, draw figures, and write the report."""

import base64
import html
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from jinja2 import Environment, PackageLoader
from omegaconf import DictConfig, OmegaConf
from scipy.stats import bootstrap

from awing.errors import ConfigError, DataError
from awing.report.protocol import of_another_version, text
from awing.report.runs import Run, load_runs, mean_and_spread
from awing.report.tables import Cell, Groups, Placed, Table, one_of_each_seed, own_sweeps, print_plan, read_tables
from awing.training.resume import write_rows
from awing.visualization.plots import save_bars, save_ced, save_curves

KINDS = ("paper", "measured", "difference")
USUAL_CURVES = ("train/loss", "train/gradient_norm", "val/nme", "train/mse_fg")  # columns of metrics.csv
Problems = list[tuple[str, str]]  # where, why
Figures = list[tuple[Path, str]]  # file, what it shows: a key of the captions in report.jinja


def write_report(cfg: DictConfig, output: Path) -> None:
    """Write ``report.md``, ``report.html``, ``report.csv`` (a line per cell), ``intervals.csv`` and ``figures/``.

    ``cfg`` is of ``conf/report.yaml``; with ``plan``, print the trainings that fill the tables instead. The output may
    lie among the runs, which are only read.
    """
    if cfg.plan:
        print_plan(cfg.step_seconds)
        return
    if (output / "report.md").exists() and not cfg.overwrite:
        raise ConfigError(f"{output} holds a report already: choose another output, or overwrite=true")
    if OmegaConf.is_missing(cfg, "runs"):
        raise ConfigError("expected a folder of runs: name it with runs=DIR")
    runs, evaluations, problems = load_runs(Path(cfg.runs))
    if not (runs or evaluations or problems):
        raise DataError(f"runs={cfg.runs}: expected trainings (config.yaml) or evaluations (metrics.json); found none")
    if (output / "report.md").exists():
        shutil.rmtree(output / "figures")
    (output / "figures").mkdir(parents=True)
    tables = read_tables()
    usual = tables["table1"].protocols[0]
    other_versions = {run: why for run in runs if run.results and (why := of_another_version(run, usual))}
    problems += [(run.folder, why) for run, why in other_versions.items()]
    runs = [run for run in runs if run not in other_versions]
    unknown = [run for run in runs if run.get("report.table") not in (None, *tables)]
    problems += [(run.folder, f"report.table is {run.get('report.table')}, no table of the paper") for run in unknown]
    own_runs = [run for run in runs if run.get("report.table") is None]
    filled = [(table, table.groups([*runs, *evaluations])) for table in tables.values()]
    filled += own_sweeps(own_runs)
    parts = [_part(output / "figures", table, groups, runs, problems) for table, groups in filled]
    parts = [part for part in parts if part["runs"]]
    for file, kind in (("report.csv", "cells"), ("intervals.csv", "intervals")):
        lines = [{"table": group["name"], **line} for part in parts for group in part["groups"] for line in group[kind]]
        write_rows(output / file, list(lines[0]) if lines else ["table"], lines)
    counts = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in runs).items())
    listed = {run for part in parts for run in part["runs"]}
    content = {
        "summary": f"{len(runs)} trainings{f' ({counts})' if runs else ''} and {len(evaluations)} other evaluations.",
        "parts": parts,
        "others": [run for run in [*runs, *evaluations] if run not in listed],
        "empty": [table.title for table in tables.values() if table not in [part["table"] for part in parts]],
        "protocol": [(k, text(v), usual.origin(k)) for k, v in usual.training.items() if ".loader." not in k],
        "problems": list(dict.fromkeys(problems)),
    }
    environment = Environment(loader=PackageLoader("awing.report"), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"plain": _plain, "base64": lambda file: base64.b64encode(file.read_bytes()).decode()}
    for file, blocks in (("report.md", "markdown.jinja"), ("report.html", "html.jinja")):
        of_format = environment.overlay(autoescape=blocks == "html.jinja")
        page = of_format.get_template("report.jinja").render(content, blocks=blocks)
        (output / file).write_text(re.sub(r"\n{3,}", "\n\n", page).strip() + "\n", encoding="utf-8")
    print(f"{len(runs)} runs, {len(evaluations)} other evaluations, {len(problems)} problems: {output / 'report.html'}")


def _part(figures: Path, table: Table, groups: Groups, runs: Sequence[Run], problems: Problems) -> dict[str, Any]:
    """Content of one table's section: its groups of runs, by their differences from the paper."""
    of_table = [run for run in runs if run.get("report.table") == table.name]
    labels = {run: protocol.label for placed in groups.values() for run, protocol in placed.items()}
    differing = [set(differs) for differs in groups if differs]
    shared = set.intersection(*differing) if len(differing) > 1 else set()
    shown = []
    for number, (differs, placed) in enumerate(groups.items(), 1):
        own = [difference for difference in differs if difference not in shared] or differs
        heading = f"Not by the protocol: {'; '.join(own)}" if differs else "By the protocol"
        if table.axes is not None:
            heading = f"Varied: {', '.join(table.axes) or 'the seed'}"
        content = _group(figures, f"{table.name}-{number}", table, differs, placed, problems)
        shown.append({"heading": shorten(heading, 150, placeholder=" ..."), **content})
    return {"table": table, "runs": list(dict.fromkeys([*of_table, *labels])), "labels": labels, "groups": shown}


def _group(
    figures: Path, name: str, table: Table, differs: Sequence[str], placed: Placed, problems: Problems
) -> dict[str, Any]:
    """Content for one group of runs: those with the same differences from the paper."""
    rows = [[(cell, cell.line(placed, differs)) for cell in row] for row in table.rows]
    variants = {}
    for label, runs in table.variants({run: place for run, place in placed.items() if run.results}).items():
        variants[label] = one_of_each_seed(runs)
        again = [run for run in runs if run not in variants[label] and not run.evaluation]
        problems += [(run.folder, "its seed counts once: of the same protocol is another training") for run in again]
    of_test = {} if table.curves else variants  # a table of training curves: test errors are in the test set's table
    return {
        "name": name,
        "runs": [run for runs in variants.values() for run in runs],
        "differs": differs,
        "grid": _grid(table, rows),
        "cells": [line for row in rows for _, line in row if line["n"] or line["paper"] is not None],
        "intervals": _intervals(of_test, table.normaliser, problems),
        "figures": _draw_errors(figures / name, of_test, table.normaliser),
        "curves": _draw_curves(figures / name, table.variants(placed), table.curves or USUAL_CURVES),
    }


def _grid(table: Table, rows: Sequence[Sequence[tuple[Cell, Mapping[str, Any]]]]) -> list[list[str]]:
    """Header and rows of a table; paper, measured, difference side by side for one or two columns, else stacked."""
    lines = [line for row in rows for _, line in row]
    kinds = [kind for kind in KINDS if kind == "measured" or any(line[kind] is not None for line in lines)]
    columns = [cell.column for cell, _ in rows[0]]
    if len(columns) > 2 and len(kinds) > 1:
        body = [
            [row[0][0].row, kind, *(cell.text(line, kind) for cell, line in row)]
            for row in rows
            for kind in (kinds if any(line["n"] for _, line in row) else ["paper"])
        ]
        return [["", "", *columns], *body]
    names = [f"{column}, {kind}" if len(kinds) > 1 else column for column in columns for kind in kinds]
    grid = [[*(table.axes or [""]), *names]]
    for row in rows:
        first = row[0][0]
        place = first.protocol.place if first.protocol and table.axes else {"": first.row}
        grid.append([*map(text, place.values()), *(cell.text(line, kind) for cell, line in row for kind in kinds)])
    return grid


def _intervals(variants: Mapping[str, Sequence[Run]], normaliser: str, problems: Problems) -> list[dict[str, str]]:
    """Confidence intervals of each row's mean, and of its difference to the first row tested on the same faces."""
    lines: list[dict[str, str]] = []
    first: dict[Any, tuple[str, np.ndarray]] = {}  # data set and faces -> label and errors of the first row
    for label, runs in variants.items():
        if any(normaliser not in run.errors or run.faces != runs[0].faces for run in runs):
            why = f"no interval of {label}: its trainings were tested on different faces, or not by {normaliser}"
            problems.append((", ".join(run.folder for run in runs), why))
            continue
        errors = np.mean([run.errors[normaliser] for run in runs], axis=0)
        other, reference = first.setdefault((runs[0].results["dataset"], runs[0].faces), (label, errors))
        with np.errstate(invalid="ignore"):  # the difference of infinite errors is NaN
            apart = errors - reference if other != label else errors[:0]
        line = {"row": label, "n": str(len(runs)), "faces": str(len(errors)), **_interval("NME %", errors)}
        lines.append(line | {"against": other if other != label else "", **_interval("difference", apart, "+")})
    return lines


def _interval(name: str, errors: np.ndarray, sign: str = "") -> dict[str, str]:
    mean = f"{100 * errors.mean():{sign}.2f}" if len(errors) else ""
    interval = mean_interval(errors)
    low, high = (f"{100 * end:{sign}.2f}" for end in interval) if interval else ("", "")
    return {name: mean, f"{name}, from": low, f"{name}, to": high}


def mean_interval(errors: Float[np.ndarray, " n"], seed: int = 0) -> tuple[float, float] | None:
    """95 % confidence interval of a mean over faces, by the percentile bootstrap (Efron 1979).

    It covers the variation of the mean with other faces, not with another training. None for a single face, or if an
    error is infinite.

    >>> mean_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)
    """
    if len(errors) < 2 or not np.isfinite(errors).all():
        return None
    rng = np.random.default_rng(seed)
    found = bootstrap((errors,), np.mean, n_resamples=2000, batch=100, method="percentile", random_state=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _draw_errors(stem: Path, variants: Mapping[str, Sequence[Run]], normaliser: str) -> Figures:
    """Draw cumulative error distributions, and, if there are subsets, bars of each (mean and spread in percent)."""
    pooled: dict[str, torch.Tensor] = {}
    bars: dict[str, dict[str, tuple[float, float | None]]] = {}
    for label, runs in variants.items():
        if all(normaliser in run.errors for run in runs):
            pooled[label] = torch.from_numpy(np.concatenate([run.errors[normaliser] for run in runs]))
        for subset in runs[0].results["subsets"]:
            nmes = [run.get(f"results.subsets.{subset}.nme.{normaliser}") for run in runs]
            if None not in nmes and np.isfinite(nmes).all():
                bars.setdefault(label, {})[subset] = mean_and_spread([100 * nme for nme in nmes])
    figures: Figures = []
    if pooled:
        figures.append((Path(f"{stem}-ced.png"), "ced"))
        save_ced(figures[-1][0], pooled, f"NME by {normaliser}")
    if any(len(bar) > 1 for bar in bars.values()):
        figures.append((Path(f"{stem}-subsets.png"), "subsets"))
        save_bars(figures[-1][0], bars, f"NME by {normaliser} (%)")
    return figures


def _draw_curves(stem: Path, variants: Mapping[str, Sequence[Run]], columns: Sequence[str]) -> Figures:
    """Draw curves of finished and unfinished trainings, a picture for each column of ``metrics.csv``."""
    figures: Figures = []
    for column in columns:
        curves = {
            label: [(run.curves[column], bool(run.results)) for run in runs if run.curves.get(column)]
            for label, runs in variants.items()
        }
        if any(curves.values()):
            figures.append((Path(f"{stem}-{column.replace('/', '_')}.png"), column))
            save_curves(figures[-1][0], {label: lines for label, lines in curves.items() if lines}, column)
    return figures


def _plain(text: object) -> str:
    """Escape a text so that Markdown shows it literally."""
    return re.sub(r"[\\|*`\[\]#~$]|\b_|_\b", r"\\\g<0>", html.escape(" ".join(str(text).split()), quote=False))
