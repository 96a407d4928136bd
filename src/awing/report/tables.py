"""Which run fills which cell of which table (conf/report.yaml), and what may be compared with the paper."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from awing.errors import ConfigError
from awing.report.runs import Run, lookup
from awing.report.statistics import mean_and_spread
from awing.training.resume import FIXED, flat

# A printed table is of runs that agree in all of this...
PROTOCOL = (
    "data", "split", "faces", "found", "expected", "crop", "crop scale", "decoder", "scale", "input size", "epochs",
)  # fmt: skip
# ...but where its rows or columns are of several data sets or crops: within each of those.
LAID_OUT = {
    "dataset.name": ("data", "split", "faces", "found", "expected", "crop", "crop scale"),
    "dataset.crop": ("crop", "crop scale"),
}
# Of what makes a run, the trainings of a cell agree in all but the seed. Its method may differ from cell to cell...
OWN = ("loss.", "weight_map.", "model.", "dataset.label_noise", "dataset.visible_only")
# ...and all cells of a printed table agree in the rest, but for what its rows and columns vary.
SHARED = (
    *(key for key in FIXED if key not in OWN and not key.startswith(("seed", "dataset."))),
    "model.stacks", "model.channels", "model.depth",
)  # fmt: skip
OF_METHOD = ("codec.scheme", "codec.boundary")  # follow from data set and row


@dataclass(frozen=True)
class Cell:
    """One place of a table; conf/report.yaml says what the fields are."""

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
        """The cell's metric of a run, as it is printed; None where the run has none.

        >>> run = Run("a", results={"subsets": {"full": {"fr": {"inter_ocular": {"0.10": 0.25}}}}})
        >>> Cell("AW", "FR10 %", "fr.inter_ocular.0.10", where={}, protocol={}).value(run)
        25.0
        """
        kind, *rest = self.metric.split(".", 2)
        if "/" in kind:
            value = run.curves.get(kind, {}).get(self.epoch or 0)
        else:
            value = lookup(run.results, ["subsets", self.subset, kind, *rest] if rest else [kind])
        return value * self.scale if isinstance(value, int | float) else None

    def deviations(self, run: Run) -> Iterator[str]:
        """What of a run is not the paper's protocol, in words."""
        for key, paper in self.protocol.items():
            if run.get(key) != paper:
                yield f"{key} is {run.get(key)} (paper: {paper})"
        found = protocol(run)
        if (found["split"], found["faces"]) != ("test", "official test faces"):
            yield f"{found['split']} faces: {found['faces']} (paper: the official test faces)"
        if found["found"] != found["expected"]:
            yield f"{found['found']} of {found['expected']} test faces"


@dataclass(frozen=True)
class Entry:
    """A cell with its runs: mean and spread of what they measured, and the difference to the paper."""

    cell: Cell
    runs: Sequence[Run]
    mean: float | None = None
    spread: float | None = None
    difference: float | None = None

    @property
    def texts(self) -> tuple[str, str, str]:
        """Paper, measured, difference, as they are printed; "" where there is nothing."""
        digits, paper = self.cell.digits, self.cell.paper
        measured = "" if self.mean is None else f"{self.mean:.{digits}f}"
        measured += "" if self.spread is None else f" ± {self.spread:.{digits}f}"
        measured += f" (n {len(self.runs)})" if len(self.runs) > 1 else ""
        difference = "" if self.difference is None else f"{self.difference:+.{digits}f}"
        return "" if paper is None else f"{paper:.{digits}f}", measured, difference


