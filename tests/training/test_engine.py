"""Training and evaluation end to end, on a few rendered faces."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from miniatures import write_people
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import COUNTS, TINY, run, table

from awing.checkpoint import Checkpoint
from awing.data.images import read_image
from awing.errors import CheckpointError, ConfigError, DataError
from awing.geometry import apply
from awing.losses import MSELoss
from awing.regressor import LandmarkRegressor
from awing.schemes import SCHEMES
from awing.schemes.file import read_map
from awing.training import engine
from awing.training.evaluation import draw_faces
from awing.training.resume import flat

ALL = {file.stem for file in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml")}
EXPERIMENTS = sorted(ALL - {"claims", *(f"table{i}" for i in range(2, 10))})  # these vary parts that table1 has too


@pytest.fixture(scope="module")
def finished(config, rendered, tmp_path_factory) -> Path:
    """A run of two epochs."""
    output = tmp_path_factory.mktemp("run") / "run"
    run(config, rendered, output)
    return output


def test_fit_writes_the_runs_files(finished):
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "metrics.csv"):
        assert (finished / name).stat().st_size > 0, name
    for name in ("metrics.json", "per_image.csv", "ced.png", "worst.png", "overlay.png", "heatmaps.png"):
        assert (finished / "test" / name).stat().st_size > 0, name
    assert list((finished / "pictures").glob("overlay_epoch002.png"))
    rows = table(finished / "metrics.csv")
    assert len([row for row in rows if row["val/nme"]]) == 2


def test_evaluate_repeats_the_test_of_training(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
        f"paths.data_dir={rendered}", "data.batch_size=3", "data.num_workers=0", "heatmaps=true",
    )  # fmt: skip
    cfg.faces = [6, 8]
    with pytest.raises(ConfigError, match=r"faces=\[6, 8\]: expected indices of the 8 faces"):
        engine.evaluate(cfg, tmp_path)
    cfg.faces = [6, 3]
    engine.evaluate(cfg, tmp_path)
    first = read_image(finished / "test" / "overlay.png")  # of the first eight
    assert (read_image(tmp_path / "overlay.png") == np.hstack([first[320:, 640:960], first[:320, 960:]])).all()
    for face in (3, 6):  # 98 landmarks in cells of a caption, the target and one stack's map, six in a row
        assert read_image(tmp_path / "heatmaps" / f"{face}.png").shape == (17 * (18 + 96 + 2), 6 * (2 * 96 + 2), 3)
    trained, evaluated = (json.loads((f / "metrics.json").read_text()) for f in (finished / "test", tmp_path))
    assert evaluated["subsets"]["full"]["count"] == evaluated["found"] == evaluated["expected"] == 8
    assert (evaluated["crop"], evaluated["crop_scale"]) == ("provided", 1.1)
    for subset, values in trained["subsets"].items():
        for name, nme in values["nme"].items():
            assert evaluated["subsets"][subset]["nme"][name] == pytest.approx(nme, rel=1e-4), (subset, name)
    rows = table(tmp_path / "per_image.csv")
    mean = sum(float(row["nme_inter_ocular"]) for row in rows) / len(rows)
    assert mean == pytest.approx(evaluated["subsets"]["full"]["nme"]["inter_ocular"], rel=1e-9)


def test_evaluate_with_box_jitter(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/best.ckpt", "dataset=synthetic", *COUNTS, "trainer=cpu",
        f"paths.data_dir={rendered}", "data.num_workers=0", "box_jitter={shift: [0, 0.5], scale: [1, 8]}",
    )  # fmt: skip
    result = engine.evaluate(cfg, tmp_path)["subsets"]["full"]["nme"]["inter_ocular"]
    rows = {(row["kind"], row["amount"]): float(row["inter_ocular"]) for row in table(tmp_path / "box_jitter.csv")}
    assert rows["shift", "0"] == rows["scale", "1"] == pytest.approx(result, rel=1e-9)
    assert rows["shift", "0.5"] != result
    assert rows["scale", "8"] > result
    assert (tmp_path / "box_jitter.png").stat().st_size > 0


def test_evaluate_repeats_the_validation(finished, rendered, config, tmp_path):
    cfg = config(
        "evaluate", f"checkpoint={finished}/checkpoints/last.ckpt", "dataset=synthetic", "dataset.split=val", *COUNTS,
        "trainer=cpu", f"paths.data_dir={rendered}", "data.num_workers=0",
    )  # fmt: skip
    evaluated = engine.evaluate(cfg, tmp_path)["subsets"]["full"]["nme"]["inter_ocular"]
    rows = [row for row in table(finished / "metrics.csv") if row["val/nme"]]
    assert float(rows[-1]["val/nme"]) == pytest.approx(evaluated, rel=1e-4)


def test_fit_does_not_repeat_a_finished_run(finished, config, rendered, caplog, tmp_path):
    file = finished / "test" / "metrics.json"
    before, at = file.read_bytes(), file.stat().st_mtime_ns
    with pytest.raises(ConfigError, match="holds a run already"):
        run(config, rendered, finished)
    with caplog.at_level("INFO"):
        assert run(config, rendered, finished, "resume=auto") == json.loads(before)
    assert f"finished before, not run again: {file}" in caplog.text
    longer = f"resume={finished}/checkpoints/last.ckpt", "trainer.max_epochs=3"
    with pytest.raises(ConfigError, match=f"To train it longer: {longer[0]} output=NEW {longer[1]}"):
        run(config, rendered, finished, "resume=auto", "trainer.max_epochs=3")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (before, at)
    run(config, rendered, tmp_path, *longer, "test=false")
    assert Checkpoint.read(tmp_path / "checkpoints" / "last.ckpt").step == 15
    assert (finished / "checkpoints" / "best.ckpt").exists()


def test_pictures_show_the_averaged_weights(config, rendered, tmp_path):
    settings = "callbacks=ema", "callbacks.average.decay=0.5", "optim=adamw", "test=false", "trainer.max_epochs=1"
    run(config, rendered, tmp_path, *settings)
    checkpoint = Checkpoint.read(tmp_path / "checkpoints" / "last.ckpt")  # holds the average
    data = engine.build(config("train", *TINY, "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}").dataset)
    regressor = LandmarkRegressor(checkpoint.network(), checkpoint.codec(), MSELoss(), torch.ones_like, ["box"], [])
    faces = data.dataset("val")
    for name, picture in draw_faces(regressor, faces, range(len(faces))).items():
        assert (read_image(tmp_path / "pictures" / f"{name}_epoch001.png") == picture).all()


@pytest.mark.parametrize("logger", ["~logger", "logger=tensorboard"])
def test_fit_without_a_csv_logger(config, rendered, tmp_path, logger):
    run(config, rendered, tmp_path, "test=false", "trainer.max_epochs=1", logger)
    assert (tmp_path / "metrics.csv").is_file() == (logger == "logger=tensorboard")


def test_metrics_json_says_what_it_depends_on(finished):
    about = json.loads((finished / "test" / "metrics.json").read_text())
    expected = {
        "dataset": "synthetic", "split": "test", "faces": "official test faces", "seed": 0, "decoder": "quarter",
        "precision": "32-true", "val_fraction": 0.1, "test_fraction": 0.0, "split_seed": 0,
    }  # fmt: skip
    assert about | expected == about
    scores = [float(row["val/nme"]) for row in table(finished / "metrics.csv") if row["val/nme"]]
    assert about["val_nme_best"] == pytest.approx(min(scores), rel=1e-5)
    assert about["val_nme_last"] == pytest.approx(scores[-1], rel=1e-5)


def test_evaluate_refuses_faces_that_were_trained_on(finished, rendered, config, tmp_path):
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


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_a_batch(config, rendered, tmp_path, name):
    own = ["preset=cpu", "dataset=synthetic"] if name.startswith("table") or name == "claims" else []
    own += ["dataset=synthetic"] * (name == "finetune")
    cfg = config("train", f"experiment={name}", *own, f"paths.data_dir={rendered}", "dataset.allow_partial=true")
    cfg.dataset.val_fraction = 0.1
    if "expected" in cfg.dataset.reader:
        cfg.dataset.reader.expected.train, cfg.dataset.reader.expected.test = 24, 8
    cfg.model.stacks, cfg.model.channels = min(cfg.model.stacks, 2), 96 if cfg.init else 8
    cfg.data.batch_size, cfg.data.num_workers, cfg.callbacks.progress = 2, 0, None
    cfg.trainer.max_epochs, cfg.trainer.accelerator = 1, "cpu"
    cfg.trainer.limit_train_batches = cfg.trainer.limit_val_batches = cfg.trainer.limit_test_batches = 1
    results = engine.fit(cfg, tmp_path)
    assert results["subsets"]["full"]["count"] == 2
    assert (results.get("fps", 0) > 0) == (name == "table12")


def test_fit_learns_eight_faces_by_heart(config, rendered, tmp_path):
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


def test_overfit_batches_trains_and_validates_one_batch(config, rendered, tmp_path, monkeypatch):
    batches = []
    for hook in ("on_train_batch_start", "on_validation_batch_start"):
        monkeypatch.setattr(LandmarkRegressor, hook, lambda self, batch, i, *_: batches.append(batch))
    words = "trainer.overfit_batches=1", "dataset.val_fraction=1e-9", "optim=adamw", "test=false"
    run(config, rendered, tmp_path, *words)
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2, 3]] * 4
    assert (tmp_path / "pictures" / "overlay_epoch002.png").is_file()  # of these, where no face is held out
    for batch in batches[1:]:
        assert torch.equal(batch["image"], batches[0]["image"])
        assert torch.equal(batch["points"], batches[0]["points"])


def test_early_stopping_ends_a_run_that_stands_still(config, rendered, tmp_path):
    words = [
        "callbacks=[ema,early_stopping]",
        "callbacks.early_stopping.patience=1",
        "optim.optimizer.lr=0",
        "test=false",
    ]
    run(config, rendered, tmp_path, *words, "+callbacks.early_stopping.min_delta=1", "trainer.max_epochs=9")
    assert Checkpoint.read(tmp_path / "checkpoints" / "last.ckpt").step == 2 * 5
    assert Checkpoint.read(tmp_path / "checkpoints" / "best.ckpt").step <= 2 * 5


LSP = ["dataset=lsp", "+dataset.reader.expected={lsp_dataset:8,lspet_dataset:16}", "dataset.val_fraction=0.4"]


def test_joints_are_scored_by_pck(config, tmp_path, capsys):
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
    capsys.readouterr()
    evaluated = engine.evaluate(cfg, tmp_path / "val")  # of people without a labelled torso too: not counted
    rows = table(tmp_path / "val" / "per_image.csv")
    scored = [row for row in rows if row["nme_torso"] != "nan"]
    assert evaluated["subsets"]["full"]["count"] == len(scored) < len(rows) == evaluated["found"]
    assert f"not scored: {len(rows) - len(scored)} faces, whose box or torso is not labelled" in capsys.readouterr().out


def test_evaluate_maps_another_scheme_or_refuses_it(finished, rendered, config, tmp_path):
    """The rendered faces have both schemes: their common points, in the same crops, have the errors of those points."""
    words = (
        f"checkpoint={finished}/checkpoints/best.ckpt", f"paths.data_dir={rendered}", "trainer=cpu",
        "data.num_workers=0", "dataset.crop=landmarks", "dataset.allow_partial=true",
        "dataset.normalisers=[inter_ocular]",
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"wflw98.*ibug68.*wflw98 alone has .*dataset\.map=wflw98-ibug68"):
        engine.evaluate(config("evaluate", "dataset=300w", *words), tmp_path)
    mapped = engine.evaluate(config("evaluate", "dataset=300w", *words, "dataset.map=wflw98-ibug68"), tmp_path)
    assert (mapped["landmarks"], mapped["found"]) == (68, 8)
    errors = [float(row["nme_inter_ocular"]) for row in table(tmp_path / "per_image.csv")]
    cfg = config("evaluate", "dataset=synthetic", *COUNTS, *words)
    checkpoint = Checkpoint.read(cfg.checkpoint)
    engine.apply_checkpoint_defaults(cfg, checkpoint)
    data = engine.build(cfg.dataset).dataset("test")
    codec, network, common = (
        checkpoint.codec(),
        checkpoint.network(),
        read_map("wflw98-ibug68", SCHEMES["wflw98"], SCHEMES["ibug68"]),
    )
    for sample, error in zip((data[0, i] for i in range(8)), errors, strict=True):
        predicted = codec.decode(network(sample["image"][None].float() / 255)[-1])[0][0, common].detach()
        distance = (predicted - sample["points"][common]).norm(dim=-1).mean() / float(sample["matrix"][0, 0])
        assert float(distance / sample["normalisers"][0]) == pytest.approx(error, rel=0.02)


def test_results_reach_the_loggers(config, rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    overrides = ("trainer.max_epochs=1", "logger=wandb", "logger.wandb.offline=true")
    run(config, rendered, tmp_path / "omega" / "loss.omega-10", *overrides, f"output={tmp_path / 'omega'}")
    pictures = list((tmp_path / "omega").glob("*/wandb/offline-run-*/files/media/images/*/*.png"))
    tested = {"test/ced", "test/overlay", "test/heatmaps", "test/worst"}
    assert {f"{p.parent.name}/{p.name.split('_')[0]}" for p in pictures} == {"val/overlay", "val/heatmaps", *tested}
    # as a sweep's next job, in the same process
    run(config, rendered, tmp_path / "next", *overrides, "test=false", f"output={tmp_path / 'next'}")
    assert len(list((tmp_path / "next").glob("wandb/offline-run-*"))) == 1
    files = [tmp_path / "omega" / "loss.omega-10" / "config.yaml", tmp_path / "next" / "config.yaml"]
    found = [yaml.safe_load(file.read_text())["logger"]["wandb"] for file in files]
    assert [(node["name"], node["group"]) for node in found] == [
        ("synthetic loss.omega-10", "omega"), ("synthetic next", "synthetic"),
    ]  # fmt: skip
    assert found[0]["tags"] == ["synthetic", "crop provided"]
    cfg = config("train", "logger=wandb", "experiment=table5", "logger.wandb.name=mine", f"output={tmp_path}")
    engine.name_run(cfg, tmp_path / "loss.omega-10")
    assert (cfg.logger.wandb.name, cfg.logger.wandb.group) == ("mine", "table5")

    run(config, rendered, tmp_path / "tensorboard", "trainer.max_epochs=1", "logger=tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "tensorboard")).Reload()
    assert tested <= set(events.Tags()["images"])
    results = json.loads((tmp_path / "tensorboard" / "test" / "metrics.json").read_text())["subsets"]
    for subset, values in results.items():
        for key, value in flat(values, separator="/").items():
            assert events.Scalars(f"test/{subset}/{key}")[0].value == pytest.approx(value, rel=1e-5), key
    assert {"train/gradient_norm", "train/gradient_to_decay"} <= set(events.Tags()["scalars"])
