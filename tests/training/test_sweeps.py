"""Sweeps: folders, jobs that are continued, finished or failed, and a GPU for each worker."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from filelock import FileLock
from joblib import Parallel, delayed
from tiny import SMALL, call

from awing.errors import ConfigError
from awing.training.launch import folder_name


def hold(job: int, folder: Path) -> tuple[int, str, float, float]:
    """Claim a GPU, keep it busy: jobs 1 to 3 until four workers run, job 0 until all twelve jobs have begun."""
    from awing.training.devices import claim_gpu

    claim_gpu(workers=4)
    begin = time.monotonic()
    (folder / f"{job}.begun").touch()
    others = {0: 12, 1: 4, 2: 4, 3: 4}.get(job, 0)
    while len(list(folder.glob("*.begun"))) < others and time.monotonic() < begin + 300:
        time.sleep(0.01)
    time.sleep(0.1)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], begin, time.monotonic()


def test_each_worker_holds_one_gpu_for_its_life(monkeypatch, tmp_path):
    """Four devices, named as a user may name them; jobs so uneven that job number modulo four would share some."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5,GPU-7a")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tasks = (delayed(hold)(job, tmp_path) for job in range(12))
    jobs = Parallel(n_jobs=4, backend="loky", batch_size=1)(tasks)
    assert len(jobs) == 12
    assert {device for _, device, _, _ in jobs} == {"0", "2", "5", "GPU-7a"}
    of_worker = {pid: device for pid, device, _, _ in jobs}
    assert all(of_worker[pid] == device for pid, device, _, _ in jobs)
    assert len(set(of_worker.values())) == len(of_worker)
    spans = sorted(jobs, key=lambda job: job[2])
    for i, (_, device, begin, end) in enumerate(spans):
        shared = [job for job in spans[i + 1 :] if job[1] == device and job[2] < end]
        assert not shared, (device, begin, shared)
    modulo = [(i % 4, job[2], job[3]) for i, job in enumerate(jobs)]  # what must not be done
    assert any(a != b and a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in modulo for b in modulo)


@pytest.mark.parametrize(("workers", "message"), [(3, "n_jobs=3 for 2 GPUs"), (-1, "n_jobs to 2 or less")])
def test_more_workers_than_gpus_are_refused(monkeypatch, workers, message):
    from awing.training import devices

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match=message):
        devices.claim_gpu(workers)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_without_gpus_nothing_is_claimed(monkeypatch):
    from awing.training import devices

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    devices.claim_gpu(16)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("overrides", "given", "name"),
    [
        (["loss.omega=10", "output=/a/b"], ["loss.omega=10,12", "output=/a/b", "-m"], "loss.omega-10"),
        (
            ["ablation=aw", "experiment=table7"],
            ["experiment=table7"],
            "ablation-aw",
        ),  # swept by the experiment's own file
        (["+trainer.x=1", "seed=0"], ["+trainer.x=1,2", "seed=range(0,2)"], "trainer.x-1_seed-0"),
        (["seed=0"], ["seed=0"], "0"),
    ],
)
def test_a_jobs_folder_is_named_by_what_varies(overrides, given, name):
    assert folder_name(overrides, given) == name


