"""On a real SLURM cluster: a sweep, two nodes, and jobs that are preempted, requeued and go on."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import COUNTS, ROOT, TINY, table

from awing.data.loading import EpochSampler
from awing.training import engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (os.environ.get("SLURM_CONF") and shutil.which("srun")), reason="SLURM_CONF is not set"),
]
WORDS = [*TINY, "dataset=synthetic", *COUNTS, "trainer.log_every_n_steps=1"]
SLOW = "+callbacks.slow={_target_: slowly.Slowly, seconds: 2}"
SUBMITIT = [
    "hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.array_parallelism=2",
]  # fmt: skip


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "HYDRA_"))}
    kept |= {"SLURM_CONF": os.environ["SLURM_CONF"], "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}


def train(*words: str, before: tuple[str, ...] = ()) -> None:
    command = [*before, sys.executable, str(ROOT / "src" / "train.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def sbatch(words: list[str], log: Path, *options: str) -> str:
    step = ["srun", sys.executable, str(ROOT / "src" / "train.py"), *words]
    command = ["sbatch", "--parsable", "--requeue", "--time=5", "--ntasks-per-node=1", "--cpus-per-task=1"]
    command += ["--open-mode=append", f"--output={log}", *options]
    script = f"#!/bin/bash\n{shlex.join(step)}\n"
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, env=environment(), cwd=ROOT, check=True
    )
    return done.stdout.strip()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def wait_for(what: Callable[[], bool], seconds: int) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(1)


def steps(run: Path) -> int:
    file = run / "metrics.csv"
    return sum(bool(row.get("train/loss")) for row in table(file)) if file.is_file() else 0


def test_two_nodes_match_one_process_that_accumulates(config, rendered, tmp_path, monkeypatch):
    """One process takes the two ranks' micro-batches in turn; running statistics are rank 0's."""
    words = [*WORDS, f"paths.data_dir={rendered}", "test=false"]
    two = ["trainer.num_nodes=2", "trainer.strategy=ddp", f"output={tmp_path / 'two'}"]
    train(*words, *two, before=("srun", "--nodes=2", "--ntasks-per-node=1"))
    one = ["data.batch_size=2", "trainer.accumulate_grad_batches=2", "trainer.limit_train_batches=10"]
    in_order = EpochSampler.__iter__

    def by_rank(self):
        keys = list(in_order(self))
        if self.shuffle:
            keys = [keys[first + i] for first in range(0, len(keys) - 3, 4) for i in (0, 2, 1, 3)]
        return iter(keys)

    def of_rank_0(self, batch, i):
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.1 if i % 2 == 0 else 0.0

    monkeypatch.setattr(EpochSampler, "__iter__", by_rank)
    monkeypatch.setattr("awing.regressor.LandmarkRegressor.on_train_batch_start", of_rank_0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have: sums round by the number of threads
    try:
        engine.fit(config("train", *words, *one), tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    found, expected = weights(tmp_path / "two"), weights(tmp_path / "one")
    for name, value in expected.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_preempted_jobs_lose_at_most_an_epoch(rendered, tmp_path):
    """``scontrol requeue`` of a job of two nodes from sbatch, and of a sweep's job from submitit."""
    words = [*WORDS, "trainer.max_epochs=3", f"paths.data_dir={rendered}"]  # of 5 steps
    run, sweep = tmp_path / "run", tmp_path / "sweep"
    two = ["trainer.num_nodes=2", "trainer.strategy=ddp"]
    job = sbatch([*words, *two, SLOW, f"output={run}", "resume=auto"], tmp_path / "log", "--nodes=2")
    wait_for(lambda: steps(run) >= 7, 300)
    subprocess.run(["scontrol", "requeue", job], check=True, env=environment())
    wait_for((run / "test" / "metrics.json").is_file, 600)
    command = [sys.executable, str(ROOT / "src" / "train.py"), "-m", "loss.omega=10,12", *words, SLOW, *SUBMITIT]
    with (tmp_path / "sweep.log").open("w") as stream:
        launched = subprocess.Popen(
            [*command, f"output={sweep}", "resume=auto"], stdout=stream, stderr=stream, env=environment(), cwd=ROOT
        )
    wait_for(lambda: steps(sweep / "loss.omega-10") >= 7, 300)
    array = next(file.name for file in (sweep / ".submitit").iterdir() if file.name.endswith("_0"))
    subprocess.run(["scontrol", "requeue", array], check=True, env=environment())
    assert launched.wait(900) == 0, (tmp_path / "sweep.log").read_text()[-3000:]

    outputs = "".join(file.read_text() for file in (sweep / ".submitit").rglob("*.out"))
    for log in ((tmp_path / "log").read_text(), outputs):
        assert set(re.findall(r"continues after step (\d+)", log)) == {"5"}, log[-3000:]
    train(*words, *two, f"output={tmp_path / 'whole'}", before=("srun", "--nodes=2", "--ntasks-per-node=1"))
    train(*words, "loss.omega=10", f"output={tmp_path / 'whole-10'}")
    for one, whole in ((run, "whole"), (sweep / "loss.omega-10", "whole-10")):
        for key, value in weights(tmp_path / whole).items():
            assert torch.equal(value, weights(one)[key]), key
        assert table(one / "metrics.csv") == table(tmp_path / whole / "metrics.csv")
        results = [json.loads((folder / "test" / "metrics.json").read_text()) for folder in (one, tmp_path / whole)]
        assert results[0]["subsets"] == results[1]["subsets"]
