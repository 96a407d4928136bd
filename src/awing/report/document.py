"""Gather runs, put them into the paper's tables, draw them, and write it all down."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from awing.errors import ConfigError, DataError
from awing.report.drawing import draw_curves, draw_errors
from awing.report.runs import Run, load_runs, lookup
from awing.report.statistics import mean_interval
from awing.report.tables import PROTOCOL, Entry, Table, protocol, read_tables
from awing.report.writers import Block, markdown, page

TITLE = "Runs beside the paper"
HOW_TO_READ = (
    "NME, failure rates (FR8, FR10: NME above 8 or 10 %) and PCK are in percent. Measured: mean ± sample standard "
    "deviation over n trainings that differ in their seed. Difference: measured minus paper, given only where data, "
    "crop, network, loss and training are the paper's, but for the validation faces that are held out of training, and "
    "every official test face was there."
)
INTERVALS = (
    "Intervals: 95 %, percentile bootstrap over faces, each face's error averaged over the seeds first. They say how "
    "far other faces would move the mean, not how far another training would. A difference is to the first line that "
    "was tested on the same faces, paired face by face; below 0 is better."
)

KINDS = ("paper", "measured", "difference")


def write_report(cfg: DictConfig, output: Path) -> None:
    """Write ``report.md``, ``report.csv`` (a line a cell), ``intervals.csv``, ``report.html`` and ``figures/``.

    Args:
        cfg: Composed from ``conf/report.yaml``.
        output: May lie inside ``cfg.runs``, whose runs are only read.

    Raises:
        ConfigError: ``output`` holds a report already, or an entry of a table is none.
        DataError: ``cfg.runs`` is no folder, or nothing in it is a run.
    """
    for name in ("report.md", "report.csv", "intervals.csv", "report.html", "figures"):
        if (output / name).exists():
            raise ConfigError(f"{output} holds a report already ({name}): choose another output")
    if OmegaConf.is_missing(cfg, "runs"):
        raise ConfigError("expected a folder of runs: name it with runs=DIR")
    root = Path(str(cfg.runs))
    if not root.is_dir():
        raise DataError(f"runs={root} is no folder; expected one that holds the folders of runs, at any depth")
    tables = read_tables(OmegaConf.to_container(cfg))  # type: ignore[arg-type]  # a mapping of strings
    runs, evaluations, problems = load_runs(root)
    if not (runs or evaluations or problems):
        raise DataError(
            f"{root} holds no run: expected config.yaml, metrics.csv and test/metrics.json as src/train.py leaves "
            "them, or metrics.json of src/evaluate.py"
        )
    problems += [
        (run.folder, f"report.table is {name}, no table of conf/report.yaml")
        for run in runs
        if (name := run.get("report.table")) is not None and str(name) not in tables
    ]
    (output / "figures").mkdir(parents=True)
    report = _Report(output, problems)
    states = [run.status for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    report.say(f"{len(runs)} trainings{f' ({counts})' if runs else ''} and {len(evaluations)} other evaluations.")
    report.say(HOW_TO_READ)
    for name, table in tables.items():
        if chosen := [run for run in runs if table.has(name, run)]:
            report.add_table(name, table, chosen)
    report.add_others([run for run in runs if run.get("report.table") is None] + evaluations)
    empty = [table.title for name, table in tables.items() if not any(table.has(name, run) for run in runs)]
    if empty:
        report.say("Without a run", 2)
        report.say("; ".join(empty) + ".")
    if problems:
        report.say("Not read, or doubtful", 2)
        report.blocks.append(Block(header=["where", "why"], rows=problems))
    report.write()
    print(f"{len(runs)} runs, {len(evaluations)} other evaluations, {len(problems)} problems: {output / 'report.html'}")


class _Report:
    """Blocks and CSV lines as they come."""

    def __init__(self, output: Path, problems: list[tuple[str, str]]) -> None:
        self.output, self.figures, self.problems = output, output / "figures", problems
        self.blocks: list[Block] = []
        self.cells: list[dict[str, Any]] = []
        self.intervals: list[dict[str, str]] = []

    def say(self, text: str, level: int = 0) -> None:
        self.blocks.append(Block(text, level))

    def add_table(self, name: str, table: Table, runs: Sequence[Run]) -> None:
        """All that there is of one table of the paper."""
        self.say(table.title, 2)
        if table.note:
            self.say(table.note)
        for number, group in enumerate(table.groups([run for run in runs if run.results]), 1):
            self.add_group(f"{name}-{number}", table, group)
        labels = {run.folder: label for label, chosen in table.variants(runs).items() for run in chosen}
        rows = [
            [run.folder, labels.get(run.folder, "no cell is for it"), *_origin(run), run.state]
            for run in runs
            if run.get("report.table") == name  # another table lists its own
        ]
        if rows:
            self.say("Runs", 3)
            self.blocks.append(Block(header=["run", "row", "seed", "commit", "state"], rows=rows))
        for setting, figures in draw_curves(self.figures / name, runs, labels, table.curves).items():
            self.say(f"Training curves: {setting}", 3)
            self.say("A line a training, a style a row of the table; faint where it has not finished.")
            self.blocks.append(Block(figures=figures))

    def add_group(self, name: str, table: Table, runs: Sequence[Run]) -> None:
        """One printed table: what it is of, its grid, its intervals and its pictures."""
        about = [f"{p['data']}, crop {p['crop']}, scale {p['scale']}" for p in map(protocol, runs)]
        self.say("; ".join(dict.fromkeys(about)), 3)
        for line in dict.fromkeys(map(_about, runs)):
            self.say(line)
        seeds, commits = (", ".join(dict.fromkeys(values)) for values in zip(*map(_origin, runs), strict=True))
        self.say(f"Seeds {seeds}; commit {commits}. Curves, bars and intervals: NME by {table.normaliser}.")
        grid = table.filled(runs)
        entries = [entry for row in grid for entry in row]
        apart = {d for e in entries if e.cell.paper is not None for run in e.runs for d in e.cell.deviations(run)}
        if apart:
            self.say(f"No difference is given where the protocol is not the paper's: {'; '.join(sorted(apart))}.")
        self.blocks.append(_grid(grid))
        self.cells += [_csv_line(name, entry) for entry in entries if entry.runs or entry.cell.paper is not None]
        variants = table.variants(runs)
        for label, chosen in variants.items():
            if len({_origin(run)[0] for run in chosen}) < len(chosen):
                self.problems.append((_folders(chosen), f"{label}: n counts a seed more than once"))
        if table.curves:  # of the training: what its runs' test faces say is in the table that they are of
            return
        self.add_intervals(name, variants, table.normaliser)
        if figures := draw_errors(self.figures / name, variants, table.normaliser):
            self.blocks.append(Block(figures=figures))

    def add_intervals(self, name: str, variants: Mapping[str, Sequence[Run]], normaliser: str) -> None:
        """The interval of each mean, and of its difference to the first on the same faces."""
        averaged: dict[str, tuple[Any, np.ndarray]] = {}  # label -> what was tested, errors
        for label, runs in variants.items():
            if any(normaliser not in run.errors for run in runs):
                problem = f"no interval of {label}: per_image.csv has no errors by {normaliser}"
            elif any(run.faces != runs[0].faces for run in runs):
                problem = f"no interval of {label}: its trainings were tested on different faces"
            else:
                tested = protocol(runs[0])["data"], runs[0].faces
                averaged[label] = tested, np.mean([run.errors[normaliser] for run in runs], axis=0)
                continue
            self.problems.append((_folders(runs), problem))
        lines = []
        for label, (tested, errors) in averaged.items():
            first = next(other for other, (known, _) in averaged.items() if known == tested)
            line = {"row": label, "n": str(len(variants[label])), "faces": str(len(errors))}
            with np.errstate(invalid="ignore"):  # infinite errors: a difference that is not a number
                apart = errors - averaged[first][1] if first != label else errors[:0]
            against = {"against": first if first != label else ""}
            lines.append(line | _interval("NME %", errors) | against | _interval("difference", apart, "+"))
        if lines:
            self.say(INTERVALS)
            self.blocks.append(Block(header=list(lines[0]), rows=[list(line.values()) for line in lines]))
        self.intervals += [{"table": name, **line} for line in lines]

    def add_others(self, runs: Sequence[Run]) -> None:
        """Evaluations, and trainings that are of no table."""
        rows = []
        for run in runs:
            nme = lookup(run.results, ["subsets", "full", "nme"]) or {}
            errors = ", ".join(f"{name} {100 * value:.2f}" for name, value in nme.items())
            rows.append([run.folder, run.state if run.config else "evaluated", _about(run), errors, *_origin(run)])
        if rows:
            self.say("Other evaluations", 2)
            self.say("Evaluations of src/evaluate.py, and trainings that name no table.")
            self.blocks.append(Block(header=["run", "state", "of", "NME %", "seed", "commit"], rows=rows))

    def write(self) -> None:
        """All files but the pictures, which are there already."""
        (self.output / "report.md").write_text(markdown(TITLE, self.blocks), encoding="utf-8", errors="replace")
        (self.output / "report.html").write_text(page(TITLE, self.blocks), encoding="utf-8", errors="replace")
        for file, lines in (("report.csv", self.cells), ("intervals.csv", self.intervals)):
            with (self.output / file).open("w", newline="", encoding="utf-8", errors="replace") as stream:
                writer = csv.DictWriter(stream, lines[0] if lines else ["table"])
                writer.writeheader()
                writer.writerows(lines)


def _about(run: Run) -> str:
    """The protocol of a tested run in a sentence; "" of another."""
    if not run.results:
        return ""
    p = protocol(run)
    trained = f", scale {p['scale']}, {p['input size']} px, {p['epochs']} epochs" if run.config else ""
    return (
        f"{p['data']} {p['split']}: {p['found']} of {p['expected']} faces ({p['faces']}), crop {p['crop']} times "
        f"{p['crop scale']}, decoder {p['decoder']}{trained}"
    ) + ", averaged with the mirrored crop" * bool(run.results.get("flip_test"))


def _origin(run: Run) -> tuple[str, str]:
    """Seed and commit."""
    results = run.results or {}
    return str(results.get("seed", run.get("seed"))), str(results.get("commit") or "")


def _folders(runs: Sequence[Run]) -> str:
    return ", ".join(run.folder for run in runs)


def _interval(name: str, errors: np.ndarray, sign: str = "") -> dict[str, str]:
    mean = f"{100 * errors.mean():{sign}.2f}" if len(errors) else ""
    interval = mean_interval(errors)
    low, high = (f"{100 * end:{sign}.2f}" for end in interval) if interval else ("", "")
    return {name: mean, f"{name}, from": low, f"{name}, to": high}


def _grid(grid: Sequence[Sequence[Entry]]) -> Block:
    """One or two columns: paper, measured, difference side by side; more: one below the other."""
    texts = [[entry.texts for entry in row] for row in grid]
    kinds = [i for i in range(3) if i == 1 or any(cell[i] for row in texts for cell in row)]
    columns = [entry.cell.column for entry in grid[0]]
    names = [row[0].cell.row for row in grid]
    if len(columns) > 2:
        rows = [
            [name, KINDS[i], *(cell[i] for cell in row)] for name, row in zip(names, texts, strict=True) for i in kinds
        ]
        return Block(header=["", "", *columns], rows=rows)
    rows = [[name, *(cell[i] for cell in row for i in kinds)] for name, row in zip(names, texts, strict=True)]
    return Block(header=["", *(f"{column}, {KINDS[i]}" for column in columns for i in kinds)], rows=rows)


def _csv_line(name: str, entry: Entry) -> dict[str, Any]:
    cell, about = entry.cell, protocol(entry.runs[0]) if entry.runs else {}
    return {
        "table": name, "row": cell.row, "column": cell.column, "metric": cell.metric, "subset": cell.subset,
        "paper": cell.paper, "measured": entry.mean, "spread": entry.spread, "n": len(entry.runs),
        "difference": entry.difference, **{key: about.get(key, "") for key in PROTOCOL},
        "seeds": " ".join(_origin(run)[0] for run in entry.runs),
        "commits": " ".join(dict.fromkeys(_origin(run)[1] for run in entry.runs)),
        "runs": ";".join(run.folder for run in entry.runs),
    }  # fmt: skip
