"""Going on with a run: to the same weights and rows, or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from tiny import run, table

from awing.errors import AwingError, ConfigError
from awing.regressor import LandmarkRegressor
from awing.training import builders, engine
from awing.training.resume import (
    AtomicCheckpointIO,
    find_finished,
    find_resume_checkpoint,
    training_settings,
    truncate_metrics,
)

# a moving average of the weights, and learning rates that change by the epoch
AVERAGED = [
    "test=false", "callbacks=ema", "callbacks.average.decay=0.9", "optim.scheduler.milestones=[1,2]",
    "optim.optimizer.lr=1e-3", "trainer.precision=auto",
]  # fmt: skip


@pytest.fixture(scope="module")
def short(config, rendered, tmp_path_factory) -> Path:
    """A run of two epochs, whose ``precision: auto`` was float32."""
    output = tmp_path_factory.mktemp("short") / "run"
    with pytest.MonkeyPatch.context() as context:
        context.setattr(engine, "fastest_precision", lambda _: "32-true")
        run(config, rendered, output, *AVERAGED)
    return output


@pytest.fixture(scope="module")
def longer(config, rendered, tmp_path_factory) -> Path:
    """The same of three."""
    output = tmp_path_factory.mktemp("longer") / "run"
    run(config, rendered, output, "trainer.max_epochs=3", *AVERAGED, "trainer.precision=32-true")
    return output


def assert_same(one, other, where: str = "") -> None:
    """Nested states are equal, tensors bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path) -> None:
    """All that ``last.ckpt`` holds but what names the folder, and every row of the table."""
    states = []
    for output in (one, other):
        state = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
        del state["hyper_parameters"]
        for key, values in state["callbacks"].items():
            if key.startswith("ModelCheckpoint"):
                state["callbacks"][key] = {k: v for k, v in values.items() if k.endswith(("_score", "kth_value"))}
        states.append(state)
    assert_same(*states)
    assert table(one / "metrics.csv") == table(other / "metrics.csv")


def test_resume_gives_the_uninterrupted_run(config, rendered, short, longer, tmp_path, monkeypatch):
    shutil.copytree(short, tmp_path / "moved")
    monkeypatch.setattr(engine, "fastest_precision", lambda _: "bf16-mixed")  # of the second part's machine
    words = "trainer.max_epochs=3", "resume=auto", "data.num_workers=2", *AVERAGED
    run(config, rendered, tmp_path / "moved", *words)
    assert_same_run(longer, tmp_path / "moved")


@pytest.mark.parametrize("write", ["before", "after"])
def test_kill_while_saving_loses_no_row(config, rendered, longer, tmp_path, monkeypatch, write):
    save, count = AtomicCheckpointIO.save_checkpoint, iter(range(10))

    def dying(self, checkpoint, path, **rest):
        dies = Path(path).name == "best.ckpt" and next(count) == 1  # last.ckpt is written after it
        if not (dies and write == "before"):
            save(self, checkpoint, path, **rest)
        if dies:
            raise SystemExit

    words = "trainer.max_epochs=3", *AVERAGED
    with monkeypatch.context() as context:
        context.setattr(AtomicCheckpointIO, "save_checkpoint", dying)
        with pytest.raises(SystemExit):
            run(config, rendered, tmp_path, *words)
    run(config, rendered, tmp_path, *words, "resume=auto")
    assert_same_run(longer, tmp_path)


def test_kill_while_writing_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    AtomicCheckpointIO().save_checkpoint({"step": 1}, tmp_path / "last.ckpt")

    def half(state, file):
        Path(file).write_bytes(b"half")
        raise SystemExit

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(SystemExit):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"step": 1}


