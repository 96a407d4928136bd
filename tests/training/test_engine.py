"""Training and evaluation end to end, on a few rendered faces."""

import json
import shutil
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import write_people
from tiny import COUNTS, TINY, run, table

from awing.checkpoint import Checkpoint
from awing.data.images import read_image
from awing.errors import CheckpointError, ConfigError, DataError
from awing.geometry import apply
from awing.losses import MSELoss
from awing.regressor import LandmarkRegressor
from awing.training import engine
from awing.training.evaluation import draw_faces

EXPERIMENTS = sorted(file.stem for file in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def finished(config, rendered, tmp_path_factory) -> Path:
    """A run of two epochs."""
    output = tmp_path_factory.mktemp("run") / "run"
    run(config, rendered, output)
    return output


def test_a_run_leaves_what_it_promises(finished):
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "metrics.csv"):
        assert (finished / name).stat().st_size > 0, name
    for name in ("metrics.json", "per_image.csv", "ced.png", "worst.png", "overlay.png", "heatmaps.png"):
        assert (finished / "test" / name).stat().st_size > 0, name
    assert list((finished / "pictures").glob("overlay_epoch002.png"))
    rows = table(finished / "metrics.csv")
    assert len([row for row in rows if row["val/nme"]]) == 2


def test_evaluation_gives_the_numbers_of_the_end_of_training(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
        f"paths.data_dir={rendered}", "data.batch_size=3", "data.num_workers=0",
    )  # fmt: skip
    engine.evaluate(cfg, tmp_path)
    trained, evaluated = (json.loads((f / "metrics.json").read_text()) for f in (finished / "test", tmp_path))
    assert evaluated["subsets"]["full"]["count"] == evaluated["found"] == evaluated["expected"] == 8
    assert (evaluated["crop"], evaluated["crop_scale"]) == ("provided", 1.1)
    for subset, values in trained["subsets"].items():
        for name, nme in values["nme"].items():
            assert evaluated["subsets"][subset]["nme"][name] == pytest.approx(nme, rel=1e-4), (subset, name)
    rows = table(tmp_path / "per_image.csv")
    mean = sum(float(row["nme_inter_ocular"]) for row in rows) / len(rows)
    assert mean == pytest.approx(evaluated["subsets"]["full"]["nme"]["inter_ocular"], rel=1e-9)


def test_the_error_grows_as_the_boxes_move(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
        f"paths.data_dir={rendered}", "data.num_workers=0", "box_jitter={shift: [0, 0.5], scale: [1, 8]}",
    )  # fmt: skip
    result = engine.evaluate(cfg, tmp_path)["subsets"]["full"]["nme"]["inter_ocular"]
    rows = {(row["kind"], row["amount"]): float(row["inter_ocular"]) for row in table(tmp_path / "box_jitter.csv")}
    assert rows["shift", "0"] == rows["scale", "1"] == pytest.approx(result, rel=1e-9)
    assert rows["shift", "0.5"] != result and rows["scale", "8"] > result
    assert (tmp_path / "box_jitter.png").stat().st_size > 0


def test_the_validation_metric_is_that_of_an_evaluation(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/last.ckpt", "dataset=synthetic", "dataset.split=val", *COUNTS,
        "trainer=cpu", f"paths.data_dir={rendered}", "data.num_workers=0",
    )  # fmt: skip
    evaluated = engine.evaluate(cfg, tmp_path)["subsets"]["full"]["nme"]["inter_ocular"]
    rows = [row for row in table(finished / "metrics.csv") if row["val/nme"]]
    assert float(rows[-1]["val/nme"]) == pytest.approx(evaluated, rel=1e-4)


