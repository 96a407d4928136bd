"""Callbacks, and a logger of metrics, that Lightning does not have."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch.optim.swa_utils import get_ema_multi_avg_fn

from awing.data.images import save_picture
from awing.errors import AwingError
from awing.regressor import LandmarkRegressor
from awing.training.evaluation import draw_faces, log_picture
from awing.training.resume import read_rows, write_rows


class ValidationPictures(pl.Callback):
    """Draw overlays and heatmaps of the first validation faces, into a folder and to loggers that support images.

    Place it before a weight averaging callback, which restores the raw weights when a validation ends. The last epoch
    is always drawn.
    """

    def __init__(self, folder: str, every_n_epochs: int = 10, count: int = 8) -> None:
        self.folder, self.every_n_epochs, self.count = Path(folder), every_n_epochs, count

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: LandmarkRegressor) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch + 1
        due = epoch == trainer.max_epochs or epoch % self.every_n_epochs == 0
        if trainer.sanity_checking or not trainer.is_global_zero or not due:
            return
        dataset = trainer.val_dataloaders.dataset  # type: ignore[union-attr]
        for name, picture in draw_faces(pl_module, dataset, range(min(self.count, len(dataset)))).items():
            save_picture(self.folder / f"{name}_epoch{epoch:03d}.png", picture)
            log_picture(trainer, f"val/{name}", picture)


class ModelCheckpoint(pl.callbacks.ModelCheckpoint):
    """Lightning's ModelCheckpoint, for one file in a run's folder; keeps the best score even if the folder is moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        file = Path(str(self.dirpath), f"{self.filename}.ckpt")
        if not file.is_file():
            return  # another folder has no best checkpoint so far
        best = {str(file): score for score in list(state_dict["best_k_models"].values())[:1]}
        here = {"dirpath": self.dirpath, "best_k_models": best, "last_model_path": ""}
        here |= {key: str(file) * bool(state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        super().load_state_dict(state_dict | here)


class EMAWeightAveraging(pl.callbacks.WeightAveraging):
    """Exponential moving average of the weights; the decay of step t is min(decay, (1 + t) / (10 + t)).

    With a constant 0.999, the random weights of the start would still weigh 37 % after 1,000 steps.
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(averages: Any, weights: Any, t: torch.Tensor) -> None:  # checkpoints include t
            now = min(decay, (1 + t.item()) / (10 + t.item()))
            get_ema_multi_avg_fn(now)(averages, weights, t)  # type: ignore[no-untyped-call]

        super().__init__(multi_avg_fn=average)


class GradientScale(pl.Callback):
    """Log the size of each epoch's gradients, absolute and relative to a coupled weight decay.

    ``train/gradient_norm`` is the norm over all layers, ``train/gradient_to_decay`` the median over layers of
    ``|gradient| / (weight_decay * |weight|)``; both are the median over the epoch's steps. A decoupled decay (AdamW)
    is not compared.
    """

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients, decays = [], []
        for group in optimizer.param_groups:
            decay = 0.0 if group.get("decoupled_weight_decay") else group["weight_decay"]
            layers = [p for p in group["params"] if p.ndim > 1 and p.grad is not None]  # neither biases nor scales
            gradients += [p.grad.norm() for p in layers]
            decays += [decay * p.detach().norm() for p in layers]
        norms = torch.stack(gradients)
        self.steps.append(torch.stack([norms.norm(), (norms / torch.stack(decays)).median()]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        norm, ratio = torch.stack(self.steps).median(0).values.tolist()
        self.steps = []
        scale = {"train/gradient_norm": norm, "epoch": trainer.current_epoch}
        if ratio < math.inf:
            scale["train/gradient_to_decay"] = ratio
        for logger in trainer.loggers:
            logger.log_metrics(scale, step=trainer.global_step - 1)


class TerminateOnNaN(pl.Callback):
    """Stop when the loss or the norm of the gradients is NaN or infinite, before a step is made with them.

    In float16 only at a loss scale of 1: above, the scaler skips a step whose gradients overflow, and halves its scale.
    """

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        self.loss = loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if torch.isfinite(self.loss + norm) or (scaler is not None and scaler.get_scale() > 1):
            return
        raise AwingError(
            f"the norm of the gradients became {norm.item()}, the loss {self.loss.item()}, in epoch "
            f"{trainer.current_epoch}, step {trainer.global_step}; no step was made with them, and checkpoints are "
            "good. Lower optim.optimizer.lr or set trainer.gradient_clip_val"
        )


class MetricsLogger(Logger):
    """Write ``metrics.csv`` in a folder, a row for each call; a resumed run continues the existing table."""

    name = version = ""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.file = Path(folder, "metrics.csv")
        self.columns: list[str] = []

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {**metrics, "step": step}
        if row.keys() <= {*self.columns}:
            with self.file.open("a", newline="") as stream:
                csv.DictWriter(stream, self.columns).writerow(row)
        else:
            rows: list[dict[str, Any]] = [*read_rows(self.file), row]
            self.columns = sorted({*rows[0], *row})
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_rows(self.file, self.columns, rows)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: the run's ``config.yaml`` has them."""
