"""The averaged weights: their decay, and what they are worth from the first epoch on."""

import pytest
import pytorch_lightning as pl
import torch
from tiny import run, table

from awing.training.callbacks import EMAWeightAveraging


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


def test_decay_of_the_average_warms_up():
    module, average = Walk(), EMAWeightAveraging(decay=0.5)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[average], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(range(10)))
    expected = module.seen[0]
    for t, weight in enumerate(module.seen[1:], start=1):
        decay = min(0.5, (1 + t) / (10 + t))  # 0.5 from t = 8 on
        expected = decay * expected + (1 - decay) * weight
    assert len(module.seen) == 10
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_average_validates_as_its_weights_after_one_epoch(config, rendered, tmp_path):
    name = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"
    (tmp_path / "faces" / name).parent.mkdir(parents=True)
    (tmp_path / "faces" / "WFLW_images").symlink_to(rendered / "synthetic" / "WFLW_images")
    lines = (rendered / "synthetic" / name).read_text().splitlines(keepends=True)
    (tmp_path / "faces" / name).write_text("".join(lines * 10))  # some 50 steps an epoch
    rows = []
    for callbacks in ("default", "ema"):
        run(
            config, rendered, tmp_path / callbacks, f"callbacks={callbacks}", "optim=adamw", "optim.optimizer.lr=5e-3",
            "dataset=wflw", f"dataset.root={tmp_path / 'faces'}", "dataset.allow_partial=true", "augment=none",
            "dataset.val_fraction=0.3", "dataset.test_fraction=0", "test=false", "trainer.max_epochs=1",
        )  # fmt: skip
        rows += [row for row in table(tmp_path / callbacks / "metrics.csv") if row["val/nme"]]
    raw, averaged = ([float(row[score]) for score in ("val/nme", "val/loss")] for row in rows)
    assert averaged != raw
    assert averaged == pytest.approx(raw, rel=0.1)  # a constant decay of 0.999 nearly doubles both