@pytest.mark.parametrize("average", ["callbacks=default", "callbacks=ema"])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(config, rendered, tmp_path, average):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(config, rendered, whole, "test=false", average)
    run(config, rendered, parts, "test=false", average, "trainer.max_epochs=1")
    with pytest.raises(ConfigError, match="resume=auto"):
        run(config, rendered, parts, average)
    run(config, rendered, parts, "test=false", average, "resume=auto")
    states = [torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in (whole, parts)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    rows = [[row["step"] for row in table(f / "metrics.csv")] for f in (whole, parts)]
    assert rows[0] == rows[1]


def test_a_finished_run_is_tested_once(finished, config, rendered, caplog):
    file = finished / "test" / "metrics.json"
    before, at = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(ConfigError, match="tested once"):
        run(config, rendered, finished)
    with caplog.at_level("INFO"):
        assert run(config, rendered, finished, "resume=auto") == json.loads(before)
    assert f"finished before, not run again: {file}" in caplog.text
    for words, message in (
        ("loss.omega=12", r"loss\.omega: 14\.0 before, 12 now"),
        ("trainer.max_epochs=3", "trainer.max_epochs: 2 before, 3 now"),
        ("dataset.val_fraction=0.2", r"dataset\.val_fraction: 0\.1 before, 0\.2 now"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(config, rendered, finished, "resume=auto", words)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (before, at)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["trainer.max_epochs=3"], "trainer.max_epochs: 2 before, 3 now"),  # the one-cycle schedule is of two
        (["trainer.max_epochs=2", "loss.omega=12"], r"loss\.omega: 14\.0 before, 12 now"),
        (["trainer.max_epochs=2", "callbacks=default"], r"callbacks\.average\.decay: 0\.999 before, nothing now"),
    ],
)
def test_a_run_is_not_continued_as_another(config, rendered, tmp_path, changes, message):
    run(config, rendered, tmp_path, "optim=adamw", "callbacks=ema", "test=false")
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(ConfigError, match=message):
        run(config, rendered, tmp_path, "optim=adamw", "callbacks=ema", "resume=auto", *changes)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_warm_up_of_one_step_is_refused_in_a_sentence(config, rendered, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be laid over 20 steps: set another trainer\.max_epochs"):
        run(config, rendered, tmp_path, "optim=adamw", "trainer.max_epochs=10", "trainer.limit_train_batches=2")


def test_pictures_show_the_weights_that_were_validated(config, rendered, tmp_path):
    settings = "callbacks=ema", "callbacks.average.decay=0.5", "optim=adamw", "test=false", "trainer.max_epochs=1"
    run(config, rendered, tmp_path, *settings)
    checkpoint = Checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")  # holds the average
    data = engine.build(config("train", *TINY, "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}").dataset)
    regressor = LandmarkRegressor(checkpoint.network(), checkpoint.codec(), MSELoss(), torch.ones_like, ["box"], [])
    faces = data.dataset("val")
    for name, picture in draw_faces(regressor, faces, range(len(faces))).items():
        assert (read_image(tmp_path / "pictures" / f"{name}_epoch001.png") == picture).all()


@pytest.mark.parametrize("logger", ["~logger", "logger.csv=null", "logger=tensorboard"])
def test_a_run_needs_no_logger(config, rendered, tmp_path, logger):
    run(config, rendered, tmp_path, "test=false", "trainer.max_epochs=1", logger)
    assert (tmp_path / "metrics.csv").is_file() == (logger == "logger=tensorboard")


def test_numbers_carry_what_they_depend_on(finished):
    about = json.loads((finished / "test" / "metrics.json").read_text())
    expected = {
        "dataset": "synthetic", "split": "test", "faces": "official test faces", "seed": 0, "decoder": "quarter",
        "precision": "32-true", "val_fraction": 0.1, "test_fraction": 0.0, "split_seed": 0,
    }  # fmt: skip
    assert about | expected == about
    scores = [float(row["val/nme"]) for row in table(finished / "metrics.csv") if row["val/nme"]]
    assert about["val_nme_best"] == pytest.approx(min(scores), rel=1e-5)
    assert about["val_nme_last"] == pytest.approx(scores[-1], rel=1e-5)


def test_a_face_that_was_trained_on_is_never_scored_as_held_out(finished, rendered, config, tmp_path):
    """The run had official test faces and trained on all others; they are gone when it is evaluated."""
    shutil.copytree(rendered / "synthetic", tmp_path / "synthetic")
    next(tmp_path.rglob("list_98pt_rect_attr_test.txt")).unlink()
    words = (
        f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
        f"paths.data_dir={tmp_path}", "dataset.allow_partial=true",
    )  # fmt: skip
    with pytest.raises(DataError, match="no face in split test"):
        engine.evaluate(config("evaluate", *words), tmp_path / "out")
    for cut in ("dataset.test_fraction=0.3", "dataset.split_seed=1", "dataset.val_fraction=0.5"):
        with pytest.raises(ConfigError, match="trained on would count as held out"):
            engine.evaluate(config("evaluate", *words, cut), tmp_path / "out")


def test_a_run_is_not_continued_where_the_cut_changed(config, rendered, tmp_path):
    shutil.copytree(rendered / "synthetic", tmp_path / "synthetic")
    official = next(tmp_path.rglob("list_98pt_rect_attr_test.txt"))
    words = ("dataset.allow_partial=true", f"paths.data_dir={tmp_path}", "test=false")
    run(config, rendered, tmp_path / "run", *words, "trainer.max_epochs=1")
    official.rename(tmp_path / "hidden.txt")
    with pytest.raises(ConfigError, match=r"test_fraction': 0\.0.*test_fraction': 0\.1"):
        run(config, rendered, tmp_path / "run", *words, "trainer.max_epochs=2", "resume=auto")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_a_batch(config, rendered, tmp_path, name):
    own = ["preset=cpu", "dataset=synthetic"] if name.startswith("table") or name == "claims" else []
    cfg = config("train", f"experiment={name}", *own, f"paths.data_dir={rendered}", "dataset.allow_partial=true")
    cfg.dataset.val_fraction = 0.1
    if "expected" in cfg.dataset.reader:
        cfg.dataset.reader.expected.train, cfg.dataset.reader.expected.test = 24, 8
    cfg.model.stacks, cfg.model.channels = min(cfg.model.stacks, 2), 8
    cfg.data.batch_size, cfg.data.num_workers, cfg.callbacks.progress = 2, 0, None
    cfg.trainer.max_epochs, cfg.trainer.accelerator = 1, "cpu"
    cfg.trainer.limit_train_batches = cfg.trainer.limit_val_batches = cfg.trainer.limit_test_batches = 1
    results = engine.fit(cfg, tmp_path)
    assert results["subsets"]["full"]["count"] == 2
    assert (results.get("fps", 0) > 0) == (name == "table12")


def test_eight_faces_are_learnt_by_heart(config, rendered, tmp_path):
    name = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"
    (tmp_path / "faces" / name).parent.mkdir(parents=True)
    (tmp_path / "faces" / "WFLW_images").symlink_to(rendered / "synthetic" / "WFLW_images")
    lines = (rendered / "synthetic" / name).read_text().splitlines(keepends=True)
    (tmp_path / "faces" / name).write_text("".join(lines[:8] * 10))  # ten steps an epoch
    results = run(
        config, rendered, tmp_path / "run", "model.channels=32", "optim=adamw",
        "optim.optimizer.lr=5e-3", "codec.decoder=refined", "augment=none", "data.batch_size=8",
        "dataset=wflw", f"dataset.root={tmp_path / 'faces'}", "dataset.allow_partial=true", "dataset.split=train",
        "dataset.val_fraction=0", "dataset.test_fraction=0", "dataset.crop=landmarks", "trainer.max_epochs=45",
    )  # fmt: skip
    assert results["found"] == 80
    assert results["subsets"]["full"]["nme"]["inter_ocular"] < 0.03


LSP = ["dataset=lsp", "+dataset.reader.expected={lsp_dataset:8,lspet_dataset:16}", "dataset.val_fraction=0.4"]


def test_joints_are_scored_by_pck_too(config, tmp_path, capsys):
    write_people(tmp_path / "lsp", 8, 16)
    results = run(config, tmp_path, tmp_path / "run", *LSP, "trainer.max_epochs=1")
    assert json.loads((tmp_path / "run" / "test" / "metrics.json").read_text()) == results
    pck = results["subsets"]["full"]["pck"]
    assert "PCK %, within 0.2 of the torso" in capsys.readouterr().out
    words = [f"paths.data_dir={tmp_path}", "trainer=cpu", "data.num_workers=0", *LSP]
    cfg = config("train", *TINY, *words)
    faces = engine.build(cfg.dataset).dataset("test")
    checkpoint = Checkpoint.read(tmp_path / "run" / "checkpoints" / "best.ckpt")
    regressor = LandmarkRegressor(checkpoint.network(), checkpoint.codec(), MSELoss(), torch.ones_like, ["torso"], [])
    regressor.eval()
    found = []
    for i, record in enumerate(faces.records):
        with torch.no_grad():
            points, _ = regressor.codec.decode(regressor(faces[(0, i)]["image"][None])[-1])
        source = apply(np.linalg.inv(faces.matrices[i]), points[0].numpy().astype(float))
        torso = np.hypot(*(record.points[9] - record.points[2]))
        found.append(np.hypot(*(source - record.points).T) <= 0.2 * torso)
    groups = {name: np.mean(np.array(found)[:, list(joints)]) for name, joints in faces.scheme.groups.items()}
    assert list(pck) == [*groups, "mean"]
    assert pck == pytest.approx(groups | {"mean": np.mean(list(groups.values()))})
    assert 0 < pck["mean"] < 1

    cfg = config("evaluate", f"checkpoint={checkpoint.path}", "dataset.split=val", *words[:-1])
    evaluated = engine.evaluate(cfg, tmp_path / "val")  # of people without a labelled torso too: not counted
    rows = table(tmp_path / "val" / "per_image.csv")
    scored = [row for row in rows if row["nme_torso"] != "nan"]
    assert evaluated["subsets"]["full"]["count"] == len(scored) < len(rows) == evaluated["found"]


def test_a_checkpoint_of_another_scheme_is_refused(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=300w", f"paths.data_dir={rendered}"
    )
    with pytest.raises(CheckpointError, match=r"wflw98.*ibug68"):
        engine.evaluate(cfg, tmp_path)


def test_what_is_no_checkpoint_is_refused_by_name(config, tmp_path):
    class Stranger:
        def __reduce__(self):
            return print, ("code from a stranger ran",)

    files = {
        "missing.ckpt": None,
        "garbage.ckpt": b"garbage",
        "other.ckpt": {"weights": 1},
        "stranger.ckpt": Stranger(),
    }
    for name, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        elif content is not None:
            torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError, match=name):
            engine.evaluate(config("evaluate", f"checkpoint={tmp_path / name}"), tmp_path / "out")


