"""Runs that something breaks: images, loading processes, ranks. Real processes, really killed."""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.distributed import DistBackendError

from awing.errors import AwingError
from awing.faults import explain
from awing.training import engine

ROOT = Path(__file__).parents[2]
TINY = [
    "model=small", "trainer=cpu", "model.channels=8", "model.depth=2", "codec.input_size=64", "codec.heatmap_size=16",
    "data.batch_size=4", "trainer.max_epochs=3", "trainer.log_every_n_steps=1", "callbacks.progress=null", "test=false",
    "dataset=synthetic", "dataset.reader.expected.train=24", "dataset.reader.expected.test=8",
]  # fmt: skip
STEPS = 5  # an epoch
TWO = ["trainer.strategy=ddp", "trainer.devices=2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
slow = pytest.mark.slow
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")


def broken(folder: Path, data: Path, *words: str, before: tuple[str, ...] | list[str] = ()) -> tuple[int, str, float]:
    """Train in ``folder / "run"`` till the fault ends all processes; exit status, output, seconds since the fault."""
    command = [sys.executable, *before, str(ROOT / "src" / "train.py"), *TINY, f"paths.data_dir={data}"]
    mark = f"BROKEN={folder}"
    variables = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    variables |= {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": f"{torch.get_num_threads()}"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *words, f"output={folder / 'run'}"], env=variables | dict([mark.split("=")]),
            stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
        )  # fmt: skip
        end = time.monotonic() + 150
        while process.poll() is None or (left := marked(mark)):
            assert time.monotonic() < end, f"still there: {left}\n{(folder / 'log').read_text()[-3000:]}"
            time.sleep(0.2)
    output = (folder / "log").read_text()
    begin = re.search(r"fault at ([\d.]+)", output)
    assert begin, output[-3000:]
    return process.returncode, output, time.time() - float(begin[1])


def marked(mark: str) -> list[int]:
    """The processes whose environment holds the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it has ended, or is another user's
            pass
    return found


def fault(what: str, **values: object) -> str:
    return "+callbacks.fault={_target_: faults.Fault, " + ", ".join(
        f"{key}: {value}" for key, value in {"at": STEPS + 2, "what": what, **values}.items()
    ) + "}"  # fmt: skip


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def undisturbed(config, rendered, tmp_path_factory):
    """The weights of a run that nothing breaks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    engine.fit(config("train", *TINY, f"paths.data_dir={rendered}", "data.num_workers=0"), folder)
    return last(folder)["state_dict"]


@pytest.mark.parametrize(("what", "workers", "message"), [
    ("cut", 2, r"error: \S+/\w+\.jpg: expected an image, but the file cannot be decoded; is it truncated\?"),
    ("kill_worker", 2, r"error: a process that loads samples \(pid \d+\) was killed, as the system does"),
    pytest.param("cut", 0, r"error: \S+/\w+\.jpg: expected an image, but", marks=slow),
    pytest.param("delete", 0, r"error: \S+/\w+\.jpg: ", marks=slow),
    pytest.param("delete", 1, r"error: \S+/\w+\.jpg: ", marks=slow),
    pytest.param("block", 2, r"error: no sample came for 3 s from the processes that load them", marks=slow),
    pytest.param("bus_error", 2, r"error: a process that loads samples \(pid \d+\) had no shared mem", marks=slow),
])  # fmt: skip
def test_a_run_stops_with_a_sentence_and_resumes_after_the_repair(
    config, rendered, undisturbed, tmp_path, what, workers, message
):
    shutil.copytree(rendered / "synthetic", tmp_path / "data" / "synthetic")
    words = [f"data.num_workers={workers}", "dataset.worker_timeout=3", fault(what, images=tmp_path / "data")]
    status, output, seconds = broken(tmp_path, tmp_path / "data", *words)
    assert status == 1 and seconds < 30
    assert len(re.findall(message, output)) == 1 and "Traceback" not in output, output[-3000:]
    assert last(tmp_path / "run")["global_step"] in (STEPS, 2 * STEPS)
    repaired = f"paths.data_dir={rendered}"
    engine.fit(config("train", *TINY, repaired, "data.num_workers=0", "resume=auto"), tmp_path / "run")
    for name, value in last(tmp_path / "run")["state_dict"].items():
        assert torch.equal(value, undisturbed[name]), name


@slow
def test_loggers_go_on_with_a_run_that_broke(rendered, tmp_path):
    """Before the first checkpoint, and twice after it: TensorBoard has each step once, Weights & Biases one run."""
    words = ["data.num_workers=0", "callbacks.pictures.every_n_epochs=1", "resume=auto"]
    words += ["logger=wandb", "logger.wandb.offline=true"]
    tensorboard = {
        "_target_": "pytorch_lightning.loggers.TensorBoardLogger",
        "save_dir": tmp_path, "name": "", "version": "events",
    }  # fmt: skip
    words += [f"+logger.tensorboard.{key}={value}" for key, value in tensorboard.items()]
    for at in (2, STEPS + 2, STEPS + 2):
        broken(tmp_path, rendered, *words, fault("fail", at=at))
    ids = [folder.name.rpartition("-")[2] for folder in (tmp_path / "run" / "wandb").glob("offline-run-*")]
    assert len(ids) == 3 and len(set(ids)) == 1
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(STEPS + 2))
    assert [event.step for event in events.Images("val/overlay")] == [STEPS - 1]


