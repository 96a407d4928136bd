"""What becomes of a run that is cut off, and of checkpoints that are damaged or cannot be written."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from tiny import run, table

from awing.checkpoint import Checkpoint
from awing.errors import AwingError, CheckpointError, ConfigError, DamagedCheckpoint
from awing.regressor import LandmarkRegressor
from awing.training import resume
from awing.training.callbacks import TerminateOnNaN
from awing.training.loggers import MetricsLogger
from awing.training.resume import WholeCheckpoints


@pytest.fixture(scope="module")
def short(config, rendered, tmp_path_factory) -> Path:
    """A run of two epochs that keeps an average."""
    output = tmp_path_factory.mktemp("short") / "run"
    run(config, rendered, output, "test=false", *AVERAGED)
    return output


@pytest.fixture(scope="module")
def longer(config, rendered, tmp_path_factory) -> Path:
    """The same of three."""
    output = tmp_path_factory.mktemp("longer") / "run"
    run(config, rendered, output, "test=false", "trainer.max_epochs=3", *AVERAGED)
    return output


# an average; and learning rates that change by the epoch
AVERAGED = [
    "callbacks=ema",
    "callbacks.average.decay=0.9",
    "optim.scheduler.milestones=[1,2]",
    "optim.optimizer.lr=1e-3",
]


def same(one, other, where: str = "") -> None:
    """Nested states are equal, tensors bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def state(output: Path) -> dict:
    """All that ``last.ckpt`` holds, without what names the folder."""
    found = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
    del found["awing"]
    for key, values in found["callbacks"].items():
        if key.startswith("ModelCheckpoint"):  # they name files
            found["callbacks"][key] = {k: v for k, v in values.items() if k.endswith(("_score", "kth_value")) or not v}
    return found


