"""A callback that breaks a training from within: ``+callbacks.fault={_target_: faults.Fault, at: 3, what: kill}``."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytorch_lightning as pl


class Fault(pl.Callback):
    """Before step ``at``, one rank does ``what`` to itself, to one of its loading processes or to all images."""

    def __init__(self, at: int, what: str, rank: int = 0, images: str = "") -> None:
        self.at, self.what, self.rank, self.images = at, what, rank, images

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if (trainer.global_step, trainer.global_rank) == (self.at, self.rank):
            print(f"fault at {time.time()}", flush=True)
            getattr(self, self.what)()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def kill_worker(self) -> None:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    def bus_error(self) -> None:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGBUS)

    def sleep(self) -> None:
        time.sleep(600)

    def fail(self) -> None:
        raise ValueError("made to fail")

    def cut(self) -> None:
        for file in Path(self.images).rglob("*.jpg"):
            os.truncate(file, 500)

    def delete(self) -> None:
        for file in Path(self.images).rglob("*.jpg"):
            file.unlink()

    def block(self) -> None:
        """Whoever opens a named pipe waits for a writer, as for storage that is gone."""
        self.delete()
        for name in self.names:
            os.mkfifo(name)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.names = list(Path(self.images).rglob("*.jpg")) if self.images else []
