"""A run's folder: whether a run may begin in it, goes on, or is finished; and how its checkpoints are written."""

import io
import json
import logging
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from omegaconf import DictConfig
from pytorch_lightning.plugins.io import TorchCheckpointIO

from awing import faults
from awing.checkpoint import Checkpoint
from awing.errors import AwingError, CheckpointError, ConfigError, DamagedCheckpoint, short
from awing.training import slurm

log = logging.getLogger(__name__)
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

# what a run cannot change on the way and still be one run
FIXED: tuple[str, ...] = (
    "seed", "codec.", "model.", "loss.", "weight_map.", "optim.", "augment.", "training.stack", "training.boundary",
    "data.batch_size", "dataset.name", "dataset.scheme", "dataset.crop", "dataset.label_noise", "dataset.visible_only",
    "dataset.normalisers", "dataset.reader.expected", "callbacks.average.",
    "trainer.precision", "trainer.accumulate_grad_batches", "trainer.gradient_clip_val",
)  # fmt: skip
# what a finished run cannot have otherwise and still be the one that is asked for
FIXED_AT_THE_END = (
    "dataset.split", "dataset.val_fraction", "dataset.test_fraction", "dataset.allow_partial",
    "trainer.max_epochs", "trainer.max_steps", "trainer.limit_",
)  # fmt: skip


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and keeps the one before ``last.ckpt`` as ``previous.ckpt``.

    Lightning's own writer goes through the system's temporary folder: onto another disk, its move is a copy that a kill
    cuts short, and no write waits for the disk.

    Args:
        good: Whether the ``last.ckpt`` that is there was read; a damaged one is replaced, and does not become the
            previous one.
    """

    def __init__(self, good: bool) -> None:
        self.good = good

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write beside, wait for the disk, rename.

        Raises:
            CheckpointError: the file cannot be written; what was there before is as it was.
        """
        file, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        part = file.with_suffix(".part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                stream.write(content.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
            if file.name == LAST:
                if self.good and file.exists():
                    file.replace(file.with_name(PREVIOUS))
                self.good = True
            part.replace(file)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise CheckpointError(
                f"{file} cannot be written: {error.strerror}. Checkpoints that are there are good: mend the cause, "
                "then go on with resume=auto and the same output"
            ) from None


def find_resume_checkpoint(cfg: DictConfig, output: Path) -> Checkpoint | None:
    """The checkpoint that a run goes on from; None where it starts anew, or is finished.

    What lies in the folder is continued with ``resume=auto``, or where SLURM starts the job again.

    Raises:
        ConfigError: the folder holds a run that was not asked for.
        CheckpointError: no checkpoint can be read.
    """
    files = [output / "checkpoints" / name for name in (LAST, PREVIOUS, BEST)]
    files = [file for file in files if file.is_file()]
    if cfg.resume == "auto" or slurm.restarted():
        if files:
            return _newest_good(files)
    elif (output / "test" / "metrics.json").exists():
        raise ConfigError(
            f"{output} holds a finished run, tested once: choose another output, evaluate its checkpoints with "
            "src/evaluate.py, or give resume=auto to leave what is finished as it is"
        )
    elif files:
        raise ConfigError(f"{output} holds a run already: continue it with resume=auto, or choose another output")
    return Checkpoint.read_run(Path(cfg.resume)) if cfg.resume not in (None, "auto") else None


def _newest_good(files: list[Path]) -> Checkpoint:
    """The first of a run's checkpoints; where it is damaged, the one of the others that is good and has most steps.

    Raises:
        CheckpointError: none is good, or one is of another format.
    """
    damage, good = [], []
    for file in files:
        try:
            checkpoint = Checkpoint.read_run(file)
        except DamagedCheckpoint as error:
            damage.append(str(error))
            continue
        if file.name == LAST:
            return checkpoint
        good.append(checkpoint)
    if not good:
        raise CheckpointError("no checkpoint of this run is good:\n" + "\n".join(f"  {line}" for line in damage))
    newest = max(good, key=attrgetter("step"))
    for line in damage:
        log.warning("%s; the run goes on from %s, step %d", line, newest.path, newest.step)
    return newest


@contextmanager
def resuming(trainer: pl.Trainer, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Around a training that goes on: before a second step, an error of unknown kind counts as its checkpoint's.

    Raises:
        CheckpointError: nobody looks at a stranger's optimizer, schedule and counters but those who use them.
    """
    try:
        yield
    except (AwingError, OSError, MemoryError):
        raise
    except Exception as error:
        if checkpoint is None or trainer.global_step > checkpoint.step + 1 or faults.explain(error) is not error:
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise CheckpointError(
            f"{checkpoint.path}: training does not go on from here: {type(error).__name__}: {str(error)[:1000]} "
            f"({where.filename}:{where.lineno}). Is an option wrong, or the file of another version, or changed? "
            "HYDRA_FULL_ERROR=1 shows all of it"
        ) from error


def results_of(output: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The test metrics of a finished run; None where it is not finished.

    In a sweep the run may have finished in another job's folder: a part of the sweep names its folders otherwise.

    Raises:
        ConfigError: it is another run than the one that is configured.
    """
    metrics = output / "test" / "metrics.json"
    if metrics.is_file() and metrics.read_bytes().endswith(b"}\n"):  # a power cut can leave an empty one
        check_same_run(output, _config(output), config, FIXED + FIXED_AT_THE_END)
    else:
        beside = output.parent.glob("*/test/metrics.json") if (output.parent / "multirun.yaml").is_file() else ()
        found = (m for m in sorted(beside) if not differences(_config(m.parents[1]), config, FIXED + FIXED_AT_THE_END))
        if (same := next(found, None)) is None:
            return None
        metrics = same
    log.info("finished before, not run again: %s", metrics)
    results: dict[str, Any] = json.loads(metrics.read_text())
    return results


def check_same_run(
    where: Path, before: Mapping[str, Any], now: Mapping[str, Any], fixed: tuple[str, ...] = FIXED
) -> None:
    """Refuse to continue a run as another one.

    Args:
        where: What is continued.
        before, now: Its configuration, and the one that is asked for.
        fixed: The keys, or their beginnings, that must be the same.

    Raises:
        ConfigError: the values that differ.
    """
    if changes := differences(before, now, fixed):
        lines = "\n".join(f"  {key}: {short(old)} before, {short(new)} now" for key, (old, new) in changes.items())
        raise ConfigError(f"{where} is of another run; resume it with the same values, or start anew:\n{lines}")


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], fixed: tuple[str, ...] = FIXED
) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> the two values, where configurations differ in what begins with ``fixed``.

    >>> differences({"seed": 0, "optim": {"interval": "epoch"}}, {"seed": 1, "optim": {"interval": "epoch"}})
    {'seed': (0, 1)}
    """
    if now["optim"]["interval"] == "step":  # the schedule is laid over the whole training
        fixed += ("trainer.max_epochs", "trainer.max_steps")
    old, new = flat(before), flat(now)
    keys = (key for key in sorted(old | new) if key.startswith(fixed) and old.get(key) != new.get(key))
    return {key: (old.get(key), new.get(key)) for key in keys}


def best_or_last(output: Path) -> Path:
    """The checkpoint that is tested."""
    best = output / "checkpoints" / BEST
    return best if best.is_file() else best.with_name(LAST)


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration by dotted keys.

    >>> flat({"loss": {"omega": 14}, "seed": 0})
    {'loss.omega': 14, 'seed': 0}
    """
    values: dict[str, Any] = {}
    for key, value in node.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return values


def _config(output: Path) -> dict[str, Any]:
    file = output / "config.yaml"
    return _read(file, file.stat().st_mtime_ns)


@cache
def _read(file: Path, changed: int) -> dict[str, Any]:
    """Once, though each job of a sweep that is continued looks at all finished ones."""
    config: dict[str, Any] = yaml.safe_load(file.read_text())
    return config