def test_a_cut_off_run_is_all_the_same(config, rendered, short, longer, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    run(config, rendered, tmp_path / "run", "test=false", "trainer.max_epochs=3", "resume=auto", *AVERAGED)
    same(state(longer), state(tmp_path / "run"))
    assert table(longer / "metrics.csv") == table(tmp_path / "run" / "metrics.csv")


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize("write", ["before", "after"])
def test_a_run_that_ends_as_it_saves_loses_no_row(config, rendered, longer, tmp_path, monkeypatch, name, write):
    save, count = WholeCheckpoints.save_checkpoint, iter(range(10))

    def dying(self, checkpoint, path, **rest):
        dies = Path(path).name == name and next(count) == 1
        if not (dies and write == "before"):
            save(self, checkpoint, path, **rest)
        if dies:
            raise SystemExit

    words = "test=false", "trainer.max_epochs=3", *AVERAGED
    with monkeypatch.context() as context, pytest.raises(SystemExit):
        context.setattr(WholeCheckpoints, "save_checkpoint", dying)
        run(config, rendered, tmp_path, *words)
    run(config, rendered, tmp_path, *words, "resume=auto")
    same(state(longer), state(tmp_path))
    assert table(longer / "metrics.csv") == table(tmp_path / "metrics.csv")


@pytest.mark.parametrize("kept", ["previous.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_named_and_the_newest_good_one_used(
    config, rendered, short, longer, tmp_path, caplog, kept
):
    shutil.copytree(short, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        if file.name != kept:
            file.write_bytes(file.read_bytes()[:-1000])
    step = Checkpoint.read_run(tmp_path / "run" / "checkpoints" / kept).step
    run(config, rendered, tmp_path / "run", "test=false", "trainer.max_epochs=3", "resume=auto", *AVERAGED)
    assert "last.ckpt cannot be read as a checkpoint" in caplog.text and f"{kept}, step {step}" in caplog.text
    same(state(longer), state(tmp_path / "run"))
    assert table(longer / "metrics.csv") == table(tmp_path / "run" / "metrics.csv")


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.part"])  # a kill after the rows were set aside, too
def test_a_row_that_was_cut_short_is_written_again(config, rendered, short, longer, tmp_path, name):
    shutil.copytree(short, tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").rename(tmp_path / "run" / name)
    with (tmp_path / "run" / name).open("a") as stream:
        stream.write(",,1")  # of "10"
    run(config, rendered, tmp_path / "run", "test=false", "trainer.max_epochs=3", "resume=auto", *AVERAGED)
    assert table(longer / "metrics.csv") == table(tmp_path / "run" / "metrics.csv")
    assert not list((tmp_path / "run").glob("*.part"))


def test_a_run_that_ends_in_its_test_is_tested_with_the_same_results(config, rendered, tmp_path, monkeypatch):
    def ended(*_):
        raise SystemExit

    run(config, rendered, tmp_path / "whole")
    with monkeypatch.context() as context, pytest.raises(SystemExit):
        context.setattr(LandmarkRegressor, "test_step", ended)
        run(config, rendered, tmp_path / "parts")
    run(config, rendered, tmp_path / "parts", "resume=auto")
    one, other = (json.loads((tmp_path / n / "test" / "metrics.json").read_text()) for n in ("whole", "parts"))
    assert one.pop("checkpoint") != other.pop("checkpoint") and one == other
    assert one["val_nme_last"] > 0


def test_a_damaged_checkpoint_does_not_become_the_previous_one(config, rendered, short, tmp_path, monkeypatch):
    shutil.copytree(short, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    (folder / "best.ckpt").unlink()
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:-1000])
    good = (folder / "previous.ckpt").read_bytes()
    run(config, rendered, tmp_path / "run", "test=false", "resume=auto", *AVERAGED)
    assert (folder / "previous.ckpt").read_bytes() == good
    assert Checkpoint.read_run(folder / "last.ckpt").step == Checkpoint.read_run(folder / "previous.ckpt").step + 5


def test_a_checkpoint_names_no_file_that_is_deleted(config, rendered, short, tmp_path):
    """Lightning deletes the checkpoint before, by the path in the callback's state; a stranger's may say any."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    found = torch.load(short / "checkpoints" / "last.ckpt", weights_only=True)
    for key, values in found["callbacks"].items():
        if key.startswith("ModelCheckpoint"):
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                values[name] = "EVIL/../../../victim"
            values["dirpath"] = "EVIL"
            values["best_k_models"] = dict.fromkeys(["EVIL/../../../victim"], torch.tensor(9.0))
    torch.save(found, tmp_path / "evil.ckpt")
    words = "test=false", "trainer.max_epochs=3", f"resume={tmp_path / 'evil.ckpt'}", *AVERAGED
    run(config, rendered, tmp_path / "a" / "b", *words)
    assert (victim / "file").exists()


def test_a_run_in_another_folder_keeps_a_best_checkpoint_of_its_own(config, rendered, short, tmp_path):
    found = torch.load(short / "checkpoints" / "last.ckpt", weights_only=True)
    for key, values in found["callbacks"].items():
        if "val/nme" in key:
            values["best_model_score"] = values["kth_value"] = torch.tensor(0.0)
    torch.save(found, tmp_path / "unbeatable.ckpt")
    words = "test=false", "trainer.max_epochs=3", f"resume={tmp_path / 'unbeatable.ckpt'}", *AVERAGED
    run(config, rendered, tmp_path / "new", *words)
    assert Checkpoint.read_run(tmp_path / "new" / "checkpoints" / "best.ckpt").step == 15


@pytest.mark.parametrize(("step", "raised", "becomes"), [
    (10, LookupError("of a user's callback"), CheckpointError),
    (12, LookupError("of a user's callback"), LookupError),
    (10, torch.OutOfMemoryError("of a user's callback"), torch.OutOfMemoryError),
    (10, OSError("of a user's callback"), OSError),
])  # fmt: skip
def test_an_error_after_two_steps_is_not_the_checkpoints(
    config, rendered, short, tmp_path, monkeypatch, step, raised, becomes
):
    def fail(self, trainer, *_) -> None:
        if trainer.global_step == step:
            raise raised

    monkeypatch.setattr(TerminateOnNaN, "on_train_batch_start", fail)
    words = "test=false", "trainer.max_epochs=3", f"resume={short / 'checkpoints' / 'last.ckpt'}", *AVERAGED
    with pytest.raises(becomes, match="of a user's callback"):
        run(config, rendered, tmp_path, *words)


def test_rows_are_written_once_where_validation_is_rarer(config, rendered, tmp_path):
    """The best checkpoint is then saved before its epoch's last row is written."""
    words = "test=false", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2", *AVERAGED
    run(config, rendered, tmp_path / "whole", *words)
    run(config, rendered, tmp_path / "run", *words[:1], "trainer.max_epochs=2", *words[2:])
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / "run" / "checkpoints" / name).unlink()
    run(config, rendered, tmp_path / "run", *words, "resume=auto")
    assert table(tmp_path / "run" / "metrics.csv") == table(tmp_path / "whole" / "metrics.csv")


def test_a_refused_resume_changes_nothing(config, rendered, short, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match="trained with the cut"):
        run(config, rendered, tmp_path / "run", "resume=auto", "dataset.val_fraction=0.4", *AVERAGED)
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_a_new_column_never_empties_the_table(tmp_path, monkeypatch):
    logger = MetricsLogger(tmp_path, name="", version="", flush_logs_every_n_steps=1)
    logger.log_metrics({"a": 1.0}, step=0)
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        logger.log_metrics({"b": 1.0}, step=1)
    assert [row["a"] for row in table(tmp_path / "metrics.csv")] == ["1.0"]


def test_where_the_best_checkpoint_is_gone_the_last_is_tested(config, rendered, short, tmp_path, capsys):
    shutil.copytree(short, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "best.ckpt").unlink()
    results = run(config, rendered, tmp_path / "run", "resume=auto", *AVERAGED)
    assert results["checkpoint"].endswith("last.ckpt") and "val_nme_best" not in results
    assert "validation NME: last " in capsys.readouterr().out


def test_where_none_is_good_each_is_named(config, rendered, short, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"(?s)last\.ckpt.*previous\.ckpt.*best\.ckpt"):
        run(config, rendered, tmp_path / "run", "resume=auto", *AVERAGED)


def test_no_changed_bit_passes(short, tmp_path):
    """A value or DamagedCheckpoint; and where a value, the same: some bytes of a zip archive mean nothing."""
    whole, rng, file = (short / "checkpoints" / "last.ckpt").read_bytes(), np.random.default_rng(0), tmp_path / "a.ckpt"
    expected, refused = torch.load(short / "checkpoints" / "last.ckpt", weights_only=True), 0
    for bit in rng.integers(8 * len(whole), size=150).tolist():
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        try:
            Checkpoint.read_run(file)
        except DamagedCheckpoint as error:
            assert str(file) in str(error)
            refused += 1
        else:
            same(expected, torch.load(file, weights_only=True))
    assert refused > 75


def test_a_checkpoint_of_another_format_is_refused_and_not_passed_over(config, rendered, short, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    found = torch.load(file, weights_only=True)
    found["awing"]["format"] = 99
    torch.save(found, file)
    with pytest.raises(CheckpointError, match="format 99; this version reads 1"):
        run(config, rendered, tmp_path / "run", "resume=auto", *AVERAGED)


def test_a_kill_between_two_renames_loses_nothing(config, rendered, short, longer, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").rename(tmp_path / "run" / "checkpoints" / "previous.ckpt")
    run(config, rendered, tmp_path / "run", "test=false", "trainer.max_epochs=3", "resume=auto", *AVERAGED)
    same(state(longer), state(tmp_path / "run"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_leaves_what_was_there(tmp_path):
    writer, file = WholeCheckpoints(good=False), tmp_path / "checkpoints" / "last.ckpt"
    writer.save_checkpoint({"step": 1}, file)
    file.with_suffix(".part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be written: No space left.*resume=auto"):
        writer.save_checkpoint({"step": 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}
    assert [f.name for f in file.parent.iterdir()] == ["last.ckpt"]
    writer.save_checkpoint({"step": 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 2}
    assert torch.load(file.with_name("previous.ckpt"), weights_only=True) == {"step": 1}


def test_what_is_not_finite_stops_the_run_and_is_kept(config, rendered, tmp_path):
    with pytest.raises(AwingError, match=r"became nan, the loss nan, in epoch 0, step 1; no step was made"):
        run(config, rendered, tmp_path, "optim.optimizer.lr=1e30", "trainer.accumulate_grad_batches=2")
    found = torch.load(tmp_path / "nonfinite_rank0.pt", weights_only=True)
    assert (found["epoch"], found["step"]) == (0, 1) and np.isnan(found["loss"])
    assert [batch["image"].shape for batch in found["batches"]] == [(4, 3, 64, 64)] * 2
    assert found["norms"]["weights"]["network.stem.0.weight"] > 1e20
    assert any(np.isnan(norm) for norm in found["norms"]["gradients"].values())
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_the_stop_is_said_where_the_disk_is_full(config, rendered, tmp_path):
    (tmp_path / "nonfinite_rank0.pt").symlink_to("/dev/full")
    with pytest.raises(AwingError, match=r"became nan.*cannot be written: No space left on device"):
        run(config, rendered, tmp_path, "optim.optimizer.lr=1e30")


def test_weights_that_the_last_step_spoilt_are_not_saved(config, rendered, tmp_path):
    with pytest.raises(AwingError, match=r"after step 1, \d+ of the network's tensors are not finite, network\."):
        run(config, rendered, tmp_path, "optim.optimizer.lr=1e38", "trainer.limit_train_batches=1", *NO_VALIDATION)
    assert not list(tmp_path.glob("checkpoints/*"))


NO_VALIDATION = ["dataset.val_fraction=0", "test=false"]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")  # where all steps of an epoch are left out
@pytest.mark.parametrize(("scale", "stops"), [(2.0**40, False), (1.0, True)])
def test_an_overflow_of_float16_is_the_scalers_affair(config, rendered, tmp_path, monkeypatch, scale, stops):
    """Gradients of a loss times 2**40 are infinite: it halves the scale. No scale makes NaN finite."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    monkeypatch.setattr(resume.slurm, "plugins", lambda: [MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    if stops:
        spoil = LandmarkRegressor.heatmap_loss
        monkeypatch.setattr(LandmarkRegressor, "heatmap_loss", lambda *parts: spoil(*parts) * torch.nan)
        with pytest.raises(AwingError, match="no step was made"):
            run(config, rendered, tmp_path, "trainer.precision=null", *NO_VALIDATION)
    else:
        run(config, rendered, tmp_path, "trainer.precision=null", *NO_VALIDATION)
        assert 0 < scaler.get_scale() < scale
        assert not list(tmp_path.glob("nonfinite*"))
