"""Command lines through a shell, as a user calls them: sweeps, processes, folders, mistakes."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from joblib import Parallel, delayed
from tiny import COUNTS, TINY, call, table

from awing.errors import ConfigError
from awing.training import launch
from awing.training.resume import flat

SYNTHETIC = ["dataset=synthetic", *COUNTS]


@pytest.mark.parametrize("launcher", [[], pytest.param(
    ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], marks=pytest.mark.slow
)])  # fmt: skip
def test_sweep_goes_on_after_a_failed_job(rendered, tmp_path, launcher):
    sweep = tmp_path / "sweep"
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1"]
    words = [*TINY, *SYNTHETIC, *short, f"paths.data_dir={rendered}", f"output={sweep}", *launcher]
    first = call("train.py", "-m", "loss.omega=nan,10", *words)
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    assert "loss.omega-nan/error.txt: awing.losses.AdaptiveWingLoss: omega" in first.stderr
    assert "omega must be positive" in (sweep / "loss.omega-nan" / "error.txt").read_text()
    results = sweep / "loss.omega-10" / "test" / "metrics.json"
    nme = json.loads(results.read_text())["subsets"]["full"]["nme"]["inter_ocular"]
    lines = [" ".join(line.split()) for line in first.stdout.splitlines()]
    assert any(re.match(rf"loss\.omega-10 finished [\d.]+ {100 * nme:.2f}$", line) for line in lines)

    (sweep / "loss.omega-10" / "error.txt").write_text("of an earlier try\n")
    second = call("train.py", "-m", "loss.omega=10,12", *words, "resume=auto")
    assert second.returncode == 0, second.stderr
    assert f"finished before, not run again: {results}" in second.stdout + second.stderr
    assert not (sweep / "loss.omega-10" / "error.txt").exists()
    assert yaml.safe_load((sweep / "loss.omega-12" / "config.yaml").read_text())["loss"]["omega"] == 12
    assert (sweep / "loss.omega-12" / "test" / "metrics.json").is_file()


def test_sweep_of_an_evaluation(rendered, tmp_path):
    data = ["dataset=300w", "dataset.name=own", f"paths.data_dir={rendered}", "dataset.val_fraction=0.1"]
    words = ["checkpoint=300w-small", *data, "dataset.allow_partial=true", "dataset.test_fraction=0.1", "trainer=cpu"]
    done = call("evaluate.py", "-m", "dataset.split=train,val", *words, f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    folders = [tmp_path / f"dataset.split-{split}" for split in ("train", "val")]
    found = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert [result["faces"].split(",")[0] for result in found] == ["training faces", "cut from the training faces"]


def test_two_processes_give_the_numbers_of_one(rendered, tmp_path):
    """Seven test faces: two processes, in batches of three each, score the first face twice."""
    shutil.copytree(rendered / "synthetic", tmp_path / "synthetic")
    next((tmp_path / "synthetic").rglob("*_test_00007.jpg")).unlink()
    data = [f"paths.data_dir={tmp_path}", *SYNTHETIC, "dataset.allow_partial=true"]
    two = ["trainer.devices=2", "trainer.strategy=ddp"]
    trained = call("train.py", *TINY, *data, *two, f"output={tmp_path / 'two'}", "trainer.limit_train_batches=1")
    assert trained.returncode == 0, trained.stderr[-3000:]
    checkpoint = f"checkpoint={tmp_path / 'two' / 'checkpoints' / 'best.ckpt'}"
    words = [checkpoint, *data, "trainer=cpu", "data.num_workers=0", "data.batch_size=6"]
    done = call("evaluate.py", *words, f"output={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (json.loads((tmp_path / f / "metrics.json").read_text())["subsets"] for f in ("one", "two/test"))
    for subset, values in one.items():
        assert other[subset]["count"] == values["count"]
        for metric in ("nme", "fr", "auc"):
            assert flat(other[subset][metric]) == pytest.approx(flat(values[metric]), rel=0, abs=1e-6)
    rows, others = (table(tmp_path / folder / "per_image.csv") for folder in ("one", "two/test"))
    assert len(rows) == 7
    for row, same in zip(rows, others, strict=True):
        assert (same["index"], same["image"], same["subsets"]) == (row["index"], row["image"], row["subsets"])
        assert float(same["nme_inter_ocular"]) == pytest.approx(float(row["nme_inter_ocular"]), rel=0, abs=1e-6)
    assert sum(bool(row["val/nme"]) for row in table(tmp_path / "two" / "metrics.csv")) == 2  # one process writes


@pytest.mark.parametrize(("words", "variables", "message"), [
    (["loss.omgea=10"], {}, "omgea"),
    (["dataset=wflv"], {}, "wflw"),  # Hydra lists the choices
    (["dataset=wflw"], {}, "wywu.github.io"),
    (["resume=auto"], {}, "output=DIR"),
    ([], {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, "output=DIR"),
    (["-m", "loss.omega=10,12", "trainer.devices=2"], {}, "one process with one device"),
])  # fmt: skip
def test_a_mistake_is_answered_in_a_sentence(tmp_path, words, variables, message):
    done = call("train.py", *words, f"paths.runs_dir={tmp_path}", f"paths.data_dir={tmp_path}", **variables)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_lock_run_dir_keeps_a_second_command_out(tmp_path):
    refused = pytest.raises(ConfigError, match="another process runs in")
    with launch.lock_run_dir(tmp_path), refused, launch.lock_run_dir(tmp_path):
        pass
    with FileLock(tmp_path / ".lock", timeout=0):
        pass  # it is free again


def occupy_gpu(job: int, folder: Path) -> tuple[int, str, float, float]:
    """Reserve a GPU and keep it busy: the first job until all others have begun."""
    launch.reserve_gpu(workers=2)
    begin = time.monotonic()
    (folder / f"{job}.begun").touch()
    others = 6 if job == 0 else 2 if job == 1 else 0
    while len(list(folder.glob("*.begun"))) < others and time.monotonic() < begin + 100:
        time.sleep(0.01)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], begin, time.monotonic()


def test_reserve_gpu_gives_each_worker_one_for_its_life(monkeypatch, tmp_path):
    """Devices named as a user may name them; jobs so uneven that job number modulo two would share one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-7a")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    jobs = Parallel(n_jobs=2, backend="loky", batch_size=1)(delayed(occupy_gpu)(job, tmp_path) for job in range(6))
    of_worker = {pid: device for pid, device, _, _ in jobs}
    assert sorted(of_worker.values()) == ["2", "GPU-7a"]
    assert all(of_worker[pid] == device for pid, device, _, _ in jobs)
    assert sum(device == of_worker[jobs[0][0]] for _, device, _, _ in jobs) == 1, "the long job has its GPU alone"


def test_reserve_gpu_refuses_more_workers_than_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match="3 workers for the GPUs 0,1"):
        launch.reserve_gpu(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    launch.reserve_gpu(16)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
