"""Read the folders of runs and evaluations; what cannot be read is named, never skipped."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np

from awing.errors import short
from awing.reading import lines, parse_json, parse_yaml

NEEDED = ("dataset", "split", "faces", "crop", "crop_scale", "decoder", "seed", "expected", "found", "subsets")
DEPTHS = {"count": 0, "nme": 1, "pck": 1, "fr": 2, "auc": 2}  # of a subset's numbers
CURVES = ("train/loss", "train/mse_all", "train/mse_fg", "val/nme")
T = TypeVar("T")


@dataclass
class Run:
    """A training with its test, or an evaluation alone.

    Attributes:
        folder: Relative to the folder that was gathered.
        config: ``config.yaml``; {} of an evaluation.
        results: ``metrics.json``; None where there is none that can be read.
        error: The reason of a job that failed.
        curves: Column of ``metrics.csv`` -> epoch, from 1 -> mean over the epoch's rows.
        faces: (index, file name of the image) of every face that was tested and has an error.
        errors: Normaliser -> NME of each of them.
    """

    folder: str
    config: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] | None = None
    error: str | None = None
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    faces: tuple[tuple[int, str], ...] = ()
    errors: dict[str, np.ndarray] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """A value of the configuration by its dotted key; None where there is none.

        >>> Run("a", {"loss": {"omega": 14}}).get("loss.omega")
        14
        """
        return lookup(self.config, key.split("."))

    @property
    def status(self) -> str:
        """How it ended, in a word or two."""
        if self.results:
            return "finished"
        return "failed" if self.error is not None else "not tested" if self.get("test") is False else "unfinished"

    @property
    def state(self) -> str:
        """How far it came, and why no further."""
        epoch = max((max(curve) for curve in self.curves.values() if curve), default=0)
        reached = f"in epoch {epoch} of {self.get('trainer.max_epochs')}"
        if self.results:
            return self.status + (f"; its error.txt says: {self.error}" if self.error else "")
        return f"{self.status}, {reached}" if self.error is None else f"{self.status} {reached}: {self.error}"


def load_runs(root: Path) -> tuple[list[Run], list[Run], list[tuple[str, str]]]:
    """Read every run and evaluation below a folder.

    Returns:
        Runs (folders with ``config.yaml``), other evaluations (``metrics.json`` without it), and what could not be
        read: where and why.
    """
    runs: list[Run] = []
    evaluations: list[Run] = []
    problems: list[tuple[str, str]] = []
    inside: set[Path] = set()  # runs' folders: a config.yaml further down is something else's (wandb writes one)

    def unreadable(error: OSError) -> None:
        problems.append((str(error.filename), f"the folder cannot be opened: {error.strerror}"))

    for name, folders, files in os.walk(root, onerror=unreadable):
        folders.sort()
        folder = Path(name)
        shown = os.fsencode(os.path.relpath(folder, root)).decode(errors="replace")
        problems += [
            (f"{shown}/{link}", "a link to a folder, not followed")
            for link in folders
            if folder.joinpath(link).is_symlink()
        ]
        of_run = not inside.isdisjoint(folder.parents)
        try:
            if "config.yaml" in files and not of_run:
                inside.add(folder)
                runs.append(_read_run(folder, shown, problems))
            elif "metrics.json" in files and not (folder.name == "test" and folder.parent in inside):
                evaluations.append(Run(shown, results=_results(folder / "metrics.json")))
            elif "error.txt" in files and not of_run:
                problems.append((shown, f"failed before it wrote its config.yaml: {_reason(folder / 'error.txt')}"))
        except _Unreadable as problem:
            problems.append((shown, str(problem)))
    return runs, evaluations, problems


def lookup(node: Any, path: list[str]) -> Any:
    """Follow keys into nested mappings; None where they end."""
    return reduce(lambda value, key: value.get(key) if isinstance(value, Mapping) else None, path, node)


class _Unreadable(Exception):
    """Why a file is not what it should be."""


def _read_run(folder: Path, shown: str, problems: list[tuple[str, str]]) -> Run:
    def attempt(read: Callable[[Path], T], file: str, default: T) -> T:
        try:
            return read(folder / file)
        except _Unreadable as problem:
            problems.append((shown, str(problem)))
            return default

    run = Run(shown, _config(folder / "config.yaml"))
    if (folder / "error.txt").exists():
        run.error = attempt(_reason, "error.txt", "for an unknown reason")
    tested = (folder / "test" / "metrics.json").exists()
    if tested or (folder / "metrics.csv").exists():
        run.curves = attempt(_curves, "metrics.csv", {})
    if tested:
        run.results = attempt(_results, "test/metrics.json", None)
        run.error = run.error if run.results else run.error or "its test/metrics.json cannot be read"
        run.faces, run.errors = attempt(_faces, "test/per_image.csv", (run.faces, run.errors))
        # val/nme needs validation faces, and a run of less than trainer.log_every_n_steps steps logs no train/loss
        wanted = ("train/mse_all", "train/mse_fg", *["val/nme"] * bool(run.get("dataset.val_fraction")))
        if missing := [column for column, curve in run.curves.items() if not curve and column in wanted]:
            problems.append((shown, f"metrics.csv has no value of {', '.join(missing)}"))
    return run


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what goes wrong with a file of unknown content into words."""
    try:
        yield
    except FileNotFoundError:
        raise _Unreadable(f"{file.name} is missing") from None
    except KeyError as error:
        raise _Unreadable(f"{file.name} has no {error}") from None
    except (OSError, ValueError, TypeError, ArithmeticError, csv.Error) as error:
        raise _Unreadable(f"{file.name} is broken: {error}") from None


