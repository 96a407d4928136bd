"""The LightningModule: encode, network, loss, decode, metrics."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from awing.arrays import Batch
from awing.codec import HeatmapCodec
from awing.losses import HeatmapLoss
from awing.metrics import LandmarkNME, PercentCorrectKeypoints

Maps = Float[Tensor, "b c h w"]  # one per landmark, and the boundary's if the codec draws one


class LandmarkRegressor(pl.LightningModule):
    """Train a network to regress heatmaps and score the landmarks that they decode to.

    The loss is the sum over stacks of ``stack_weight * mean(loss(pred, target) * channel_mask * weight_map(target))``,
    with the mask of the boundary times ``boundary_weight``. The mean divides by the number of map elements, a constant.
    If the scheme has groups of joints and "torso" is a normaliser, a test also computes their PCK.

    Args:
        loss: Function of predicted maps, target maps and a weight per element.
        weight_map: Target maps -> weight of each element (paper 4.3).
        normalisers: Names of the columns of a batch's ``normalisers``; ``val/nme`` uses the first.
        subsets: Names of the columns of a batch's ``subsets``.
        optimizer: Makes the optimizer from groups of parameters; like scheduler, not needed for evaluation.
        scheduler: Makes the schedule from the optimizer (interval "epoch"), or from it and ``total_steps`` ("step").
        flip_test: A test averages the maps with those of the mirrored crop, at twice the time.
        taken: Names of parameters taken from another training; their learning rate is multiplied by ``taken_lr``.
    """

    def __init__(
        self,
        network: nn.Module,
        codec: HeatmapCodec,
        loss: nn.Module,
        weight_map: Callable[[Tensor], Tensor],
        normalisers: Sequence[str],
        subsets: Sequence[str],
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        interval: str = "epoch",
        stack_weights: Sequence[float] | None = None,
        boundary_weight: float = 1.0,
        flip_test: bool = False,
        taken: Collection[str] = (),
        taken_lr: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codec, self.loss, self.weight_map = codec, loss, weight_map
        self.optimizer, self.scheduler, self.interval = optimizer, scheduler, interval
        self.stack_weights, self.boundary_weight, self.flip_test = stack_weights, boundary_weight, flip_test
        self.taken, self.taken_lr = taken, taken_lr
        self.nme = LandmarkNME(normalisers, subsets)
        groups = codec.scheme.groups
        self.pck = PercentCorrectKeypoints(groups) if groups and "torso" in normalisers else None
        self.sums = torch.zeros(3)  # squared_errors, summed over this process's batches of the epoch so far
        # results of the last trainer.test: metrics; peak heights and errors of the landmarks; LandmarkNME.per_image
        self.results: dict[str, Any] = {}
        self.points: list[tuple[Tensor, Tensor]] = []
        self.per_image: tuple[Tensor, Tensor, Tensor] = ()  # type: ignore[assignment]

    def forward(self, image: UInt8[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """RGB crops -> the maps of every stack."""
        maps: list[Tensor] = self.network(image.to(memory_format=torch.channels_last).float() / 255)
        return maps

    def predict(self, image: UInt8[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c h2 w2"]]:
        """RGB crops -> the maps of every stack; with ``flip_test``, averaged with those of the mirrored crop."""
        stacks: list[Tensor] = self(image)
        if self.flip_test:
            mirrored = [self.codec.flip_heatmaps(maps) for maps in self(image.flip(-1))]
            stacks = [(maps + other) / 2 for maps, other in zip(stacks, mirrored, strict=True)]
        return stacks

    def on_train_start(self) -> None:
        """Freeze the statistics of frozen batch normalisations too; if done earlier, Lightning would warn."""
        for module in self.network.modules():
            if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
                module.eval()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        outputs, labelled = self(batch["image"]), batch["labelled"]
        target = self.codec.encode(batch["points"], labelled)
        loss = self.heatmap_loss(outputs, target, labelled)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(labelled))
        self.sums = self.sums.to(loss.device) + squared_errors(outputs[-1].detach(), target, labelled)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's squared errors; Lightning's own logging would write the row after the checkpoint."""
        sums = self.trainer.strategy.reduce(self.sums.to(self.device), reduce_op="sum")
        every, foreground, batches = sums.tolist()
        self.sums = torch.zeros_like(self.sums)
        means = {"train/mse_all": every / batches, "train/mse_fg": foreground / batches, "epoch": self.current_epoch}
        for logger in self.loggers:
            logger.log_metrics(means, step=self.global_step - 1)

    def heatmap_loss(self, outputs: list[Maps], target: Maps, labelled: Bool[Tensor, "b k"]) -> Float[Tensor, ""]:
        """The loss over all stacks and channels of one batch."""
        weight = self.codec.channel_mask(labelled).to(target.dtype)
        if self.codec.boundary:
            weight[:, -1] *= self.boundary_weight
        weight = weight[..., None, None] * self.weight_map(target)
        factors = self.stack_weights or [1.0] * len(outputs)
        if isinstance(self.loss, HeatmapLoss):
            loss = self.loss.prepare(target, weight)
        else:  # a loss of another package
            loss = partial(self.loss, target=target, weight=weight)
        losses = [factor * loss(output) for factor, output in zip(factors, outputs, strict=True)]
        return torch.stack(losses).sum()

    def on_validation_epoch_start(self) -> None:
        self.nme.reset()

    def validation_step(self, batch: Batch, _: int) -> None:
        outputs = self(batch["image"])
        target = self.codec.encode(batch["points"], batch["labelled"])
        loss = self.heatmap_loss(outputs, target, batch["labelled"])
        self.log("val/loss", loss, batch_size=len(target), sync_dist=True)
        self._score(outputs[-1], batch)

    def on_validation_epoch_end(self) -> None:
        full = self.nme.compute()["full"]
        name, *others = self.nme.normalisers
        self.log("val/nme", full["nme"][name], prog_bar=True)
        for other in others:
            self.log(f"val/nme_{other}", full["nme"][other])
        self.log("val/fr_10", full["fr"][name]["0.10"])
        self.log("val/auc_10", full["auc"][name]["0.10"])

    def on_test_epoch_start(self) -> None:
        self.nme.reset()
        self.points = []
        if self.pck is not None:
            self.pck.reset()

    def test_step(self, batch: Batch, _: int) -> None:
        points, target, peaks = self._score(self.predict(batch["image"])[-1], batch)
        labelled, norms = batch["labelled"], batch["normalisers"]
        errors = (points - target).norm(dim=-1) / norms[:, :1]
        self.points.append((peaks, errors.where(labelled, torch.nan)))
        if self.pck is not None:
            torso = norms[:, self.nme.normalisers.index("torso")]
            self.pck.update(points, target, torso, labelled & ~torso.isnan()[:, None], batch["index"])

    def on_test_epoch_end(self) -> None:
        self.results, self.per_image = self.nme.compute(), self.nme.per_image()
        if self.pck is not None:
            self.results["full"]["pck"] = self.pck.compute()

    def configure_optimizers(self) -> Any:
        assert self.optimizer and self.scheduler  # None for evaluation only
        apart = self.taken if self.taken_lr != 1 else ()
        trained = [(name in apart, p) for name, p in self.network.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": [p for at, p in trained if at == there]} for there in (False, True)]
        groups[1]["name"] = "taken"
        optimizer = self.optimizer([group for group in groups if group["params"]])
        length = {}
        if self.interval == "step":  # at 20, OneCycleLR would divide by 0: its warm-up of 5 % minus one step
            length["total_steps"] = max(21, int(self.trainer.estimated_stepping_batches))
        scheduler = self.scheduler(optimizer, **length)
        for group in optimizer.param_groups:  # only now, since OneCycleLR sets one maximum for all groups
            if group.get("name") == "taken":
                group |= {key: value * self.taken_lr for key, value in group.items() if key.endswith("lr")}
        scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}

    def _score(self, maps: Maps, batch: Batch) -> tuple[Tensor, Tensor, Float[Tensor, "b k"]]:
        """Update the NME; return predicted and true points in source px, and the peak heights."""
        inverse = torch.linalg.inv(batch["matrix"])
        decoded, peaks = self.codec.decode(maps)
        points, target = (to_source(inverse, p) for p in (decoded, batch["points"]))
        self.nme.update(points, target, batch["labelled"], batch["normalisers"], batch["index"], batch["subsets"])
        return points, target, peaks


