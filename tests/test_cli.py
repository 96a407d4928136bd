"""The entry points through a shell, as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SMALL = [
    "trainer=cpu", "model=small", "model.channels=8", "model.depth=2", "codec.input_size=64", "codec.heatmap_size=16",
    "data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=1", "trainer.limit_train_batches=1",
    "dataset=synthetic", "dataset.reader.expected.train=24", "dataset.reader.expected.test=8",
]  # fmt: skip


def call(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HYDRA_FULL_ERROR")}
    command = [sys.executable, str(ROOT / "src" / script), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def test_a_sweep_runs_each_value_in_its_own_folder(rendered, tmp_path):
    done = call(
        "train.py", "-m", "loss.omega=10,12", *SMALL, f"paths.data_dir={rendered}", f"paths.runs_dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    configs = sorted(tmp_path.glob("synthetic/sweep_*/*/config.yaml"))
    assert [yaml.safe_load(file.read_text())["loss"]["omega"] for file in configs] == [10, 12]
    for file in configs:
        assert json.loads((file.parent / "test" / "metrics.json").read_text())["subsets"]["full"]["count"] == 8
        assert (file.parent / "checkpoints" / "best.ckpt").is_file()


def test_an_unknown_key_is_answered_with_the_nearest_one():
    done = call("train.py", "loss.omgea=10")
    assert done.returncode == 1
    assert "Did you mean 'loss.omega'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_choice_is_answered_with_the_nearest_one():
    done = call("train.py", "dataset=wflv")
    assert done.returncode == 1
    assert "Did you mean 'wflw'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_data_set_is_answered_with_where_to_get_it(tmp_path):
    done = call("train.py", "dataset=wflw", *SMALL[:10], f"paths.data_dir={tmp_path}", f"output={tmp_path / 'run'}")
    assert done.returncode == 1
    assert "wywu.github.io" in done.stderr and "WFLW_annotations" in done.stderr
    assert "Traceback" not in done.stderr