def test_a_checkpoint_does_not_choose_what_code_runs(finished, rendered, config, tmp_path):
    for section in ("codec", "model", "dataset", "loss", "optim", "trainer"):
        state = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
        state["awing"]["config"][section] |= {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
        torch.save(state, tmp_path / "stranger.ckpt")
        cfg = config(
            "evaluate", f"checkpoint={tmp_path}/stranger.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
            f"paths.data_dir={rendered}", "data.num_workers=0",
        )  # fmt: skip
        if section in ("codec", "model"):
            with pytest.raises(CheckpointError, match=f"as its {section}, found 'os.mkdir'"):
                engine.evaluate(cfg, tmp_path / section)
        else:
            engine.evaluate(cfg, tmp_path / section)
        assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("section", "key"),
    [("dataset", "crop"), ("dataset", "crop_scale"), ("dataset", "scheme"), ("codec", "scheme"),
     ("codec", "input_size"), ("trainer", "precision"), ("cut", "val_fraction"), ("cut", "split_seed")],
)  # fmt: skip
def test_no_value_of_a_checkpoint_does_either(finished, rendered, config, tmp_path, section, key):
    state = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    values = state["LandmarkDataModule"] if section == "cut" else state["awing"]["config"][section]
    for i, value in enumerate([{"_target_": "os.mkdir", "path": str(tmp_path / "made")}, "${oc.env:HOME}"]):
        values[key] = value
        torch.save(state, tmp_path / "stranger.ckpt")
        cfg = config(
            "evaluate", f"checkpoint={tmp_path}/stranger.ckpt", "dataset=custom", f"dataset.root={rendered}/wflw",
            "trainer=cpu",
        )  # fmt: skip
        with pytest.raises((CheckpointError, DataError)):  # none of these faces is there
            engine.evaluate(cfg, tmp_path / str(i))
        assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("key", ["awing", "LandmarkDataModule", "state_dict", "global_step"])