def test_folders_of_values_that_no_path_can_hold_differ():
    names = {
        folder_name([f"checkpoint={path}"], ["checkpoint=a/b,a_b,a b"]) for path in ("a/b", "a_b", "a b", "a" * 400)
    }
    assert len(names) == 4
    assert all("/" not in name and " " not in name and len(name) < 200 for name in names)


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])
def test_a_sweep_goes_on_where_it_was_cut_off(rendered, tmp_path, launcher):
    """One job of it fails; later one is finished, one unfinished, one mended."""
    sweep = tmp_path / "sweep"
    words = [*SMALL, f"paths.data_dir={rendered}", f"output={sweep}", *launcher]
    first = call("train.py", "-m", "loss.omega=nan,10,12", *words)
    assert first.returncode == 1
    assert "1 of the jobs" in first.stderr and "loss.omega-nan: awing.losses.AdaptiveWingLoss: omega" in first.stderr
    assert "Traceback" not in first.stderr
    nme = json.loads((sweep / "loss.omega-10/test/metrics.json").read_text())["subsets"]["full"]["nme"]["inter_ocular"]
    lines = [" ".join(line.split()) for line in first.stdout.splitlines()]
    assert any(re.match(r"loss\.omega-nan failed\b", line) for line in lines)
    assert any(re.match(rf"loss\.omega-10 finished .* test {100 * nme:.2f} by inter_ocular", line) for line in lines)
    assert "not of the protocol of the paper's Tables 5 and 6 (crop=provided" in first.stdout + first.stderr
    assert "omega must be positive" in (sweep / "loss.omega-nan" / "error.txt").read_text()
    assert "omega: .nan" in (sweep / "loss.omega-nan" / "config.yaml").read_text().lower()
    results = {omega: sweep / f"loss.omega-{omega}" / "test" / "metrics.json" for omega in (10, 12)}
    before = {omega: file.read_text() for omega, file in results.items()}
    results[12].unlink()  # as if it had been cut off in its test
    times = {omega: (file.parents[1] / "checkpoints/last.ckpt").stat().st_mtime_ns for omega, file in results.items()}

    (sweep / "loss.omega-10" / "error.txt").write_text("of an earlier try\n")
    second = call("train.py", "-m", "loss.omega=10,12", *words, "resume=auto")
    assert second.returncode == 0, second.stderr
    printed = second.stdout + second.stderr
    assert f"finished before, not run again: {results[10]}" in printed
    assert "trained to its end before" in printed
    for omega, file in results.items():
        assert json.loads(file.read_text())["subsets"] == json.loads(before[omega])["subsets"]
        assert (file.parents[1] / "checkpoints/last.ckpt").stat().st_mtime_ns == times[omega]
    assert not (sweep / "loss.omega-10" / "error.txt").exists()

    part = call("train.py", "-m", "loss.omega=10,12", "loss.epsilon=1,2", *words, "resume=auto")  # other folders' names
    assert part.returncode == 0, part.stderr
    assert f"not run again: {results[12]}" in part.stdout + part.stderr
    assert not (sweep / "loss.omega-10_loss.epsilon-1" / "checkpoints").exists()
    assert (sweep / "loss.omega-10_loss.epsilon-2" / "checkpoints").exists()

    other = call("train.py", "-m", "loss.omega=10,12", *words, "resume=auto", "loss.epsilon=2")
    assert other.returncode == 1
    assert "loss.epsilon: 1.0 before, 2 now" in other.stdout + other.stderr
    assert not list(sweep.glob("loss.omega-1*/error.txt")), "finished runs have not failed"
    assert {omega: file.read_text() for omega, file in results.items()}[10] == before[10]


def test_an_error_of_unknown_kind_leaves_its_traceback_and_the_others_go_on(rendered, tmp_path):
    """A folder where a job wants to write its configuration."""
    (tmp_path / "sweep" / "loss.omega-10" / "config.yaml").mkdir(parents=True)
    words = [*SMALL, f"paths.data_dir={rendered}", f"output={tmp_path / 'sweep'}"]
    done = call("train.py", "-m", "loss.omega=10,12", *words)
    assert done.returncode == 1
    error = (tmp_path / "sweep" / "loss.omega-10" / "error.txt").read_text()
    assert error.startswith("IsADirectoryError: ")
    assert "Traceback (most recent call last)" in error
    assert (tmp_path / "sweep" / "loss.omega-12" / "test" / "metrics.json").is_file()


def test_two_commands_do_not_share_a_folder(tmp_path):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        done = call("train.py", *SMALL, f"paths.data_dir={tmp_path}", f"output={tmp_path / 'run'}", "resume=auto")
    assert done.returncode == 1
    assert "another process runs in" in done.stderr and "Traceback" not in done.stderr
