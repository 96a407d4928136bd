"""The paper's tables (paper.yaml): which run stands in which cell, and what may be compared with the paper."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awing.report.protocol import PAPER, Protocol, paper_protocol
from awing.report.runs import Run
from awing.report.statistics import mean_and_spread

KEYS = {  # columns of report.csv that say what was measured
    "data": "results.dataset", "split": "results.split", "faces": "results.faces", "found": "results.found",
    "expected": "results.expected", "crop": "results.crop", "crop scale": "results.crop_scale",
    "decoder": "results.decoder", "input size": "codec.input_size", "epochs": "trainer.max_epochs",
}  # fmt: skip
Placed = Mapping[Run, Protocol]  # runs of one printed table, and the training of the paper in whose place each stands


@dataclass(frozen=True)
class Cell:
    """One place of a table; paper.yaml says what the fields are. Without a protocol it quotes another method."""

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
        """The cell's metric of a run, in the printed unit; None where the run has none."""
        of_faces = f"subsets.{self.subset}." if "." in self.metric else ""  # fps is of none
        value = run.get(f"results.{of_faces}{self.metric}")
        if self.epoch:
            value = run.curves.get(self.metric, {}).get(self.epoch)
        return None if value is None else self.scale * value

    def measured(self, placed: Placed) -> dict[Run, float]:
        """The values of those of the runs that are of the cell and have its metric; of a seed, the first."""
        of_cell = [run for run, protocol in placed.items() if protocol is self.protocol and run.results]
        values = {run: value for run in of_cell if (value := self.value(run)) is not None}
        return {run: values[run] for run in one_of_each_seed(values)}

    def line(self, placed: Placed, differs: Sequence[str] = ()) -> dict[str, Any]:
        """Its line of ``report.csv``: mean, sample standard deviation and difference to the paper, from what runs."""
        measured = self.measured(placed)
        mean, spread = mean_and_spread(list(measured.values())) if measured else (None, None)
        comparable = self.compare and not differs and mean is not None and self.paper is not None
        about = next(iter(measured), Run(""))
        return {
            "row": self.row, "column": self.column, "metric": self.metric, "subset": self.subset, "paper": self.paper,
            "measured": mean, "spread": spread, "n": len(measured),
            "difference": mean - self.paper if comparable else None,  # type: ignore[operator]
            **{name: about.get(key) for name, key in KEYS.items()},
            "seeds": " ".join(str(run.results["seed"]) for run in measured),
            "commits": " ".join(dict.fromkeys(run.results.get("commit") or "" for run in measured)),
            "runs": ";".join(run.folder for run in measured), "differs": "; ".join(differs if measured else ()),
        }  # fmt: skip

    def text(self, line: Mapping[str, Any], kind: str) -> str:
        """Its paper, measured or difference as it is printed; "" where there is nothing."""
        if line[kind] is None:
            return ""
        text = f"{line[kind]:{'+' if kind == 'difference' else ''}.{self.digits}f}"
        if kind == "measured":
            text += "" if line["spread"] is None else f" ± {line['spread']:.{self.digits}f}"
            text += f" (n {line['n']})" if line["n"] > 1 else ""
        return text


@dataclass(frozen=True)
class Table:
    """A table of the paper: rows of cells; or of a sweep, whose rows are told apart by what ``axes`` names."""

    title: str
    normaliser: str
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    also: Sequence[str] = ()
    axes: Sequence[str] = ()

    @property
    def protocols(self) -> list[Protocol]:
        """Its trainings, row by row."""
        return list(dict.fromkeys(cell.protocol for row in self.rows for cell in row if cell.protocol))

    @property
    def curves(self) -> list[str]:
        """The columns of ``metrics.csv`` that it prints; none where it is of the test."""
        return list(dict.fromkeys(cell.metric for row in self.rows for cell in row if cell.epoch))

    def place(self, name: str, run: Run) -> tuple[tuple[str, ...], Protocol] | None:
        """What of a run differs, and the training in whose place it stands: one that it meets or else says it is."""
        of_table = not run.evaluation and run.get("report.table") in (name, *self.also)
        for protocol in self.protocols if run.results or of_table else []:
            if not (differs := protocol.differences(run)):
                return differs, protocol
        if not of_table:
            return None
        meant = (p for p in self.protocols if all(run.get(key) == value for key, value in p.place.items()))
        return next(((protocol.differences(run), protocol) for protocol in meant), None)

    def groups(self, name: str, runs: Iterable[Run]) -> dict[tuple[str, ...], dict[Run, Protocol]]:
        """What differs from the paper's protocols -> its runs, which one printed table shows; nothing comes first."""
        groups: dict[tuple[str, ...], dict[Run, Protocol]] = {(): {}}
        for run in runs:
            if place := self.place(name, run):
                groups.setdefault(place[0], {})[run] = place[1]
        return {differs: placed for differs, placed in groups.items() if placed}

    def variants(self, placed: Placed) -> dict[str, list[Run]]:
        """What tells its trainings apart -> the runs in their places; in the order of the cells."""
        found = {p.label: [run for run, other in placed.items() if other is p] for p in self.protocols}
        return {label: runs for label, runs in found.items() if runs}


def one_of_each_seed(runs: Iterable[Run]) -> list[Run]:
    """The first run of each seed, a training before an evaluation of one."""
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
        tables[name] = Table(table["title"], table["normaliser"], rows, table.get("note", ""), table.get("also", ()))
    return tables


def _cell(table: str, column: dict[str, Any], paper: float | None, row: dict[str, Any]) -> Cell:
    fields = {"metric": ""} | column | row | {"paper": paper}
    job, settings = (tuple({**column.get(k, {}), **row.get(k, {})}.items()) for k in ("job", "settings"))
    protocol = None if fields.pop("quoted", False) else paper_protocol(table, job, settings)
    return Cell(**{k: v for k, v in fields.items() if k not in ("job", "settings")}, protocol=protocol)