@dataclass(frozen=True)
class Table:
    """A table of the paper: rows of cells."""

    title: str
    normaliser: str
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    also: Sequence[str] = ()

    def has(self, name: str, run: Run) -> bool:
        """Whether a run is of this table, or of one in ``also`` and fits a cell of this one."""
        of = str(run.get("report.table"))
        return of == name or (of in self.also and any(cell.takes(run) for cell in self.cells))

    @property
    def cells(self) -> list[Cell]:
        """All cells, row by row."""
        return [cell for row in self.rows for cell in row]

    @property
    def curves(self) -> tuple[str, ...]:
        """The columns of ``metrics.csv`` that the table prints; none where it is of the test."""
        return tuple(dict.fromkeys(cell.metric for cell in self.cells if "/" in cell.metric))

    def variants(self, runs: Sequence[Run]) -> dict[str, list[Run]]:
        """What the table's rows and columns tell apart -> its runs, a seed each; in the order of the cells."""
        keys = list(dict.fromkeys(key for cell in self.cells for key in cell.where))
        cells, placed = self.cells, [run for run in runs if any(cell.takes(run) for cell in self.cells)]
        found: dict[str, list[Run]] = {}
        for run in sorted(placed, key=lambda run: next(i for i, cell in enumerate(cells) if cell.takes(run))):
            label = ", ".join(_named(key, run.get(key)) for key in keys) or "all runs"
            found.setdefault(label, []).append(run)
        return found

    def groups(self, runs: Sequence[Run]) -> list[list[Run]]:
        """Tested runs that may stand in one printed table: those of one protocol, in a cell but for their seeds."""
        keys = {key for cell in self.cells for key in cell.where}
        laid_out = [key for key in LAID_OUT if key in keys]
        loose = {name for key in laid_out for name in LAID_OUT[key]}
        seen: dict[tuple[Any, ...], list[Any]] = {}
        groups: dict[tuple[Any, ...], list[Run]] = {}

        def nth(place: tuple[Any, ...], found: Any) -> int:
            """How many others were found at this place before."""
            known = seen.setdefault(place, [])
            if found not in known:
                known.append(found)
            return known.index(found)

        for run in runs:
            whole, settings = protocol(run), {k: str(v) for k, v in flat(run.config).items() if k not in keys}
            shared = {k: v for k, v in settings.items() if k.startswith(SHARED) and not k.startswith(OF_METHOD)}
            own = {k: v for k, v in settings.items() if k.startswith(OWN)}
            fixed = (*(whole[name] for name in PROTOCOL if name not in loose), *sorted(shared.items()))
            place = nth((fixed, *(str(run.get(key)) for key in laid_out)), whole)
            group = (fixed, place, nth((fixed, place, *(str(run.get(key)) for key in sorted(keys))), own))
            groups.setdefault(group, []).append(run)
        return list(groups.values())

    def filled(self, runs: Sequence[Run]) -> list[list[Entry]]:
        """The table with one group of runs in it."""
        return [[_entry(cell, [run for run in runs if cell.takes(run)]) for cell in row] for row in self.rows]


def read_tables(settings: Mapping[str, Any]) -> dict[str, Table]:
    """The tables of ``conf/report.yaml``.

    Raises:
        ConfigError: an entry that is none of a table, a row or a column, or a row of another length than the columns.
    """
    tables = {}
    for name, table in settings["tables"].items():
        try:
            common = {**settings["protocol"], **table.get("protocol", {})}
            rows = [_row(common, table["columns"], row) for row in table["rows"]]
            tables[name] = Table(
                table["title"], table["normaliser"], rows, table.get("note", ""), table.get("also", ())
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"conf/report.yaml, {name}: {type(error).__name__} {error}; see its comments") from None
    return tables


def protocol(run: Run) -> dict[str, str]:
    """What the numbers of a tested run depend on, by :data:`PROTOCOL`, in words."""
    results, of_config = run.results or {}, ("report.scale", "codec.input_size", "trainer.max_epochs")
    keys = ("dataset", "split", "faces", "found", "expected", "crop", "crop_scale", "decoder")
    values = [*(results.get(key) for key in keys), *(run.get(key) for key in of_config)]
    return dict(zip(PROTOCOL, map(str, values), strict=True))


def _row(common: dict[str, Any], columns: Sequence[dict[str, Any]], row: dict[str, Any]) -> list[Cell]:
    cells = []
    for column, paper in zip(columns, row.get("paper", [None] * len(columns)), strict=True):
        where, own = ({**column.get(key, {}), **row.get(key, {})} for key in ("where", "protocol"))
        about = {k: v for k, v in {**column, **row}.items() if k not in ("name", "where", "protocol", "paper")}
        expected = {key: value for key, value in {**common, **own}.items() if key not in where}
        cells.append(Cell(row["name"], column["name"], where=where, protocol=expected, paper=paper, **about))
    return cells


def _entry(cell: Cell, runs: Sequence[Run]) -> Entry:
    counted = [run for run in runs if cell.value(run) is not None]
    if not counted:
        return Entry(cell, counted)
    mean, spread = mean_and_spread([value for run in counted if (value := cell.value(run)) is not None])
    comparable = cell.compare and not any(any(cell.deviations(run)) for run in counted)
    return Entry(cell, counted, mean, spread, mean - cell.paper if comparable and cell.paper is not None else None)


def _named(key: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return text if key in ("report.row", "dataset.name") else f"{key.split('.')[-1]} {text}"
