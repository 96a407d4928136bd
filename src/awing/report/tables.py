"""Tables of the paper (paper.yaml) and of other sweeps: which run fills which cell, and which trainings fill all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from awing.report.protocol import PAPER, Protocol, paper_protocol, text
from awing.report.runs import Run, mean_and_spread

KEYS = {  # columns of report.csv that describe the measurement
    "data": "results.dataset", "split": "results.split", "faces": "results.faces", "found": "results.found",
    "expected": "results.expected", "crop": "results.crop", "crop scale": "results.crop_scale",
    "decoder": "results.decoder", "input size": "codec.input_size", "epochs": "trainer.max_epochs",
}  # fmt: skip
Placed = dict[Run, Protocol]  # runs of one printed table -> the protocol whose place each of them takes
Groups = dict[tuple[str, ...], Placed]  # differences from the paper's protocols -> the runs that have them


@dataclass(frozen=True)
class Cell:
    """One cell of a table; paper.yaml explains the fields. Without a protocol, it quotes another method."""

    row: str
    column: str
    metric: str
    protocol: Protocol | None
    paper: float | None = None
    subset: str = "full"
    epoch: int | None = None
    scale: float = 100
    digits: int = 2
    compare: bool = True

    def value(self, run: Run) -> float | None:
        """The cell's metric of a run, in the printed unit; None if the run has none."""
        of_faces = f"subsets.{self.subset}." if "." in self.metric else ""  # fps is of no subset
        value = run.get(f"results.{of_faces}{self.metric}")
        if self.epoch:
            value = run.curves.get(self.metric, {}).get(self.epoch)
        return None if value is None else self.scale * value

    def line(self, placed: Placed, differs: Sequence[str] = ()) -> dict[str, Any]:
        """The cell's line of ``report.csv``: mean, sample standard deviation, difference to the paper, and the runs."""
        of_cell = [run for run, protocol in placed.items() if protocol is self.protocol and run.results]
        runs = one_of_each_seed(run for run in of_cell if self.value(run) is not None)
        values = [value for run in runs if (value := self.value(run)) is not None]
        mean, spread = mean_and_spread(values) if values else (None, None)
        comparable = self.compare and not differs and mean is not None and self.paper is not None
        about = next(iter(runs), Run(""))
        return {
            "row": self.row, "column": self.column, "metric": self.metric, "subset": self.subset, "paper": self.paper,
            "measured": mean, "spread": spread, "n": len(runs),
            "difference": mean - self.paper if comparable else None,  # type: ignore[operator]
            **{name: about.get(key) for name, key in KEYS.items()},
            "seeds": " ".join(str(run.results["seed"]) for run in runs),
            "commits": " ".join(dict.fromkeys(run.results.get("commit") or "" for run in runs)),
            "runs": ";".join(run.folder for run in runs), "differs": "; ".join(differs if runs else ()),
        }  # fmt: skip

    def text(self, line: Mapping[str, Any], kind: str) -> str:
        """Format a value of the cell's line, of the kind paper, measured or difference; "" if there is none."""
        if line[kind] is None:
            return ""
        printed = f"{line[kind]:{'+' if kind == 'difference' else ''}.{self.digits}f}"
        if kind == "measured":
            printed += "" if line["spread"] is None else f" ± {line['spread']:.{self.digits}f}"
            printed += f" (n {line['n']})" if line["n"] > 1 else ""
        return printed


@dataclass(frozen=True)
class Table:
    """A table of the paper, or of a sweep whose rows differ in the keys of ``axes``."""

    name: str
    title: str
    normaliser: str
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    also: Sequence[str] = ()
    axes: Sequence[str] | None = None  # None: a table of the paper

    @property
    def protocols(self) -> list[Protocol]:
        """Protocols of its trainings, row by row."""
        return list(dict.fromkeys(cell.protocol for row in self.rows for cell in row if cell.protocol))

    @property
    def curves(self) -> list[str]:
        """The columns of ``metrics.csv`` that it prints; none if it prints test results."""
        return list(dict.fromkeys(cell.metric for row in self.rows for cell in row if cell.epoch))

    def place(self, run: Run) -> tuple[tuple[str, ...], Protocol] | None:
        """Differences of a run, and the protocol whose place it takes: one that it meets, else the one it is for."""
        of_table = not run.evaluation and run.get("report.table") in (self.name, *self.also)
        places = [(protocol.differences(run), protocol) for protocol in self.protocols if run.results or of_table]
        met = [place for place in places if not place[0]]
        meant = [place for place in places if of_table and all(run.get(k) == v for k, v in place[1].place.items())]
        return next(iter(met + meant), None)

    def groups(self, runs: Iterable[Run]) -> Groups:
        """Runs of this table, grouped by their differences; runs without differences come first."""
        groups: Groups = {(): {}}
        for run in runs:
            if place := self.place(run):
                groups.setdefault(place[0], {})[run] = place[1]
        return {differs: placed for differs, placed in groups.items() if placed}

    def variants(self, placed: Placed) -> dict[str, list[Run]]:
        """Label of each protocol -> the runs in its place, in the order of the cells."""
        found = {p.label: [run for run, other in placed.items() if other is p] for p in self.protocols}
        return {label: runs for label, runs in found.items() if runs}


