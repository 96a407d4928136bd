"""Every configuration composes and builds; mistakes are caught before data are read."""

from itertools import combinations, product
from pathlib import Path

import pytest
import torch
import yaml

from awing.errors import ConfigError
from awing.report.tables import read_tables
from awing.training import engine

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("[!_]*.yaml"))


SMALL = ("model.channels=8", "model.depth=2")


@pytest.mark.parametrize(("group", "choice"), [
    (group, name) for group in ("dataset", "loss", "model", "weight_map", "optim") for name in names(group)
])  # fmt: skip
def test_every_choice_builds_a_regressor(config, group, choice):
    own = ["dataset.scheme=ibug68", "dataset.normalisers=[box]"] if choice == "custom" else []
    cfg = config("train", f"{group}={choice}", *own, *SMALL)
    engine.complete_config(cfg)
    cfg.codec.input_size, cfg.codec.heatmap_size = 64, 16
    regressor = engine.build_regressor(cfg)
    k = regressor.codec.scheme.num_landmarks
    batch = {"points": torch.rand(2, k, 2) * 63, "labelled": torch.ones(2, k, dtype=torch.bool)}
    outputs = regressor(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert len(outputs) == cfg.model.stacks
    value = regressor.heatmap_loss(outputs, regressor.codec.encode(**batch), batch["labelled"])
    assert torch.isfinite(value)
    assert value > 0


@pytest.mark.parametrize("group", ["trainer", "callbacks", "logger", "augment"])
def test_every_choice_composes(config, group):
    for name in names(group):
        cfg = config("train", f"{group}={name}")
        assert cfg[group], name


def test_train_defaults_are_the_papers_recipe(config):
    cfg = config("train", "dataset=wflw", "loss=awing")
    assert {k: cfg.loss[k] for k in ("omega", "theta", "epsilon", "alpha")} == {
        "omega": 14, "theta": 0.5, "epsilon": 1, "alpha": 2.1,
    }  # fmt: skip
    assert (cfg.weight_map.weight, cfg.weight_map.threshold) == (10, 0.2)
    assert (cfg.codec.input_size, cfg.codec.heatmap_size, cfg.codec.decoder) == (256, 64, "quarter")
    assert (cfg.model.stacks, cfg.model.boundary, cfg.model.boundary_coords) == (4, True, True)
    optimizer = engine.build(cfg.optim.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.RMSprop)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-4, 0, 1e-5)
    schedule = engine.build(cfg.optim.scheduler)(optimizer)
    rates = []
    for _ in range(cfg.trainer.max_epochs):
        rates.append(group["lr"])
        optimizer.step()
        schedule.step()
    assert len(rates) == 240
    assert [rates[i] for i in (0, 79, 80, 159, 160, 239)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
    augment = cfg.augment
    assert (augment.rotation, augment.translation, augment.scale, augment.flip) == (50, 25, 0.15, 0.5)
    assert (cfg.dataset.crop, cfg.dataset.crop_scale.provided) == ("provided", 1.1)


TABLES = [name for name in names("experiment") if name.startswith("table") or name == "claims"]
LOSSES = {"mse": "MSELoss", "aw": "AdaptiveWingLoss", "l1": "L1Loss", "wing": "WingLoss"}


def test_ablations_are_what_the_paper_abbreviates(config):
    """AW = awing, WM = dilated, WM_base = base; B, C and CB as in Table 7."""
    for name in names("ablation"):
        cfg = config("train", f"ablation={name}")
        parts = name.removesuffix("_base").split("_")
        assert cfg.loss._target_.endswith(f".{LOSSES[parts[0]]}")
        weights = "base_weight_map" if name.endswith("base") else "dilated_weight_map" if "wm" in parts else "ones_like"
        assert cfg.weight_map._target_.endswith(f".{weights}")
        found = {"b": cfg.model.boundary, "c": cfg.model.coord_conv, "cb": cfg.model.boundary_coords}
        assert found == {part: part in parts for part in found}, name
        if "nonlinear" not in name:
            assert cfg.report.row.lower().replace("+", "_") == name


JOBS = {"table1": 2, "table5": 15, "table6": 5, "table7": 8, "table8": 2, "table10": 2, "table11": 4, "table12": 16,
        "claims": 4}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_every_job_of_a_table_differs_and_has_a_cell(name):
    sweep = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text()).get("hydra", {"sweeper": {"params": {}}})
    values = {key: str(words).split(",") for key, words in sweep["sweeper"]["params"].items()}
    jobs = [{f"{k}={v}" for k, v in zip(values, job, strict=True)} for job in product(*values.values())]
    protocols = read_tables()[name].protocols
    assert all(any(job <= {*protocol.words} for protocol in protocols) for job in jobs)
    assert len(protocols) == JOBS.get(name, 1)
    trained = [{**protocol.training, "tested": protocol.dataset} for protocol in protocols]
    assert all(one != other for one, other in combinations(trained, 2))  # no two of them are the same


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["codec.heatmap_size=32"], "a quarter of it; found 256 and 32"),
        (["codec.heatmap_size=60"], "must divide"),
        (["codec.input_size=200", "codec.heatmap_size=50"], "is a multiple of 64"),
        (["codec.decoder=dark"], "decoder is one of"),
        (["loss.omega=0"], "omega"),
        (["loss.alpha=1.5"], "alpha"),
        (["model.boundary=false"], "boundary"),
        (["model.channels=12"], "multiple of 8"),
        (["dataset.scheme=wflw89"], "wflw98"),
        (["training.stack_weights=[1,1]"], "stack_weights"),
        (["codec.decoder=quater"], "Did you mean 'quarter'"),
    ],
)
def test_build_regressor_names_a_wrong_value(config, unchecked, overrides, message):
    with pytest.raises(ConfigError, match=message):
        engine.build_regressor(config("train", *overrides))


def test_joints_have_no_boundary(config):
    cfg = config("train", "dataset=lsp")
    engine.complete_config(cfg)
    assert (cfg.model.boundary, cfg.model.boundary_coords, cfg.codec.boundary) == (False, False, False)
    assert (cfg.dataset.crop, cfg.dataset.normalisers) == ("provided", ["box", "torso"])
    cfg = config("evaluate", "dataset=lsp", "checkpoint=a.ckpt")
    assert (cfg.dataset.scheme, cfg.dataset.crop, cfg.dataset.val_fraction) == ("lsp14", None, None)


def test_environment_yml_installs_what_make_does():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[train,detect,export,dev,docs]"]
    assert (
        "--constraint constraints.txt --editable '.[train,detect,export,dev,docs]'" in (ROOT / "Makefile").read_text()
    )
    python = [entry for entry in environment["dependencies"] if isinstance(entry, str) and entry.startswith("python")]
    assert python == ["python>=3.10,<3.14"]
    assert 'requires-python = ">=3.10,<3.14"' in (ROOT / "pyproject.toml").read_text()
