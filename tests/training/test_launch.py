"""The entry points through a shell, as a user calls them."""

import csv
import json

import pytest
import yaml
from tiny import SMALL, call

from awing.training.resume import flat


def test_a_sweep_runs_each_value_in_its_own_folder(rendered, tmp_path):
    done = call(
        "train.py", "-m", "loss.omega=10,12", *SMALL, f"paths.data_dir={rendered}", f"paths.runs_dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    configs = sorted(tmp_path.glob("synthetic/*/*/config.yaml"))
    assert [yaml.safe_load(file.read_text())["loss"]["omega"] for file in configs] == [10, 12]
    for file in configs:
        assert json.loads((file.parent / "test" / "metrics.json").read_text())["subsets"]["full"]["count"] == 8
        assert (file.parent / "checkpoints" / "best.ckpt").is_file()


def test_processes_train_and_give_the_numbers_of_one(rendered, tmp_path):
    """Eight test faces: three processes, in batches of two each, score the first face twice."""
    two = ["trainer.devices=2", "trainer.strategy=ddp"]
    data = [f"paths.data_dir={rendered}", *SMALL[-3:]]
    trained = call("train.py", *SMALL[:-3], *data, *two, f"output={tmp_path / 'run'}", "trainer.max_epochs=2")
    assert trained.returncode == 0, trained.stderr[-3000:]
    checkpoint = f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}"
    common = [checkpoint, *data, "trainer=cpu", "data.num_workers=0", "data.batch_size=6"]
    for name, extra in (("one", []), ("two", two), ("three", ["trainer.devices=3", "trainer.strategy=ddp"])):
        done = call("evaluate.py", *common, *extra, f"output={tmp_path / name}")
        assert done.returncode == 0, done.stderr[-3000:]
    folders = [tmp_path / name for name in ("one", "two", "three", "run/test")]
    one, *others = (json.loads((folder / "metrics.json").read_text())["subsets"] for folder in folders)
    rows, *other_rows = (
        list(csv.DictReader((folder / "per_image.csv").read_text().splitlines())) for folder in folders
    )
    assert one["full"]["count"] == len(rows) == 8
    for subset, values in one.items():
        for other in others:
            assert other[subset]["count"] == values["count"]
            for metric in ("nme", "fr", "auc"):
                assert flat(other[subset][metric]) == pytest.approx(flat(values[metric]), rel=0, abs=1e-6)
    for row, *same in zip(rows, *other_rows, strict=True):
        for other in same:
            assert (other["index"], other["image"], other["subsets"]) == (row["index"], row["image"], row["subsets"])
            assert float(other["nme_inter_ocular"]) == pytest.approx(float(row["nme_inter_ocular"]), rel=0, abs=1e-6)
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        assert sum(bool(row["val/nme"]) for row in csv.DictReader(stream)) == 2  # one process writes


def test_an_evaluation_of_several_splits_is_a_sweep_too(rendered, tmp_path):
    data = [f"paths.data_dir={rendered}", *SMALL[-3:]]
    done = call("train.py", *SMALL[:-3], *data, f"output={tmp_path / 'run'}", "test=false")
    assert done.returncode == 0, done.stderr
    checkpoint = f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}"
    splits = "dataset.split=train,val,test"
    done = call("evaluate.py", "-m", checkpoint, splits, *data, "trainer=cpu", f"output={tmp_path / 'results'}")
    assert done.returncode == 0, done.stderr
    order = ("train", "val", "test")
    found = [
        json.loads((tmp_path / "results" / f"dataset.split-{split}" / "metrics.json").read_text()) for split in order
    ]
    assert [result["split"] for result in found] == ["train", "val", "test"]
    assert [result["faces"].split(",")[0] for result in found] == [
        "training faces", "cut from the training faces", "official test faces",
    ]  # fmt: skip
    assert sum(result["found"] for result in found) == 32


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["-m", "loss.omega=10,12", "trainer.devices=2"], {}, "one process with one device"),
        (["-m", "loss.omega=10,12", "trainer.num_nodes=2"], {}, "one process with one device"),
        ([], {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, "output=DIR"),
        ([], {"WORLD_SIZE": "2"}, "output=DIR"),
        ([], {"SLURM_RESTART_COUNT": "1"}, "output=DIR"),
    ],
)
def test_processes_that_would_not_share_a_folder_are_refused(tmp_path, words, variables, message):
    done = call("train.py", *words, *SMALL, f"paths.runs_dir={tmp_path}", "paths.data_dir=/nowhere", **variables)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_key_is_answered_with_the_nearest_one():
    done = call("train.py", "loss.omgea=10")
    assert done.returncode == 1
    assert "Did you mean 'loss.omega'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["losss=awing"], ["losss=awing", "dataset=300w"]])
def test_an_unknown_group_is_answered_with_the_nearest_one(words):
    done = call("train.py", *words)
    assert done.returncode == 1
    assert "Did you mean 'loss'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_group_that_an_entry_point_lacks_is_refused_in_a_sentence():
    done = call("evaluate.py", "experiment=quickstart", "checkpoint=x")
    assert done.returncode == 1
    assert "experiment" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_choice_is_answered_with_the_nearest_one():
    done = call("train.py", "dataset=wflv")
    assert done.returncode == 1
    assert "Did you mean 'wflw'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_data_set_is_answered_with_where_to_get_it(tmp_path):
    done = call("train.py", "dataset=wflw", *SMALL[:10], f"paths.data_dir={tmp_path}", f"output={tmp_path / 'run'}")
    assert done.returncode == 1
    assert "wywu.github.io" in done.stderr and "WFLW_annotations" in done.stderr
    assert "Error executing job" not in done.stderr, "Hydra's words"
    assert "Traceback" not in done.stderr
