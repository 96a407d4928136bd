"""Which run fills which cell of the paper's tables (paper.yaml), and what may be compared with the paper."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from awing.report.runs import Run
from awing.report.statistics import mean_and_spread

PAPER = yaml.safe_load(Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8"))
COMPARED = PAPER["compared"]
PROTOCOL: dict[str, str] = COMPARED["protocol"]


@dataclass(frozen=True)
class Cell:
    """One place of a table; paper.yaml says what the fields are."""

    row: str
    column: str
    metric: str
    where: Mapping[str, Any]
    protocol: Mapping[str, Any]
    paper: float | None = None
    subset: str = "full"
    epoch: int | None = None
    scale: float = 100
    digits: int = 2
    compare: bool = True

    def takes(self, run: Run) -> bool:
        """Whether the run's configuration is what the cell asks for."""
        return all(run.get(key) in (want if isinstance(want, list) else [want]) for key, want in self.where.items())

    def value(self, run: Run) -> float | None:
        """The cell's metric of a run, in the printed unit; None where the run has none."""
        of_faces = f"subsets.{self.subset}." if "." in self.metric else ""  # fps is of none
        value = run.get(f"results.{of_faces}{self.metric}")
        if self.epoch:
            value = run.curves.get(self.metric, {}).get(self.epoch)
        return None if value is None else self.scale * value

    def deviations(self, run: Run) -> Iterator[str]:
        """What of a run is not the paper's protocol, in words."""
        for key, paper in self.protocol.items():
            if run.get(key) != paper:
                yield f"{key} is {run.get(key)} (paper: {paper})"
        if run.results["found"] != run.results["expected"]:
            yield f"{run.results['found']} of {run.results['expected']} test faces"

    def measured(self, runs: Sequence[Run]) -> dict[Run, float]:
        """The values of those of the runs that are of the cell and have its metric."""
        return {run: value for run in runs if self.takes(run) and (value := self.value(run)) is not None}

    def line(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Its line of ``report.csv``: mean, sample standard deviation and difference to the paper, from what runs."""
        measured = self.measured(runs)
        mean, spread = mean_and_spread(list(measured.values())) if measured else (None, None)
        comparable = self.compare and not any(any(self.deviations(run)) for run in measured)
        about = next(iter(measured), Run(""))
        return {
            "row": self.row, "column": self.column, "metric": self.metric, "subset": self.subset, "paper": self.paper,
            "measured": mean, "spread": spread, "n": len(measured),
            "difference": None if mean is None or self.paper is None or not comparable else mean - self.paper,
            **{name: about.get(key) for name, key in PROTOCOL.items()},
            "seeds": " ".join(str(run.results["seed"]) for run in measured),
            "commits": " ".join(dict.fromkeys(run.results.get("commit") or "" for run in measured)),
            "runs": ";".join(run.folder for run in measured),
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
    """A table of the paper: rows of cells."""

    title: str
    normaliser: str
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    also: Sequence[str] = ()

    @property
    def cells(self) -> list[Cell]:
        """All cells, row by row."""
        return [cell for row in self.rows for cell in row]

    @property
    def keys(self) -> dict[str, None]:
        """The settings that its rows and columns vary."""
        return dict.fromkeys(key for cell in self.cells for key in cell.where)

    @property
    def curves(self) -> list[str]:
        """The columns of ``metrics.csv`` that it prints; none where it is of the test."""
        return list(dict.fromkeys(cell.metric for cell in self.cells if cell.epoch))

    def has(self, name: str, run: Run) -> bool:
        """Whether a run is of this table, or of one in ``also`` and fits a cell of this one."""
        of = run.get("report.table")
        return of == name or (of in self.also and any(cell.takes(run) for cell in self.cells))

    def variants(self, runs: Sequence[Run]) -> dict[str, list[Run]]:
        """What rows and columns tell apart -> its runs, a seed each; in the order of the cells."""
        found: dict[str, list[Run]] = {}
        for run in dict.fromkeys(run for cell in self.cells for run in runs if cell.takes(run)):
            label = ", ".join(_named(key, run.get(key)) for key in self.keys) or "all runs"
            found.setdefault(label, []).append(run)
        return found

    def groups(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Tested runs by printed table: what must not be compared or averaged is kept apart."""
        groups: list[list[Run]] = []
        for run in runs:
            fitting = (group for group in groups if all(self._comparable(run, other) for other in group))
            if (group := next(fitting, None)) is None:
                groups.append(group := [])
            group.append(run)
        return groups

    def _comparable(self, run: Run, other: Run) -> bool:
        """Whether two runs may stand in one printed table, be it in one cell or in two."""
        apart = [key for key in self.keys if run.get(key) != other.get(key)]
        loose = {name for key in apart for name in COMPARED["laid_out"].get(key, ())}
        prefixes = tuple(COMPARED["shared"] + ([] if apart else COMPARED["method"]))
        keys = {key for key in run.values | other.values if key.startswith(prefixes)} - self.keys.keys()
        keys |= {key for name, key in PROTOCOL.items() if name not in loose}
        return all(run.get(key) == other.get(key) for key in keys)


def read_tables() -> dict[str, Table]:
    """The paper's tables by name: "table1" and so on."""
    tables = {}
    for name, table in PAPER["tables"].items():
        protocol, columns = PAPER["protocol"] | table.get("protocol", {}), table["columns"]
        rows = [
            [_cell(*pair, row, protocol) for pair in zip(columns, row.get("paper", [None] * len(columns)), strict=True)]
            for row in table["rows"]
        ]
        tables[name] = Table(table["title"], table["normaliser"], rows, table.get("note", ""), table.get("also", ()))
    return tables


def _cell(column: dict[str, Any], paper: float | None, row: dict[str, Any], protocol: dict[str, Any]) -> Cell:
    where, own = (column.get(key, {}) | row.get(key, {}) for key in ("where", "protocol"))
    wanted = {key: value for key, value in (protocol | own).items() if key not in where}
    return Cell(**column | row | {"paper": paper, "where": where, "protocol": wanted})


def _named(key: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return text if key in ("report.row", "dataset.name") else f"{key.split('.')[-1]} {text}"
