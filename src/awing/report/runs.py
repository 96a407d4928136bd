"""Read the folders of runs and evaluations; unreadable ones are reported, never silently skipped."""

import csv
import json
import math
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from textwrap import shorten
from typing import Any, TextIO

import numpy as np
import yaml

from awing.errors import DataError
from awing.training.resume import flat, training_settings

CURVES = ("train/loss", "train/gradient_norm", "train/mse_all", "train/mse_fg", "val/nme")
ABOUT = ("dataset", "split", "faces", "crop", "crop_scale", "decoder", "seed", "expected", "found", "subsets")


@dataclass(eq=False)
class Run:
    """A training with its test, or an evaluation alone."""

    folder: str  # relative to the folder that was searched
    config: dict[str, Any] = field(default_factory=dict)  # config.yaml; of an evaluation, its training's, if found
    results: dict[str, Any] = field(default_factory=dict)  # metrics.json; {} if there is none
    error: str = ""  # reason why a job failed
    curves: dict[str, dict[int, float]] = field(default_factory=dict)  # column of metrics.csv -> epoch, from 1 -> mean
    faces: tuple[tuple[int, str], ...] = ()  # index and image file name of every face that has an error
    errors: dict[str, np.ndarray] = field(default_factory=dict)  # normaliser -> NME of each of these faces
    evaluation: bool = False  # whether it was made by src/evaluate.py

    @cached_property
    def values(self) -> dict[str, Any]:
        """Configuration, and results under "results.", by dotted keys."""
        return flat({**self.config, "results": self.results})

    @cached_property
    def training(self) -> dict[str, Any]:
        """Values of the configuration that determine the weights, by dotted keys."""
        return training_settings(self.config)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the configuration or the results.

        >>> run = Run("a", {"loss": {"omega": 14}}, {"subsets": {"full": {"fr": {"box": {"0.10": 0.04}}}}})
        >>> run.get("loss.omega"), run.get("results.subsets.full.fr.box.0.10"), run.get("seed")
        (14, 0.04, None)
        """
        return self.values.get(key, default)

    @property
    def status(self) -> str:
        """Status of the run: finished, failed, not tested or unfinished."""
        if self.results:
            return "finished"
        return "failed" if self.error else "not tested" if self.get("test") is False else "unfinished"

    @property
    def protocol(self) -> str:
        """Summary of how a tested run was tested and, if it is a training, trained."""
        faces = "{dataset} {split}: {found} of {expected} faces ({faces}), crop {crop} times {crop_scale}"
        size, epochs = self.get("codec.input_size"), self.get("trainer.max_epochs")
        trained = f", {size} px, {epochs} epochs" if self.config else ""
        mirrored = ", averaged with the mirrored crop" if self.results.get("flip_test") else ""
        return f"{faces.format_map(self.results)}, decoder {self.results['decoder']}{trained}{mirrored}"


def load_runs(root: Path) -> tuple[list[Run], list[Run], list[tuple[str, str]]]:
    """Load trainings and other evaluations (``metrics.json`` alone) below a folder; list unreadable ones, with reasons.

    An evaluation gets configuration and steps from its training, if a finished one has the same weights and seed.
    """
    runs: list[Run] = []
    evaluations: list[Run] = []
    problems: list[tuple[str, str]] = []
    for name, folders, files in os.walk(root):
        folders[:] = sorted({*folders} - {".hydra", "wandb"})  # these have a config.yaml of their own
        folder, shown = Path(name), os.path.relpath(name, root)
        try:
            if "metrics.json" in files:
                evaluations.append(_read_run(folder, shown, evaluation=True))
            elif "config.yaml" in files:
                folders[:] = [other for other in folders if other != "test"]
                runs.append(_read_run(folder, shown, evaluation=False))
        except DataError as error:
            problems.append((shown, str(error)))
    for evaluation in evaluations:
        same = (run for run in runs if run.results and run.get("seed") == evaluation.results["seed"])
        training = next((run for run in same if run.training == evaluation.training), Run(""))
        evaluation.config = training.config
        evaluation.results["trained"] = training.results.get("trained")
    return runs, evaluations, problems


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over runs and sample standard deviation; the latter is None for a single value or if one is not finite.

    >>> mean_and_spread([4.0, 6.0])
    (5.0, 1.4142135623730951)
    """
    spread = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
    return sum(values) / len(values), spread


def _read_run(folder: Path, shown: str, evaluation: bool) -> Run:
    run, config = Run(shown, evaluation=evaluation), folder / ("training.yaml" if evaluation else "config.yaml")
    tested = folder if evaluation else folder / "test"
    if config.exists():
        run.config = _read(config, lambda stream: dict(yaml.load(stream, yaml.CSafeLoader)))  # safe_load is 10x slower
    if (folder / "error.txt").exists():
        run.error = shorten((folder / "error.txt").read_text(), 500, placeholder=" ... (error.txt says more)")
    if (folder / "metrics.csv").exists():
        run.curves = _read(folder / "metrics.csv", _curves)
    if (tested / "metrics.json").exists():
        run.results = _read(tested / "metrics.json", _results)
        run.faces, run.errors = _read(tested / "per_image.csv", _faces)
    return run


def _read(file: Path, parse: Callable[[TextIO], Any]) -> Any:
    """Parse a file; any error of the parser becomes a DataError that names the file."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return parse(stream)
    except Exception as error:
        raise DataError(f"{file.name}: {type(error).__name__}: {error}") from error


def _results(stream: TextIO) -> dict[str, Any]:
    results: dict[str, Any] = json.load(stream)
    full = [results[key] for key in ABOUT][-1]["full"]  # a KeyError where another program or version wrote the file
    full["count"], full["nme"]
    if pck := full.get("pck"):  # mean over joints: two in each group, one in the head's
        joints = sum(2 * share for name, share in pck.items() if name not in ("head", "mean")) + pck["head"]
        pck["mean_of_joints"] = joints / (2 * len(pck) - 3)
    return results


def _curves(stream: TextIO) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, list[float]]] = {column: {} for column in CURVES}
    for row in csv.DictReader(stream):
        for column in CURVES:
            if row.get("epoch") and row.get(column):
                found[column].setdefault(int(row["epoch"]) + 1, []).append(float(row[column]))
    return {column: {epoch: sum(v) / len(v) for epoch, v in epochs.items()} for column, epochs in found.items()}


def _faces(stream: TextIO) -> tuple[tuple[tuple[int, str], ...], dict[str, np.ndarray]]:
    """Read faces and errors, without faces that lack one of the errors, as in :class:`awing.metrics.LandmarkNME`."""
    scored = [row for row in csv.DictReader(stream) if "nan" not in row.values()]
    rows = sorted(scored, key=lambda row: int(row["index"]))
    faces = tuple((int(row["index"]), PurePath(row["image"]).name) for row in rows)
    columns = [name for name in rows[0] if name.startswith("nme_")]
    return faces, {n.removeprefix("nme_"): np.array([float(row[n]) for row in rows]) for n in columns}
