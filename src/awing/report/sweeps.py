"""Tables of sweeps that are none of the paper's: what varies in columns, seeds as mean and spread."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from awing.report.protocol import Protocol, text
from awing.report.runs import Run
from awing.report.tables import Cell, Placed, Table


def own_sweeps(runs: Sequence[Run]) -> dict[str, tuple[Table, Placed]]:
    """A table of each folder that holds several of the trainings, and the places of those: "sweep1" and so on."""
    folders: dict[str, list[Run]] = {}
    for run in runs:
        folders.setdefault(str(PurePath(run.folder).parent), []).append(run)
    several = [(folder, members) for folder, members in folders.items() if len(members) > 1]
    return {f"sweep{number}": _table(*sweep) for number, sweep in enumerate(several, 1)}


def varied_keys(runs: Sequence[Run]) -> list[str]:
    """What differs between trainings, but for their seed; of keys that vary as one, the first.

    >>> runs = [Run("a", {"model": {"boundary": on}, "codec": {"boundary": on}, "seed": on}) for on in (False, True)]
    >>> varied_keys(runs)
    ['model.boundary']
    """
    found: dict[tuple[str, ...], str] = {}
    for key in runs[0].weights:
        values = tuple(str(run.get(key)) for run in runs)
        if len(set(values)) > 1 and all(key in run.weights for run in runs) and not key.startswith("dataset.loader."):
            found.setdefault(values, key)
    return list(found.values())


def _table(folder: str, runs: Sequence[Run]) -> tuple[Table, Placed]:
    axes = varied_keys(runs)
    protocols: dict[tuple[str, ...], Protocol] = {}
    placed = {}
    for run in sorted(runs, key=lambda run: [_order(run.get(key)) for key in axes]):
        place = {key: run.get(key) for key in axes}
        protocol = Protocol((), place, run.weights, run.get("dataset.name"))
        placed[run] = protocols.setdefault(tuple(map(text, place.values())), protocol)
    tested = [run.results["subsets"]["full"]["nme"] for run in runs if run.results]
    normaliser = next(iter(tested[0])) if tested else "none"
    columns = {
        "NME %": f"nme.{normaliser}", "FR10 %": f"fr.{normaliser}.0.10", "best validation NME %": "val_nme_best",
    }  # fmt: skip
    rows = [[Cell(p.label, name, metric, p) for name, metric in columns.items()] for p in protocols.values()]
    return Table(f"Sweep in {folder}", normaliser, rows, axes=axes), placed


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then all else by its text."""
    number = isinstance(value, int | float)
    return not number, value if number else 0, "" if number else str(value)