@slow
def test_ranks_that_are_cut_off_within_an_epoch_lose_no_digit(rendered, tmp_path, monkeypatch):
    """The means of an epoch are of sums that each rank goes on with; put into one, they would round otherwise."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # then SIGTERM saves
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    words = [*TWO, "data.num_workers=0", "resume=auto", fault("terminate")]
    status, output, _ = broken(tmp_path / "whole", rendered, *words)
    assert status == 0, output[-3000:]
    later = f"+callbacks.later={{_target_: faults.Fault, at: {STEPS + 4}, what: fail}}"
    status, output, _ = broken(tmp_path / "parts", rendered, *words, later)
    assert status and last(tmp_path / "parts" / "run")["awing"]["sums"].shape == (2, 3)
    assert last(tmp_path / "parts" / "run")["global_step"] == STEPS + 3
    status, output, _ = broken(tmp_path / "parts", rendered, *words[:-1], fault("terminate", at=2 * STEPS))
    assert status == 0, output[-3000:]
    whole, parts = ((tmp_path / name / "run" / "metrics.csv").read_text() for name in ("whole", "parts"))
    assert whole == parts


def test_what_breaks_is_said():
    said = {
        "no sample came for 3.0 s": RuntimeError("DataLoader timed out after 3.0 seconds"),
        "the device has not enough memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        "logger.wandb.offline=true": wandb.errors.UsageError("No API key configured. Use `wandb login` to log in."),
        "is gone or stuck": DistBackendError("NCCL communicator was aborted on rank 1."),
        "connection of this run's processes failed": DistBackendError("NCCL error: unhandled cuda error"),
        "No space left on device": OSError(errno.ENOSPC, "No space left on device", "x"),
    }
    for text, error in said.items():
        assert text in str(explain(error)) and isinstance(explain(error), AwingError)
    unknown = ValueError("x")
    assert explain(unknown) is unknown


@pytest.mark.parametrize(("launcher", "what", "rank", "message"), [
    ([], "kill", 0, "error: rank 1: another process of this run is gone or stuck"),
    pytest.param([], "kill", 1, r"Child process with PID \d+ terminated with code -9", marks=slow),
    pytest.param([], "kill_worker", 1, "error: rank 1: a process that loads samples", marks=slow),
    pytest.param([], "kill_worker", 0, "error: rank 0: a process that loads samples", marks=slow),
    pytest.param([], "cut", 0, r"error: rank \d: \S+\.jpg: expected an image", marks=slow),
    pytest.param([], "fail", 0, "ValueError: made to fail", marks=slow),
    pytest.param([], "fail", 1, "ValueError: made to fail", marks=slow),
    pytest.param(TORCHRUN, "kill", 0, r"Root Cause[^=]*: 0 \(local_rank: 0\)[^=]*SIGKILL", marks=slow),
    pytest.param(TORCHRUN, "kill", 1, r"Root Cause[^=]*: 1 \(local_rank: 1\)[^=]*SIGKILL", marks=slow),
    pytest.param(TORCHRUN, "kill_worker", 1, "error: rank 1: a process that loads samples", marks=slow),
    pytest.param(TORCHRUN, "cut", 1, r"error: rank \d: \S+\.jpg: expected an image", marks=slow),
])  # fmt: skip
def test_one_rank_that_dies_ends_all(rendered, tmp_path, launcher, what, rank, message):
    shutil.copytree(rendered / "synthetic", tmp_path / "data" / "synthetic")
    broken_by = fault(what, rank=rank, images=tmp_path / "data")
    status, output, seconds = broken(
        tmp_path, tmp_path / "data", *TWO, "data.num_workers=1", broken_by, before=launcher
    )
    assert status != 0 and seconds < 60
    assert re.search(message, output), output[-3000:]
    assert what == "kill_worker" or "memory" not in output  # torchrun ends the loading processes of the others
    assert last(tmp_path / "run")["global_step"] in (STEPS, 2 * STEPS)


@slow
def test_a_rank_that_hears_nothing_of_a_loss_ends_too(rendered, tmp_path):
    """It sleeps, as one does that waits for a GPU: no connection tells it that rank 0 is gone."""
    asleep = fault("sleep", rank=1).replace("callbacks.fault", "callbacks.asleep")
    status, output, seconds = broken(tmp_path, rendered, *TWO, "data.num_workers=0", asleep, fault("kill"))
    assert status == -9 and seconds < 30
    assert re.search(r"error: process \d+, which started this one \(\d+\), is gone", output), output[-3000:]