def one_of_each_seed(runs: Iterable[Run]) -> list[Run]:
    """The first run of each seed; a training comes before an evaluation of one."""
    first: dict[Any, Run] = {}
    for run in sorted(runs, key=lambda run: run.evaluation):
        first.setdefault(run.results.get("seed", run.get("seed")), run)
    return list(first.values())


def read_tables() -> dict[str, Table]:
    """The paper's tables by name: "table1" and so on."""
    tables = {}
    for name, table in PAPER["tables"].items():
        columns = table["columns"]
        rows = [
            [_cell(name, *pair, row) for pair in zip(columns, row.get("paper", [None] * len(columns)), strict=True)]
            for row in table["rows"]
        ]
        about = {key: value for key, value in table.items() if key not in ("columns", "rows")}
        tables[name] = Table(name=name, rows=rows, **about)
    return tables


def _cell(table: str, column: dict[str, Any], paper: float | None, row: dict[str, Any]) -> Cell:
    fields = {"metric": ""} | column | row | {"paper": paper}
    job, settings = (tuple({**column.get(k, {}), **row.get(k, {})}.items()) for k in ("job", "settings"))
    protocol = None if fields.pop("quoted", False) else paper_protocol(table, job, settings)
    return Cell(**{k: v for k, v in fields.items() if k not in ("job", "settings")}, protocol=protocol)


def own_sweeps(runs: Sequence[Run]) -> list[tuple[Table, Groups]]:
    """A table of each folder that holds several of the trainings ("sweep1" and so on), with these in their places."""
    folders: dict[str, list[Run]] = {}
    for run in runs:
        folders.setdefault(str(PurePath(run.folder).parent), []).append(run)
    several = [(folder, members) for folder, members in folders.items() if len(members) > 1]
    return [_sweep(f"sweep{number}", *sweep) for number, sweep in enumerate(several, 1)]


def varied_keys(runs: Sequence[Run]) -> list[str]:
    """Keys whose values differ between trainings, except their seed; of keys that vary together, the first.

    >>> runs = [Run("a", {"model": {"boundary": on}, "codec": {"boundary": on}, "seed": on}) for on in (False, True)]
    >>> varied_keys(runs)
    ['model.boundary']
    """
    found: dict[tuple[str, ...], str] = {}
    for key in runs[0].training:
        values = tuple(str(run.get(key)) for run in runs)
        if len(set(values)) > 1 and all(key in run.training for run in runs) and not key.startswith("dataset.loader."):
            found.setdefault(values, key)
    return list(found.values())


def _sweep(name: str, folder: str, runs: Sequence[Run]) -> tuple[Table, Groups]:
    axes = varied_keys(runs)
    protocols: dict[tuple[str, ...], Protocol] = {}
    placed: Placed = {}
    for run in sorted(runs, key=lambda run: [_order(run.get(key)) for key in axes]):
        place = {key: run.get(key) for key in axes}
        protocol = Protocol((), place, run.training, run.get("dataset.name"))
        placed[run] = protocols.setdefault(tuple(map(text, place.values())), protocol)
    tested = [run.results["subsets"]["full"]["nme"] for run in runs if run.results]
    normaliser = next(iter(tested[0])) if tested else "none"
    columns = {
        "NME %": f"nme.{normaliser}", "FR10 %": f"fr.{normaliser}.0.10", "best validation NME %": "val_nme_best",
    }  # fmt: skip
    rows = [[Cell(p.label, column, metric, p) for column, metric in columns.items()] for p in protocols.values()]
    return Table(name, f"Sweep in {folder}", normaliser, rows, axes=axes), {(): placed}


def _order(value: Any) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then everything else by its text."""
    return (False, value, "") if isinstance(value, int | float) else (True, 0, str(value))


def print_plan(step_seconds: float) -> None:
    """Print the trainings that fill all tables of the paper, and their hours.

    ``step_seconds`` is the time of an optimizer step of the paper's network: four stacks, the protocol's batch.
    """
    total, gmac = 0.0, PAPER["gmac"]
    trainings: dict[str, list[tuple[str, Protocol]]] = {}  # values that determine the weights -> places in tables
    for name, table in read_tables().items():
        for protocol in table.protocols:
            made_by = sorted((key, text(value)) for key, value in protocol.training.items() if value is not None)
            trainings.setdefault(str(made_by), []).append((name, protocol))
    for (_, first), *others in trainings.values():
        values = first.training
        faces = PAPER["training_faces"][values["dataset.name"]] * (1 - values["dataset.val_fraction"])
        steps = values["trainer.max_epochs"] * int(faces / values["data.batch_size"])
        hours = steps * step_seconds * gmac[values["model.stacks"] - 1] / gmac[-1] / 3600
        total += hours
        also = f"  (also {', '.join(name for name, _ in others)})" if others else ""
        print(f"{hours:5.1f} h {steps:>8,} steps  {' '.join(first.words)}{also}")
    places = sum(map(len, trainings.values()))
    print(f"{total:5.0f} h: {len(trainings)} trainings of one seed fill the {places} places of all tables")
    print(f"A step with four stacks takes step_seconds={step_seconds}, with less by their multiplications.")
