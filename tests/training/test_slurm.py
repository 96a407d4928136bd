"""Preemption within one process; and, on a real cluster, sweeps, several nodes, requeued jobs."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from awing.data.loading import EpochSampler
from awing.training import engine, slurm

ROOT = Path(__file__).parents[2]
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
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    signal.signal(signal.SIGUSR2, owner)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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


def test_a_signal_between_training_and_test_requeues(config, rendered, tmp_path, monkeypatch, in_slurm):
    """SIGUSR1's own effect is to end a process: nothing of ours would requeue the job."""
    test, requeued = engine.run_test, []

    def signalled(*parts, **words):
        signal.raise_signal(signal.SIGUSR1)
        return test(*parts, **words)

    monkeypatch.setattr(engine, "run_test", signalled)
    monkeypatch.setattr(slurm, "_requeue", lambda: requeued.append(True))
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(SystemExit, match="saved and requeued"):
        engine.fit(config("train", *TINY, f"paths.data_dir={rendered}"), tmp_path)
    assert requeued == [True] and not (tmp_path / "test" / "metrics.json").exists()
    assert signal.getsignal(signal.SIGUSR1) == before, "and the owner has its signal back"


# On a real cluster. Here: SLURM_CONF set, and SLURM's programs on the path. A name of a node need not be a host's.

cluster = pytest.mark.skipif(
    "SLURM_CONF" not in os.environ or not shutil.which("srun"), reason="no SLURM cluster: SLURM_CONF is not set"
)


