"""Preemption within one process; and, on a real cluster, sweeps, several nodes, requeued jobs."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch

from awing import engine
from awing.slurm import PreemptionCheckpoint

TINY = [
    "model=small", "trainer=cpu", "model.channels=8", "model.depth=2", "codec.input_size=64", "codec.heatmap_size=16",
    "data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=2", "trainer.log_every_n_steps=1",
    "callbacks.progress=null", "dataset=synthetic", "dataset.reader.expected.train=24",
    "dataset.reader.expected.test=8",
]  # fmt: skip


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def in_slurm(monkeypatch):
    """As in a SLURM job's only task, with a handler of SIGUSR2 that exits, as submitit's does."""

    def owner(number, frame):
        raise SystemExit(-1)

    monkeypatch.setenv("SLURM_JOB_ID", "1")
    before = signal.signal(signal.SIGUSR2, owner)
    yield
    signal.signal(signal.SIGUSR2, before)


def preempted_at(monkeypatch, step: int, *signals: signal.Signals) -> None:
    """Have the signals arrive within training step number ``step`` of this process."""
    forward, count = engine.LandmarkRegressor.training_step, iter(range(1_000_000))

    def training_step(self, batch, i):
        if next(count) == step:
            for number in signals:
                signal.raise_signal(number)
        return forward(self, batch, i)

    monkeypatch.setattr(engine.LandmarkRegressor, "training_step", training_step)


AVERAGED = ["callbacks=ema", "callbacks.average.decay=0.9", "optim=adamw"]


@pytest.mark.parametrize(("step", "words"), [  # an epoch has 5 batches of 4
    (1, ["data.num_workers=0"]),
    (7, ["data.num_workers=2", *AVERAGED]),
    (4, AVERAGED),  # its last one: the end of the epoch saves
    (5, ["data.batch_size=2", "trainer.accumulate_grad_batches=2"]),
    (6, ["data.batch_size=2", "trainer.accumulate_grad_batches=2"]),  # between two steps
])  # fmt: skip
def test_a_preempted_run_ends_where_the_uninterrupted_one_does(
    config, rendered, tmp_path, monkeypatch, in_slurm, step, words
):
    def run(name: str, *more: str) -> None:
        engine.fit(config("train", *TINY, f"paths.data_dir={rendered}", *words, "test=false", *more), tmp_path / name)

    run("whole")
    with monkeypatch.context() as context:
        preempted_at(context, step, signal.SIGUSR2)
        with pytest.raises(SystemExit):
            run("parts")
    middle = torch.load(tmp_path / "parts/checkpoints/last.ckpt", weights_only=True)
    assert 0 < middle["global_step"] <= step + 1
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # then it goes on by itself
    run("parts")
    whole, parts = (torch.load(tmp_path / n / "checkpoints/last.ckpt", weights_only=True) for n in ("whole", "parts"))
    assert whole["state_dict"].keys() == parts["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert whole["global_step"] == parts["global_step"]
    rows = [table(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert rows[0] == rows[1]
