"""Resuming of runs: find the checkpoint, check that the run is the same, keep the valid rows of its table."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.plugins.io import TorchCheckpointIO

from awing.errors import ConfigError

# Keys that may differ between the parts of one run: paths, display, devices, and callbacks that only observe. CHOICE is
# an exception, since it chooses the tested checkpoint. Keys of LENGTH may grow until the run is finished.
FREE = (
    "name", "output", "resume", "reuse", "report.", "test", "fps", "paths.", "logger.", "callbacks.best.",
    "callbacks.last.", "callbacks.progress", "callbacks.learning_rate", "callbacks.pictures",
    "callbacks.gradient_scale", "callbacks.terminate_on_nan", "matmul_precision", "training.compile",
    "data.num_workers", "dataset.loader.num_workers", "dataset.root", "dataset.cache", "dataset.split",
    "dataset.subsets", "dataset.reader.train_root", "dataset.reader.images", "trainer.accelerator", "trainer.devices",
    "trainer.num_nodes", "trainer.strategy", "trainer.sync_batchnorm", "trainer.benchmark", "trainer.enable_",
    "trainer.log_every_n_steps", "trainer.detect_anomaly", "trainer.num_sanity_val_steps",
)  # fmt: skip
CHOICE = ("callbacks.best.monitor", "callbacks.best.mode")
LENGTH = ("trainer.max_epochs", "trainer.max_steps", "trainer.limit_", "callbacks.early_stopping")
OWN = ("dataset.root", "dataset.reader.images")  # paths of custom data, which count where trainings are compared
# keys that may also differ between trainings of one protocol: metrics.json has them itself
REPEATED = ("seed", "dataset.loader.seed", "dataset.allow_partial", "trainer.limit_test_batches")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary file in its folder, then rename that: a kill leaves the earlier file intact.

    Lightning's writer moves it from the system's temporary folder: to another disk, a copy that a kill can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        torch.save(checkpoint, part)
        part.replace(file)


def find_resume_checkpoint(resume: str | None, output: Path) -> Path | None:
    """The checkpoint from which a training in ``output`` starts; None if it starts anew.

    With "auto", or in a job that SLURM has requeued, it is the folder's ``last.ckpt`` if there is one.

    Raises:
        ConfigError: the folder holds a run that is not to be resumed, or ``resume`` is no run's checkpoint.
    """
    start = None if resume in (None, "auto") else Path(resume)
    if start and start.suffix != ".ckpt":
        raise ConfigError(f"resume= takes a run's last.ckpt, found {resume}; start from its weights by init={resume}")
    last = output / "checkpoints" / "last.ckpt"
    if resume == "auto" or int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return last if last.is_file() else start
    if (output / "test" / "metrics.json").exists() or any(output.glob("checkpoints/*.ckpt")):
        raise ConfigError(f"{output} holds a run already: go on with it by resume=auto, or choose another output")
    return start


def check_same_run(before: Mapping[str, Any], now: Mapping[str, Any], where: Path, finished: bool = False) -> None:
    """Raise a ConfigError if a run is resumed with another configuration.

    Its length may grow until it is finished, unless the learning rate schedule depends on the length.
    """
    by_epoch = now["optim"]["interval"] != "step"
    old, new = fixed_values(before), fixed_values(now)
    changed = [key for key in sorted(old | new) if (old.get(key) or None) != (new.get(key) or None)]
    if by_epoch and not finished:
        changed = [key for key in changed if not key.startswith(LENGTH)]
    if not changed:
        return
    last = where / "checkpoints" / "last.ckpt" if finished else where
    way = f"A new run starts from its weights by init={last} output=NEW"
    if finished and by_epoch and all(key.startswith(LENGTH) for key in changed):
        way = " ".join([f"To train it longer: resume={last} output=NEW", *(f"{key}={new.get(key)}" for key in changed)])
    lines = [f"  {key}: {old.get(key)} before, {new.get(key)} now" for key in changed]
    raise ConfigError("\n".join([f"{where} is of another run; use the same values, or another output:", *lines, way]))


def find_finished(output: Path, reuse: str | None, config: Mapping[str, Any]) -> Path | None:
    """File of results of the same training in its folder, or of one below ``reuse`` with the same protocol and seed.

    Raises:
        ConfigError: its folder holds a finished training of another configuration.
    """
    if (results := output / "test" / "metrics.json").is_file():
        check_same_run(yaml.safe_load((output / "config.yaml").read_text()), config, output, finished=True)
        return results
    made, wanted, same = training_settings(config), flat(config), (*REPEATED, "dataset.name", "dataset.split")
    for file in sorted(Path(reuse).rglob("config.yaml")) if reuse else []:
        if (results := file.parent / "test" / "metrics.json").is_file():
            before = yaml.safe_load(file.read_text())
            found = flat(before)
            if training_settings(before) == made and all(found.get(key) == wanted.get(key) for key in same):
                return results
    return None


def fixed_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a configuration that must not change when a run is resumed, by dotted keys."""
    return {key: value for key, value in flat(config).items() if key in CHOICE or not key.startswith(FREE)}


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a configuration that determine the weights, by dotted keys; the same for all trainings of a protocol.

    >>> training_settings({"dataset": {"label_noise": {"share": 0.0}, "root": "a"}, "loss": {"omega": 14}, "seed": 1})
    {'loss.omega': 14}
    """
    values = {key: value for key, value in fixed_values(config).items() if key not in REPEATED}
    if values.get("dataset.name") == "custom":  # custom data sets are told apart by their paths
        values |= {key: value for key, value in flat(config).items() if key.startswith(OWN)}
    if not values.get("dataset.label_noise.share"):
        values = {key: value for key, value in values.items() if not key.startswith("dataset.label_noise")}
    if values.get("dataset.name") == "300w_private":  # has no training faces of its own
        values |= {"dataset.name": "300w", "dataset.reader._target_": "awing.data.readers.read_300w"}
    return values


def truncate_metrics(file: Path, step: int) -> None:
    """Remove the rows of ``metrics.csv`` from a step on; they will be logged again."""
    if rows := [row for row in read_rows(file) if int(row["step"]) < step]:
        write_rows(file, list(rows[0]), rows)
    else:
        file.unlink(missing_ok=True)


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV table, without an incomplete last one; none if there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(line for line in stream if line.endswith("\n")))


def write_rows(file: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a CSV table to a temporary file in its folder, then rename that."""
    part = file.with_suffix(".part")
    with part.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(file)


def flat(node: Mapping[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Flatten a nested mapping to dotted keys, or keys joined by another separator.

    >>> flat({"loss": {"omega": 14}, "seed": 0})
    {'loss.omega': 14, 'seed': 0}
    """
    values: dict[str, Any] = {}
    for key, value in node.items():
        own = f"{prefix}{key}"
        values |= flat(value, own + separator, separator) if isinstance(value, Mapping) else {own: value}
    return values