def environment(**variables: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "HYDRA_"))}
    kept |= {"SLURM_CONF": os.environ["SLURM_CONF"], "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    return kept | {"PYTHONPATH": str(ROOT / "tests")} | variables


def train(*words: str, before: tuple[str, ...] = ()) -> None:
    command = [*before, sys.executable, str(ROOT / "src" / "train.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def sbatch(words: list[str], log: Path, *options: str, srun: tuple[str, ...] = ()) -> str:
    step = ["srun", *srun, sys.executable, str(ROOT / "src" / "train.py"), *words]
    script = f"#!/bin/bash\n{shlex.join(step)}\n"
    command = ["sbatch", "--parsable", "--requeue", "--time=2", "--ntasks-per-node=1", "--cpus-per-task=1"]
    command += ["--open-mode=append", f"--output={log}", *options]
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, env=environment(), cwd=ROOT, check=True
    )
    return done.stdout.strip()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def queue() -> list[str]:
    found = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, env=environment())
    return found.stdout.split()


def wait_for(what: Callable[[], bool], seconds: int) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(1)


def made(run: Path, steps: int) -> bool:
    file = run / "metrics.csv"
    return file.is_file() and sum(bool(row.get("train/loss")) for row in table(file)) >= steps


SUBMITIT = [
    "hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.array_parallelism=2",
]  # fmt: skip


@cluster
@pytest.mark.slow
def test_a_sweep_of_five_jobs(rendered, tmp_path):
    words = [*TINY, "trainer.max_epochs=1", f"paths.data_dir={rendered}", f"paths.runs_dir={tmp_path}"]
    train("-m", "loss.omega=10,12,14,16,18", *words, *SUBMITIT)
    (sweep,) = tmp_path.glob("synthetic/*")  # named by the moment, the same for all
    for omega in (10, 12, 14, 16, 18):
        folder = sweep / f"loss.omega-{omega}"
        assert yaml.safe_load((folder / "config.yaml").read_text())["loss"]["omega"] == omega
        assert json.loads((folder / "test" / "metrics.json").read_text())["subsets"]["full"]["count"] == 8


@cluster
@pytest.mark.slow
def test_two_nodes_match_one_process_that_accumulates(config, rendered, tmp_path, monkeypatch):
    """One process takes the two ranks' micro-batches in turn; running statistics are rank 0's."""
    words = [*TINY, f"paths.data_dir={rendered}", "test=false"]
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
    monkeypatch.setattr(engine.LandmarkRegressor, "on_train_batch_start", of_rank_0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the two have: sums round by the number of threads
    try:
        engine.fit(config("train", *words, *one), tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    states = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert torch.load(tmp_path / "two/checkpoints/last.ckpt", weights_only=True)["global_step"] == 10
    for name, value in states[0].items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@cluster
@pytest.mark.slow
@pytest.mark.parametrize(("what", "reason"), [
    ("kill", "error: rank 0: another process of this run is gone or stuck|srun: error: node\\d: task 1: Killed"),
    ("fail", "ValueError: made to fail"),
])  # fmt: skip
def test_a_node_whose_task_dies_ends_the_job(rendered, tmp_path, what, reason):
    words = [*TINY, f"paths.data_dir={rendered}", "trainer.num_nodes=2", "trainer.strategy=ddp", "test=false"]
    run, log = tmp_path / "run", tmp_path / "log"
    broken = f"+callbacks.fault={{_target_: faults.Fault, at: 7, what: {what}, rank: 1}}"
    job = sbatch([*words, broken, f"output={run}"], log, "--nodes=2", srun=("--kill-on-bad-exit=1",))
    wait_for(lambda: log.is_file() and "fault at" in log.read_text(), 180)
    wait_for(lambda: job not in queue(), 60)
    assert re.search(reason, log.read_text()), log.read_text()[-3000:]
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 5
    left = subprocess.run(["pgrep", "--full", f"output={run}"], capture_output=True, text=True)
    assert left.stdout == ""


@cluster
@pytest.mark.slow
def test_two_nodes_are_preempted_at_the_same_step(rendered, tmp_path):
    words = [*TINY, f"paths.data_dir={rendered}", "trainer.num_nodes=2", "trainer.strategy=ddp", "test=false"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    slow = "+callbacks.slow={_target_: slowly.Slowly, seconds: 2}"
    job = sbatch([*words, slow, f"output={run}"], tmp_path / "log", "--nodes=2", srun=("--kill-on-bad-exit=1",))
    wait_for(lambda: made(run, 2), 180)
    subprocess.run(["scancel", "--signal=USR1", job], check=True, env=environment())  # what --signal sends
    train(*words, f"output={whole}", before=("srun", "--nodes=2", "--ntasks-per-node=1"))  # when the nodes are free
    wait_for(lambda: made(run, 10), 600)
    wait_for(lambda: (run / "checkpoints" / "best.ckpt").is_file() and job not in queue(), 120)
    log = (tmp_path / "log").read_text()
    (step,) = set(re.findall(r"continues after step (\d+)", log))  # both say the same
    assert 0 < int(step) < 10 and int(step) != 5, log[-3000:]
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(run)[key]), key
    assert table(run / "metrics.csv") == table(whole / "metrics.csv")


@cluster
@pytest.mark.slow
def test_preempted_jobs_checkpoint_requeue_and_finish(rendered, tmp_path):
    """By ``scontrol requeue`` and by a time limit, from sbatch and from submitit: four jobs, none loses a step."""
    words = [*TINY, "data.batch_size=1", f"paths.data_dir={rendered}"]  # 2 epochs of 23 steps
    slow = "+callbacks.slow={_target_: slowly.Slowly, seconds: 2}"
    runs = {name: tmp_path / name for name in ("requeued", "limited", "sweep/loss.omega-10", "sweep/loss.omega-12")}
    jobs = {}
    for name in ("requeued", "limited"):
        jobs[name] = sbatch([*words, slow, f"output={runs[name]}"], tmp_path / f"{name}.log", "--signal=USR1@20")
    limits = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=20", f"output={tmp_path / 'sweep'}"]
    command = [
        sys.executable,
        str(ROOT / "src" / "train.py"),
        "-m",
        "loss.omega=10,12",
        *words,
        slow,
        *SUBMITIT,
        *limits,
    ]
    with (tmp_path / "sweep.log").open("w") as stream:
        sweep = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment(), cwd=ROOT)
    for name in ("requeued", "sweep/loss.omega-10"):
        wait_for(lambda name=name: made(runs[name], 3), 180)
    array = next(f.name for f in (tmp_path / "sweep" / ".submitit").iterdir() if f.name.endswith("_0"))
    for job in (jobs["requeued"], array):
        subprocess.run(["scontrol", "requeue", job], check=True, env=environment())
    for name in ("requeued", "limited"):
        wait_for((runs[name] / "test" / "metrics.json").is_file, 900)
    assert sweep.wait(900) == 0, (tmp_path / "sweep.log").read_text()[-3000:]

    logs = {name: (tmp_path / f"{name}.log").read_text() for name in ("requeued", "limited")}
    for i, omega in enumerate((10, 12)):
        files = (tmp_path / "sweep" / ".submitit" / f"{array[:-2]}_{i}").glob("*.out")
        logs[f"sweep/loss.omega-{omega}"] = "".join(file.read_text() for file in files)
    for name, run in runs.items():
        steps = [int(step) for step in re.findall(r"continues after step (\d+)", logs[name])]
        assert steps and all(0 < step <= 46 for step in steps), logs[name][-3000:]  # 46: in its test
        assert any(step % 23 for step in steps), steps  # within an epoch
        omega = [f"loss.{name.rsplit('.')[-1].replace('-', '=')}"] if "sweep" in name else []
        whole = tmp_path / f"whole-{name.replace('/', '-')}"
        train(*words, *omega, f"output={whole}")
        for key, value in weights(whole).items():
            assert torch.equal(value, weights(run)[key]), (name, key)
        assert table(run / "metrics.csv") == table(whole / "metrics.csv")
        results = [json.loads((folder / "test" / "metrics.json").read_text())["subsets"] for folder in (run, whole)]
        assert results[0] == results[1]
        assert not (run / "error.txt").exists()