def squared_errors(maps: Maps, target: Maps, labelled: Bool[Tensor, "b k"]) -> Float[Tensor, "3"]:
    """Mean squared error of the labelled landmarks' maps, whatever the training loss is (10.4.1, Table 10).

    Returns:
        Mean over all pixels; mean over foreground pixels, whose target is positive; and 1, to count batches.

    >>> target, labelled = torch.zeros(1, 2, 2, 2), torch.tensor([[True, False]])
    >>> target[0, 0, 0, 0] = 1.0
    >>> squared_errors(torch.full_like(target, 0.5), target, labelled)
    tensor([0.2500, 0.2500, 1.0000])
    """
    k = labelled.shape[1]
    squares = (maps.float() - target).square()[:, :k]
    foreground = target.sign()[:, :k]  # without a label, a map is empty
    every = (squares.mean((2, 3)) * labelled).sum() / labelled.sum().clamp(min=1)
    return torch.stack([every, (squares * foreground).sum() / foreground.sum().clamp(min=1), torch.ones_like(every)])


def to_source(inverse: Float[Tensor, "b 3 3"], points: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
    """Transform points from crop px to source px, in the matrix's precision."""
    return points.to(inverse.dtype) @ inverse[:, :2, :2].mT + inverse[:, None, :2, 2]