def _reason(file: Path) -> str:
    with _reading(file):
        words = " ".join(file.read_text(encoding="utf-8", errors="replace").split())
        return words if len(words) <= 500 else f"{words[:500]} ... (error.txt says more)"


def _config(file: Path) -> dict[str, Any]:
    with _reading(file):
        config = parse_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"expected a run's settings, found {str(config)[:60]!r}")
        return config


def _results(file: Path) -> dict[str, Any]:
    with _reading(file):
        results = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(results, dict):
            raise ValueError("expected what src/evaluate.py writes")
        for key in NEEDED:
            results[key]
        subsets = results["subsets"]
        if not isinstance(subsets, dict) or not all(isinstance(values, dict) for values in subsets.values()):
            raise ValueError(f"subsets holds no tables: {str(subsets)[:60]!r}")
        for subset, values in subsets.items():
            for key, depth in DEPTHS.items():
                _check_numbers(values.get(key, {} if depth else 0), f"subsets.{subset}.{key}", depth)
        results["subsets"]["full"]["nme"]
        return results


def _check_numbers(node: Any, name: str, depth: int) -> None:
    """Refuse what are no numbers so many levels down."""
    if depth and isinstance(node, dict):
        for key, value in node.items():
            _check_numbers(value, f"{name}.{key}", depth - 1)
    elif depth or not isinstance(node, int | float):
        raise ValueError(f"{name} is no {'table' if depth else 'number'}: {str(node)[:60]!r}")
    else:
        float(node)  # an integer may be too large for it


def _curves(file: Path) -> dict[str, dict[int, float]]:
    with _reading(file), file.open(newline="", encoding="utf-8") as stream:
        found: dict[str, dict[int, list[float]]] = {column: {} for column in CURVES}
        for row in csv.DictReader(lines(stream)):
            for column in CURVES:
                if row.get("epoch") and row.get(column):
                    if not 0 <= (epoch := int(row["epoch"])) < 1e9:
                        raise ValueError(f"expected the number of an epoch, found {short(row['epoch'])}")
                    found[column].setdefault(epoch + 1, []).append(float(row[column]))
        return {column: {e: sum(v) / len(v) for e, v in epochs.items()} for column, epochs in found.items()}


def _faces(file: Path) -> tuple[tuple[tuple[int, str], ...], dict[str, np.ndarray]]:
    """Faces without an error by one of the normalisers are left out, as :class:`awing.metrics.LandmarkNME` does."""
    with _reading(file), file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(lines(stream))
        columns = [name for name in reader.fieldnames or () if name.startswith("nme_")]
        rows = [(int(r["index"]), PurePath(r["image"]).name, [float(r[c]) for c in columns]) for r in reader]
    kept = [row for row in sorted(rows) if not np.isnan(row[2]).any()]
    errors = np.array([row[2] for row in kept], float).reshape(len(kept), len(columns))
    names = [column.removeprefix("nme_") for column in columns]
    return tuple((index, image) for index, image, _ in kept), dict(zip(names, errors.T, strict=True))
