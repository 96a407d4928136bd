"""Callbacks that Lightning does not bring: pictures of validation faces, and a stop on a broken loss."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from awing.errors import AwingError
from awing.evaluation import draw_faces, log_picture
from awing.images import save_picture
from awing.regressor import LandmarkRegressor


class ValidationPictures(pl.Callback):
    """Draw overlays and heatmaps of the first validation faces, into a folder and to loggers that show images.

    They show the weights that are validated: it stands before a weight averaging callback, which puts the others back.

    Args:
        folder: Where the PNG files go.
        every_n_epochs: How often; epoch ``max_epochs`` is always drawn.
        count: Number of faces.
    """

    def __init__(self, folder: str, every_n_epochs: int = 10, count: int = 8) -> None:
        self.folder, self.every_n_epochs, self.count = Path(folder), every_n_epochs, count

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: LandmarkRegressor) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch + 1
        due = epoch == trainer.max_epochs or epoch % self.every_n_epochs == 0
        if trainer.sanity_checking or not trainer.is_global_zero or not due:
            return
        dataset = trainer.datamodule.dataset("val")  # type: ignore[attr-defined]
        for name, picture in draw_faces(pl_module, dataset, range(min(self.count, len(dataset)))).items():
            save_picture(self.folder / f"{name}_epoch{epoch:03d}.png", picture)
            log_picture(trainer, f"val/{name}", picture)


class ModelCheckpoint(pl.callbacks.ModelCheckpoint):
    """Lightning's, in a run's folder that was moved before the run goes on.

    Lightning's forgets the best score then, and replaces the best checkpoint by a worse one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before, now = state_dict["dirpath"], str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): score for key, score in value.items()}
            return value.replace(before, now, 1) if isinstance(value, str) else value

        super().load_state_dict({key: moved(value) for key, value in state_dict.items()})


class StopOnNonFinite(pl.Callback):
    """Stop when the loss is NaN or infinite, before a step is made with it, and keep the batch.

    Args:
        folder: Where ``nonfinite.pt`` goes: epoch, step and batch.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._batch: Any = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        self._batch = batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        if torch.isfinite(loss):
            return
        file = self.folder / f"nonfinite_rank{trainer.global_rank}.pt"
        state = {"epoch": trainer.current_epoch, "step": trainer.global_step, "batch": self._batch}
        torch.save(state, file)
        raise AwingError(
            f"the loss became {loss.item()} in epoch {trainer.current_epoch}, step {trainer.global_step}; no step was "
            f"made with it, and its batch is in {file}. Lower optim.optimizer.lr, set trainer.gradient_clip_val or "
            "look at the batch"
        )