def test_a_checkpoint_without_a_part_is_refused(finished, config, tmp_path, key):
    state = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    del state[key]
    torch.save(state, tmp_path / "part.ckpt")
    with pytest.raises(CheckpointError, match=r"part\.ckpt"):
        engine.evaluate(config("evaluate", f"checkpoint={tmp_path / 'part.ckpt'}"), tmp_path / "out")


PLACES = (
    "awing.format",
    "awing.config",
    "awing.config.dataset",
    "awing.config.model",
    "LandmarkDataModule",
    "state_dict",
)


@pytest.mark.parametrize(("place", "value"), [
    *((place, torch.ones(2)) for place in PLACES),
    ("awing.config.dataset", reduce(lambda inner, _: [inner], range(300), [])),
    ("awing.config.dataset.name", ["x" * 10**6]),
    ("global_step", 10**30),
])  # fmt: skip
def test_what_is_no_plain_value_is_refused(finished, tmp_path, place, value):
    state = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    *path, key = place.split(".")
    reduce(dict.__getitem__, path, state)[key] = value
    torch.save(state, tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match=r"odd\.ckpt") as caught:
        Checkpoint.read(tmp_path / "odd.ckpt").network()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", [torch.ones(3, device="meta"), torch.ones(3).to_sparse()])
def test_a_tensor_without_numbers_of_its_own_is_refused(finished, tmp_path, value):
    state = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    state["awing"]["sums"] = value
    torch.save(state, tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match=r"odd\.ckpt"):
        Checkpoint.read(tmp_path / "odd.ckpt")


def test_pictures_reach_the_loggers(config, rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    overrides = ("test=false", "trainer.max_epochs=1", "logger=wandb", "logger.wandb.offline=true")
    run(config, rendered, tmp_path / "wandb", *overrides[1:])
    pictures = list((tmp_path / "wandb").glob("wandb/offline-run-*/files/media/images/*/*.png"))
    assert {f"{p.parent.name}/{p.name.split('_')[0]}" for p in pictures} == {"val/overlay", "val/heatmaps", "test/ced"}
    run(config, rendered, tmp_path / "next", *overrides)  # as a sweep's next job, in the same process
    assert len(list((tmp_path / "next").glob("wandb/offline-run-*"))) == 1
    run(config, rendered, tmp_path / "tensorboard", "test=false", "trainer.max_epochs=1", "logger=tensorboard")
    assert list((tmp_path / "tensorboard" / "tensorboard").glob("events.out.*"))
