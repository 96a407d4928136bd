"""Jobs of a SLURM cluster: a checkpoint before one ends early, and its way back into the queue."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from awing.errors import AwingError

SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]  # Windows has one


def restarted() -> bool:
    """Whether SLURM runs this job again: it was preempted, requeued, or its node failed."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def plugins() -> list[SLURMEnvironment]:
    """What a trainer needs in a SLURM job: ranks from SLURM, but no requeueing within a signal's handler."""
    ours = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()  # torchrun in a job ranks its own way
    return [SLURMEnvironment(auto_requeue=False)] if ours else []


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Around all of a run: between training and test, too, a signal is noted and does not end the process."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if "SLURM_JOB_ID" in os.environ:
            for number, owner in before.items():
                signal.signal(number, owner)


class PreemptionCheckpoint(Checkpoint):
    """In a SLURM job, save ``last.ckpt`` when a signal says that the job will end; requeue it where that is ours to do.

    A handler only notes the signal: the step is finished first, by all processes the same one.

    * SIGTERM (preemption, ``scontrol requeue``, ``scancel``): save, and train on until SLURM ends the job. Whether it
      starts again is for the one who sent the signal to say.
    * SIGUSR1 or SIGUSR2 (``--signal``, ahead of a time limit): save, requeue, leave. In a job that submitit started,
      submitit requeues.

    Lightning's own requeueing is switched off (:func:`plugins`): it saves in the middle of a step, into a second kind
    of checkpoint, which it prefers ever after, also to later ones.

    Args:
        folder: Where ``last.ckpt`` goes.
    """

    def __init__(self, folder: str) -> None:
        self.file = Path(folder) / "last.ckpt"
        self._owners: dict[int, Any] = {}  # of each signal: the handler that was there before
        self._noted: set[int] = set()
        self._due = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._listen()  # a signal that comes before the first step waits for it

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()  # Lightning has since put itself before SIGTERM: it would leave after the step

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped = trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not (stepped and self._anyone(trainer, self._noted)):
            return
        self._due = True
        if not trainer.is_last_batch:  # else the end of the epoch saves
            trainer.save_checkpoint(self.file, weights_only=False)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        if self._due:  # only now are the step's metrics logged
            self._hand_over(trainer)

    def on_test_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._anyone(trainer, self._noted):  # training is finished and saved
            self._hand_over(trainer)

    def _listen(self) -> None:
        if "SLURM_JOB_ID" in os.environ:
            for number in SIGNALS:
                self._owners.setdefault(number, signal.getsignal(number))
                signal.signal(number, lambda number, _: self._noted.add(number))

    def _hand_over(self, trainer: pl.Trainer) -> None:
        noted = set(self._noted)
        self._due = False
        self._noted -= noted  # not what comes meanwhile
        ours = noted - {signal.SIGTERM}
        if not self._anyone(trainer, ours):
            return
        for number in ours:
            if callable(owner := self._owners[number]):  # submitit's: it exits
                owner(number, None)
        if trainer.is_global_zero:
            _requeue()
        trainer.strategy.barrier()  # srun --kill-on-bad-exit ends the tasks that are left when the first one leaves
        raise SystemExit("saved and requeued")

    def _anyone(self, trainer: pl.Trainer, noted: set[int]) -> bool:
        """Whether a process has noted one; outside SLURM none listens, and none is asked."""
        return bool(self._owners) and trainer.strategy.reduce_boolean_decision(bool(noted), all=False)


def _requeue() -> None:
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        raise AwingError(
            f"job {job} has saved its checkpoint, but SLURM did not requeue it ({done.stderr.strip()}): submit it "
            "again with resume=auto and the same output"
        )
