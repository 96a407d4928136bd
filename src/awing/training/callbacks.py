"""Callbacks that Lightning does not bring: pictures of validation faces, and a stop on a broken loss."""

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from awing.data.images import save_picture
from awing.errors import AwingError
from awing.regressor import LandmarkRegressor
from awing.training.evaluation import draw_faces
from awing.training.loggers import log_picture


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
    """Lightning's, of one file in a run's folder, which may be moved before the run goes on, or be another one.

    Lightning's forgets the best score then and replaces the best checkpoint by a worse one; and it deletes whatever
    file or folder a checkpoint names as the one before.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        file = Path(str(self.dirpath), f"{self.filename}.ckpt")
        if not file.is_file():
            return  # in a folder without that file nothing is the best so far
        scores = list(state_dict["best_k_models"].values())[:1]
        paths = {key: str(file) * bool(state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        here = {
            "dirpath": self.dirpath,
            "last_model_path": "",
            "best_k_models": {str(file): s for s in scores},
            **paths,
        }
        super().load_state_dict(state_dict | here)
        self.current_score = state_dict["current_score"]


class TerminateOnNaN(pl.Callback):
    """Stop when loss or gradients are NaN or infinite, before a step is made with them, and keep what led there.

    With float16, gradients overflow now and then: the scaler leaves such steps out and halves its scale. Only where
    they are not finite at a scale of 1 or less is it not the scale's doing.

    Args:
        folder: Where ``nonfinite_rank0.pt`` goes: epoch, step, the loss as it went backward, the batches of the step,
            and the norms of the network's weights and of their gradients by name.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._batches: list[Any] = []
        self._loss = torch.zeros(())

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        self._batches.append(batch)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        self._loss = loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        batches, self._batches = self._batches, []
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        norm = torch.nn.utils.get_total_norm(gradients.values())
        if torch.isfinite(self._loss + norm):  # waits for the device once
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and scaler.get_scale() > 1:
            return
        file = self.folder / f"nonfinite_rank{trainer.global_rank}.pt"
        where = {"epoch": trainer.current_epoch, "step": trainer.global_step, "loss": self._loss.item()}
        norms = {
            "weights": {name: p.detach().norm().item() for name, p in pl_module.named_parameters()},
            "gradients": {name: gradient.norm().item() for name, gradient in gradients.items()},
        }
        content = io.BytesIO()
        torch.save(where | {"batches": batches, "norms": norms}, content)
        kept = f"The batch and all norms are in {file}"
        try:
            file.write_bytes(content.getbuffer())
        except OSError as error:
            kept = f"{file}, for the batch and all norms, cannot be written: {error.strerror}"
        raise AwingError(
            f"the norm of the gradients became {norm.item()}, the loss {where['loss']}, in epoch {where['epoch']}, "
            f"step {where['step']}; no step was made with them. {kept}. Lower optim.optimizer.lr, set "
            "trainer.gradient_clip_val or look at the batch; earlier checkpoints are good"
        )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to save what a last step made infinite.

        Raises:
            AwingError: a weight is not finite.
        """
        values = checkpoint["state_dict"].items()
        if spoiled := [name for name, value in values if not torch.isfinite(value).all()]:
            raise AwingError(
                f"after step {trainer.global_step}, {len(spoiled)} of the network's tensors are not finite, "
                f"{spoiled[0]} among them, and are not saved; the checkpoints that are there are good. Lower "
                "optim.optimizer.lr or set trainer.gradient_clip_val"
            )
