"""What a run logs: its table of metrics, whole at any moment, and what TensorBoard and Weights & Biases need more."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from awing.arrays import Image
from awing.checkpoint import Checkpoint


class MetricsLogger(CSVLogger):
    """Lightning's table of metrics, but whole at any moment: for a new column Lightning empties the file at first."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            Path(self.root_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file = Path(self.metrics_file_path)
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        _write_rows(file, fieldnames, rows)


def truncate_metrics(trainer: pl.Trainer, file: Path, checkpoint: Checkpoint) -> None:
    """Give a resumed run its rows up to the checkpoint back: Lightning's CSV logger starts by deleting the file.

    They lie in ``metrics.part`` meanwhile, where the next try finds them should this one be killed.
    """
    loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
    aside = file.with_suffix(".part")
    source = file if file.is_file() else aside
    if not loggers or not source.is_file():
        return
    with source.open(newline="") as stream:
        whole = (line for line in stream if line.endswith("\n"))  # the last one can be cut short
        rows = [row for row in csv.DictReader(whole) if (row.get("step") or "").isdigit()]
    again = checkpoint.step - checkpoint.in_epoch  # the row of an epoch's end comes again where that is still to come
    kept = [r for r in rows if int(r["step"]) < (again if r.get("train/mse_all") else checkpoint.step)]
    if kept:
        _write_rows(aside, list(kept[0]), kept)
        loggers[0].experiment.metrics_keys = list(kept[0])
        aside.replace(file)


def log_picture(trainer: pl.Trainer, name: str, picture: Image) -> None:
    """Give a picture to the loggers that show pictures."""
    step = trainer.global_step - 1  # the last one that was made, as for metrics
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")


@contextmanager
def finish_loggers(loggers: Sequence[Logger]) -> Iterator[None]:
    """Around a run: a W&B run ends with it, or the next job of a sweep in this process would log into the same one."""
    status = 1
    try:
        yield
        status = 0
    finally:
        if any(isinstance(logger, WandbLogger) for logger in loggers):
            import wandb  # here: it takes a second

            if wandb.run:
                wandb.run.finish(exit_code=status)  # one that failed goes on with resume=auto


def _write_rows(file: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a table that is whole or not there."""
    unfinished = file.with_suffix(".new")
    with unfinished.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(file)
