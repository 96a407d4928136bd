"""The averaged weights, and the scale of gradients beside the weight decay."""

import pytest
import pytorch_lightning as pl
import torch
from tiny import table

from awing.training.builders import build
from awing.training.callbacks import EMAWeightAveraging, GradientScale, MetricsLogger


class Walk(pl.LightningModule):
    """One weight that moves by its step number."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, index):
        return -index * self.weight

    def on_train_batch_end(self, *_):
        self.seen.append(self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Slopes(pl.LightningModule):
    """Two layers with gradients that grow with the step, and a bias."""

    def __init__(self, optimizer):
        super().__init__()
        self.optimizer = optimizer
        self.layers = torch.nn.ParameterList([torch.full((2, 2), 3.0), torch.full((1, 1), 1.0), torch.zeros(2)])

    def training_step(self, batch, index):
        return index * sum(slope * p.sum() for slope, p in zip((0.5, 2.0, 1e6), self.layers, strict=True))

    def configure_optimizers(self):
        return self.optimizer(self.parameters(), lr=0.0, weight_decay=0.01)


def fit(module, callback, steps, logger=False):
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callback], logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(range(steps)))


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.AdamW])
def test_gradient_scale_by_hand(tmp_path, optimizer):
    fit(Slopes(optimizer), GradientScale(), 5, MetricsLogger(str(tmp_path / "run")))
    (row,) = table(tmp_path / "run" / "metrics.csv")
    # step 2, the median one: gradients of norms 2 * 0.5 * 2 and 2 * 2, decays of 0.01 * 6 and 0.01
    assert float(row["train/gradient_norm"]) == pytest.approx((2**2 + 4**2) ** 0.5)
    assert (row["epoch"], row["step"]) == ("0", "4")
    ratio = float(row.get("train/gradient_to_decay", 0))  # of AdamW, none
    assert ratio == pytest.approx(2 / 0.06 if optimizer is torch.optim.RMSprop else 0)


def test_decoupled_rmsprop_is_rmsprop_but_for_the_decay(config):
    steps = []
    for name in ("rmsprop", "rmsprop_decoupled"):
        weight = torch.nn.Parameter(torch.full((1,), 0.5))
        optimizer = build(config("train", f"optim={name}").optim.optimizer, weight_decay=0.0)([weight])
        for _ in range(600):  # until the average's start is forgotten
            weight.grad, before = torch.full((1,), 1e-3), weight.item()
            optimizer.step()
        steps.append(before - weight.item())
    assert steps == pytest.approx([1e-4, 1e-4], rel=0.01)


def test_decay_of_the_average_warms_up():
    module = Walk()
    fit(module, EMAWeightAveraging(decay=0.5), 10)
    expected = module.seen[0]
    for t, weight in enumerate(module.seen[1:], start=1):
        decay = min(0.5, (1 + t) / (10 + t))  # 0.5 from t = 8 on
        expected = decay * expected + (1 - decay) * weight
    assert len(module.seen) == 10
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)