def test_kill_before_the_first_checkpoint_starts_anew(config, rendered, short, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    run(config, rendered, tmp_path / "run", "resume=auto", *AVERAGED)
    assert_same_run(short, tmp_path / "run")


def test_kill_within_the_test_repeats_it(config, rendered, tmp_path, monkeypatch):
    def ended(*_):
        raise SystemExit

    run(config, rendered, tmp_path / "whole")
    with monkeypatch.context() as context:
        context.setattr(LandmarkRegressor, "test_step", ended)
        with pytest.raises(SystemExit):
            run(config, rendered, tmp_path / "parts")
    run(config, rendered, tmp_path / "parts", "resume=auto")
    one, other = (json.loads((tmp_path / n / "test" / "metrics.json").read_text()) for n in ("whole", "parts"))
    assert one.pop("checkpoint") != other.pop("checkpoint")
    assert one == other
    assert one["val_nme_last"] > 0


def test_requeued_job_resumes_by_itself(config, rendered, short, longer, tmp_path, monkeypatch):
    shutil.copytree(short, tmp_path / "run")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(config, rendered, tmp_path / "run", "trainer.max_epochs=3", *AVERAGED)
    assert_same_run(longer, tmp_path / "run")


def test_requeued_job_starts_from_the_path_that_was_given(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert find_resume_checkpoint("a.ckpt", tmp_path) == Path("a.ckpt")
    assert find_resume_checkpoint("auto", tmp_path) is None


@pytest.mark.parametrize(("words", "message"), [
    (["optim.optimizer.lr=1e-4"], r"optim\.optimizer\.lr: 0\.001 before, 0\.0001 now"),
    (["dataset.val_fraction=0.2"], r"dataset\.val_fraction: 0\.1 before, 0\.2 now"),
    (["callbacks.average.decay=0.5"], r"callbacks\.average\.decay: 0\.9 before, 0\.5 now"),
])  # fmt: skip
def test_resume_refuses_another_configuration(config, rendered, short, words, message):
    before = {file: file.read_bytes() for file in short.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match=message):
        run(config, rendered, short, *AVERAGED, "resume=auto", *words)
    assert {file: file.read_bytes() for file in short.rglob("*") if file.is_file()} == before


def test_resume_refuses_another_length_of_one_cycle(config, rendered, tmp_path):
    run(config, rendered, tmp_path, "optim=adamw", "test=false")
    with pytest.raises(
        ConfigError, match=r"trainer\.max_epochs: 2 before, 3 now\nA new run .* init=.*last\.ckpt output"
    ):
        run(config, rendered, tmp_path, "optim=adamw", "test=false", "resume=auto", "trainer.max_epochs=3")


def test_resume_refuses_faces_that_were_held_out_or_changed(config, rendered, tmp_path):
    """Official test faces that are gone would be cut from the training faces instead."""
    shutil.copytree(rendered / "synthetic", tmp_path / "synthetic")
    official = next(tmp_path.rglob("list_98pt_rect_attr_test.txt"))
    words = ("dataset.allow_partial=true", f"paths.data_dir={tmp_path}", "test=false")
    run(config, rendered, tmp_path / "run", *words, "trainer.max_epochs=1")
    official.rename(tmp_path / "hidden.txt")
    with pytest.raises(ConfigError, match=r"test_fraction': 0\.0.*test_fraction': 0\.1"):
        run(config, rendered, tmp_path / "run", *words, "trainer.max_epochs=2", "resume=auto")
    (tmp_path / "hidden.txt").rename(official)
    trained = next(tmp_path.rglob("list_98pt_rect_attr_train.txt"))
    trained.write_text("1" + trained.read_text())  # a landmark lies elsewhere
    with pytest.raises(ConfigError, match=r"trained on other faces, .*'faces': '\w{8}'"):
        run(config, rendered, tmp_path / "run", *words, "trainer.max_epochs=2", "resume=auto")


def test_resume_names_init_for_weights_alone(tmp_path):
    with pytest.raises(ConfigError, match="its weights by init=300w-small"):
        find_resume_checkpoint("300w-small", tmp_path)


def test_data_of_ones_own_are_told_apart_by_their_place(tmp_path):
    one, other = ({"dataset": {"name": "custom", "root": root}} for root in "ab")
    assert training_settings(one) != training_settings(other)
    assert training_settings({"dataset": {"name": "wflw", "root": "a"}}) == {"dataset.name": "wflw"}
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "metrics.json").touch()  # an evaluation, of no run
    assert find_finished(tmp_path / "new", str(tmp_path), one) is None


def test_a_folder_with_a_run_is_refused(config, rendered, short):
    with pytest.raises(ConfigError, match="resume=auto"):
        run(config, rendered, short, *AVERAGED)


def test_truncate_metrics_keeps_rows_before_a_step(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("a,step\n1,3\n2,4\n3,5\n4,")
    truncate_metrics(file, 5)
    assert table(file) == [{"a": "1", "step": "3"}, {"a": "2", "step": "4"}]
    truncate_metrics(file, 0)
    assert not file.exists()


def test_nan_stops_the_run_before_a_step(config, rendered, tmp_path):
    with pytest.raises(AwingError, match=r"became nan, the loss nan, in epoch 0, step 1; no step was made"):
        run(config, rendered, tmp_path, "optim.optimizer.lr=1e30", "trainer.accumulate_grad_batches=2")
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")  # where all steps of an epoch are left out
@pytest.mark.parametrize(("scale", "stops"), [(2.0**40, False), (1.0, True)])
def test_float16_overflow_is_left_to_the_scaler(config, rendered, tmp_path, monkeypatch, scale, stops):
    """Gradients of a loss times 2**40 are infinite: it halves the scale. No scale makes NaN finite."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    monkeypatch.setattr(builders, "slurm_plugins", lambda: [MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    words = "trainer.precision=null", "dataset.val_fraction=0", "test=false"
    if stops:
        spoil = LandmarkRegressor.heatmap_loss
        monkeypatch.setattr(LandmarkRegressor, "heatmap_loss", lambda *parts: spoil(*parts) * torch.nan)
        with pytest.raises(AwingError, match="no step was made"):
            run(config, rendered, tmp_path, *words)
    else:
        run(config, rendered, tmp_path, *words)
        assert 0 < scaler.get_scale() < scale
