"""The report: values and differences follow from what runs left, and what is left out is named."""

import csv
import functools
import json
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tiny import COUNTS, TINY
from tiny import run as train

from awing.errors import ConfigError, DataError
from awing.metrics import auc, failure_rate
from awing.report import print_plan, write_report
from awing.report.document import mean_interval
from awing.report.protocol import PAPER
from awing.report.runs import load_runs
from awing.report.tables import read_tables
from awing.training import engine
from awing.training.resume import find_finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(config):
    """What an experiment's words, or the name of a row of Table 7, make of a run's config.yaml."""

    @functools.cache
    def composed(words: str) -> dict:
        words = words if "=" in words else f"experiment=table7 ablation={words}"
        engine.complete_config(cfg := config("train", *words.split(), "output=run"))
        return OmegaConf.to_container(cfg, resolve=True)

    return composed


@pytest.fixture
def leave(settings, tmp_path):
    """Leave a run's folder below ``runs/``, as training does; ``loss__omega=2`` changes its configuration."""

    def run(name, errors=(0.04, 0.05), subsets=None, tested=None, epochs=0, of="aw_wm", **changes) -> Path:
        node = OmegaConf.create(settings(of))
        for key, value in changes.items():
            OmegaConf.update(node, key.replace("__", "."), value, force_add=True)
        cfg, folder = OmegaConf.to_container(node), tmp_path / "runs" / name
        (folder / "test").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.dump(cfg, Dumper=yaml.CSafeDumper))
        rows = [f"{e},{e},{2 / (e + 1)},{3 / (e + 1)},{0.01 + e},{0.1 + e},{1 / (e + 1)}" for e in range(epochs)]
        header = "epoch,step,train/loss,train/gradient_norm,train/mse_all,train/mse_fg,val/nme"
        (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
        about = {
            "dataset": cfg["dataset"]["name"], "split": "test", "faces": "official test faces",
            "crop": cfg["dataset"]["crop"], "crop_scale": cfg["dataset"]["crop_scale"], "decoder": "quarter",
            "precision": "32-true", "flip_test": False, "checkpoint": "/a/best.ckpt", "seed": cfg["seed"],
            "trained": {"steps": 240 * 890, "found": 7125, "expected": 7125},
            "expected": 2500, "found": 2500, "commit": "abc1234", **(tested or {}),
        }  # fmt: skip
        parts = {
            part: _measured(torch.tensor(e, dtype=torch.float64))
            for part, e in {"full": errors, **(subsets or {})}.items()
        }
        parts["full"]["count"] = about.pop("count", about["found"])
        (folder / "test" / "metrics.json").write_text(json.dumps({**about, "subsets": parts}))
        lines = [f"{i},/data/face {i}.jpg,,{e},{e}" for i, e in enumerate(errors)]
        columns = "index,image,subsets,nme_inter_ocular,nme_inter_pupil"
        (folder / "test" / "per_image.csv").write_text("\n".join([columns, *lines]) + "\n")
        return folder

    return run


def _measured(errors: torch.Tensor) -> dict:
    names = ("inter_ocular", "inter_pupil")
    return {
        "count": len(errors),
        "nme": {n: float(errors.mean()) for n in names},
        "fr": {n: {f"{t:.2f}": failure_rate(errors, t) for t in (0.08, 0.10)} for n in names},
        "auc": {n: {f"{t:.2f}": auc(errors, t) for t in (0.08, 0.10)} for n in names},
    }


@pytest.fixture
def report(config, tmp_path):
    """Write the report of ``runs/`` and read it: Markdown, cells, intervals."""

    def written(output: Path | None = None) -> tuple[str, list[dict[str, str]], list[dict[str, str]]]:
        output = output or tmp_path / "report"
        (cfg := config("report")).runs = str(tmp_path / "runs")
        write_report(cfg, output)
        tables = []
        for name in ("report.csv", "intervals.csv"):
            with (output / name).open(newline="") as stream:
                tables.append(list(csv.DictReader(stream)))
        return (output / "report.md").read_text(), *tables

    return written


@pytest.fixture
def printed(tmp_path):
    """The printed tables that the runs of ``runs/`` give of one of the paper's: (row, column) -> its CSV line."""

    def lines(name: str) -> list[dict[tuple[str, str], dict]]:
        table, (runs, evaluations, _) = read_tables()[name], load_runs(tmp_path / "runs")
        groups = table.groups([*runs, *evaluations]).items()
        cells = [cell for row in table.rows for cell in row]
        return [{(c.row, c.column): c.line(placed, differs) for c in cells} for differs, placed in groups]

    return lines


# Statistics


def test_interval_is_the_normal_one_where_that_holds():
    errors = np.random.default_rng(1).normal(0.05, 0.01, 1000)
    half = 1.96 * errors.std(ddof=1) / np.sqrt(1000)
    assert mean_interval(errors) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.1 * half)
    assert mean_interval(errors, 7) == mean_interval(errors, 7) != mean_interval(errors, 8)


# Tables


def test_table_7_has_the_ablations_and_the_papers_steps():
    """4.3: "improves the benchmark by 0.74 %", of the third over the first row; 7.6.2: "0.09 %", of the last."""
    rows = [cell for (cell,) in read_tables()["table7"].rows]
    assert [round(rows[i].paper - rows[j].paper, 2) for i, j in ((0, 2), (4, 7))] == [0.74, 0.09]
    files = list((ROOT / "conf" / "ablation").glob("*.yaml"))
    assert {row.row for row in rows} < {yaml.safe_load(file.read_text())["report"]["row"] for file in files}


def test_seeds_give_mean_spread_and_difference(leave, report):
    """Means 4.2 and 4.3 %: 4.25 with a sample deviation of 0.1 / sqrt(2); the paper has 4.30."""
    leave("a/b/seed0", [0.041, 0.043])
    leave("a/seed1", [0.040, 0.046], seed=1)
    text, cells, (interval,) = report()
    assert "| AW+WM | 4.30 | 4.25 ± 0.07 (n 2) | -0.05 |" in text
    assert "| AW | 4.65 |  |  |" in text, "a cell without a run stays empty"
    (found,) = (cell for cell in cells if cell["row"] == "AW+WM")
    assert float(found["spread"]) == pytest.approx(0.1 / np.sqrt(2))
    assert found["seeds"] == "0 1"
    assert "wflw test: 2500 of 2500 faces (official test faces), crop landmarks times 1.25" in text
    assert "Seeds 0, 1; commit abc1234" in text
    assert "Not read" not in text
    # averaged a face over the seeds first: 4.05 and 4.45 %
    assert [interval[key] for key in ("NME %", "NME %, from", "NME %, to")] == ["4.25", "4.05", "4.45"]


EMA = {"_target_": "awing.training.callbacks.EMAWeightAveraging", "decay": 0.999}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optim__scheduler__milestones": [100]}, "optim.scheduler.milestones is [100] (paper, 7.3: [80, 160])"),
        ({"codec__support": 9}, "codec.support is 9 (paper, 4.3: 7)"),
        ({"codec__sigma": 2.0}, "codec.sigma is 2 (chosen here: 1.75)"),
        ({"dataset__crop_scale": 1.2}, "dataset.crop_scale is 1.2 (chosen here: 1.25)"),
        ({"dataset__crop": "provided"}, "dataset.crop is provided (paper, 7.3, 7.6.2: landmarks)"),
        ({"weight_map__threshold": 0.3}, "weight_map.threshold is 0.3 (paper, 4.3: 0.2)"),
        ({"optim__optimizer__momentum": 0.9}, "optim.optimizer.momentum is 0.9 (paper, 7.3: 0)"),
        ({"augment__photometric": []}, "augment.photometric is [] (chosen here: [{"),
        ({"training__boundary_weight": 2.0}, "training.boundary_weight is 2 (chosen here: 1)"),
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision is bf16-mixed (chosen here: 32-true)"),
        ({"callbacks__average": EMA}, "callbacks.average.decay is 0.999 (chosen here: none)"),
        ({"callbacks__best__monitor": "train/loss"}, "callbacks.best.monitor is train/loss (chosen here: val/nme)"),
        ({"trainer__max_steps": 50, "tested": {"trained": {"steps": 50, "found": 7125, "expected": 7125}}},
         "50 steps, not 213600"),
        ({"trainer__limit_test_batches": 2, "tested": {"count": 16}}, "16 of 2500 test faces"),
        ({"tested": {"found": 2000}}, "2000 of 2500 test faces"),
        ({"tested": {"trained": {"steps": 240 * 875, "found": 7000, "expected": 7125}}}, "7000 of 7125 training faces"),
        ({"tested": {"trained": None}}, "does not say how many steps were made"),
        ({"tested": {"faces": "cut"}}, "tested with faces cut, not official test faces"),
        ({"tested": {"split": "val"}}, "tested with split val, not test"),
    ],
)  # fmt: skip
def test_another_protocol_gets_no_difference(leave, printed, changes, said):
    leave("run", **changes)
    (lines,) = printed("table7")
    line = lines["AW+WM", "NME %"]
    assert (line["measured"], line["difference"]) == (pytest.approx(4.5), None)
    assert said in line["differs"]


def test_where_and_how_fast_a_run_was_made_is_no_difference(leave, printed):
    leave(
        "run", paths__data_dir="/else", dataset__root="/else/wflw", data__num_workers=1, trainer__devices=4,
        logger__wandb={"project": "a"}, callbacks__progress=None, dataset__allow_partial=True, seed=3, test=False,
    )  # fmt: skip
    (lines,) = printed("table7")
    assert lines["AW+WM", "NME %"]["difference"] == pytest.approx(4.5 - 4.3)


@pytest.mark.parametrize(
    "changes",
    [
        {"tested": {"found": 2000}}, {"loss__omega": 2.0}, {"weight_map__weight": 1.0},
        {"augment__rotation": 0.0}, {"optim__optimizer__lr": 1e-3},
    ],
)  # fmt: skip
def test_runs_that_differ_in_more_than_the_seed_stay_apart(leave, printed, changes):
    leave("one", [0.04, 0.05])
    leave("other", [0.06, 0.08], seed=1, **changes)
    found = [(line["measured"], line["n"], line["difference"] is None) for line in
             (lines["AW+WM", "NME %"] for lines in printed("table7"))]  # fmt: skip
    assert found == [(pytest.approx(4.5), 1, False), (pytest.approx(7.0), 1, True)]


def test_two_printed_tables_say_what_makes_them_two(leave, report):
    for omega in (2.0, 3.0):
        leave(f"omega{omega}", loss__omega=omega, codec__sigma=2.0)
    leave("paper")
    text = report()[0]
    assert re.findall(r"^### (?!Runs)(.*)", text, re.M)[:3] == [
        "By the protocol",
        *(f"Not by the protocol: loss.omega is {omega} (paper, 4.2: 14)" for omega in (2, 3)),
    ]
    assert "no difference to the paper is given: codec.sigma is 2 (chosen here: 1.75); loss.omega is 2" in text


def filled(name, printed) -> list[str]:
    """Labels of the cells that a run fills by the protocol, with their column where there are several."""
    lines = [line for lines in printed(name) for line in lines.values() if line["n"] and not line["differs"]]
    return [f"{line['row']}/{line['column']}" for line in lines]


def test_a_training_fills_every_cell_of_its_protocol(leave, printed):
    leave("t5", of="experiment=table5 loss.omega=14 loss.epsilon=1", subsets={"pose": [0.08]})
    assert filled("table5", printed) == ["1/14"]
    assert filled("table6", printed) == ["NME %/0.5"]
    assert filled("table7", printed) == ["AW+WM+B+C+CB/NME %"]
    assert filled("table12", printed) == ["4 stacks/WFLW, inter-ocular"]
    assert {cell.partition("/")[0] for cell in filled("table1", printed)} == {
        "NME %, landmark crop", "FR10 %, landmark crop", "AUC10, landmark crop",
    }  # fmt: skip
    leave("t11", of="experiment=table11 dataset.label_noise.share=0.0", epochs=10)
    assert filled("table7", printed)[0] == filled("claims", printed)[0][:2] + "/NME %" == "AW/NME %"
    assert filled("table10", printed) == ["AW, all pixels/epoch 10", "AW, foreground/epoch 10"]


W300 = {"expected": 689, "found": 689, "trained": {"steps": 240 * 373, "found": 2990, "expected": 2990}}
PRIVATE = {"dataset": "300w_private", "expected": 600, "found": 600, "crop": "landmarks", "crop_scale": 1.25}


@pytest.mark.parametrize(
    ("of", "tested", "fills"),
    [
        ("experiment=table3", PRIVATE, []),
        ("experiment=table3 dataset.crop=landmarks", PRIVATE, ["AWing/NME %", "AWing/AUC8", "AWing/FR8 %"]),
        ("experiment=table3 dataset.crop=landmarks", {**PRIVATE, "crop_scale": 1.1}, []),
        ("experiment=table3 dataset.crop=landmarks", {**PRIVATE, "checkpoint": "/a/last.ckpt"}, []),
        ("experiment=table3 dataset.crop=landmarks", {**PRIVATE, "flip_test": True}, []),
    ],
)
def test_an_evaluation_fills_the_cell_that_it_meets(leave, printed, tmp_path, of, tested, fills):
    run = leave("run", of=of, tested=W300)
    shutil.copytree(leave("other", of=of, tested=W300 | tested) / "test", evaluation := tmp_path / "runs" / "private")
    shutil.copy(run / "config.yaml", evaluation / "training.yaml")
    shutil.rmtree(tmp_path / "runs" / "other")
    assert filled("table4", printed)[:3] == fills
    shutil.rmtree(run)  # whether the training was finished is not known any more
    assert filled("table4", printed) == []


def test_a_seed_counts_once_in_a_cell(leave, report):
    leave("a", [0.04, 0.05])
    leave("b", [0.05, 0.06], report__table="table10")
    text = report()[0]
    assert "| AW+WM | 4.30 | 4.50 | +0.20 |" in text
    assert "| b | its seed counts once" in text


def test_mean_of_table_8_is_of_13_joints(leave, report):
    """The paper's own row: 94.3, 85.9, 78.2, 72.0, 84.8, 83.1, 80.6 have the mean 81.8."""
    names = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    shares = [0.943, 0.859, 0.782, 0.720, 0.848, 0.831, 0.806]
    about = {"expected": 1000, "found": 1000, "trained": {"steps": 240 * 1306, "found": 10450, "expected": 10450}}
    file = leave("run", of="experiment=table8 ablation=mse", tested=about) / "test" / "metrics.json"
    results = json.loads(file.read_text())
    results["subsets"]["full"]["pck"] = dict(zip(names, shares, strict=True)) | {"mean": sum(shares) / 7}
    file.write_text(json.dumps(results))
    text = report()[0]
    assert "| 4HG+MSE | measured | 94.3 | 85.9 | 78.2 | 72.0 | 84.8 | 83.1 | 80.6 | 81.8 | 82.7 |" in text
    assert "| 4HG+MSE | difference | +0.0 | +0.0 | +0.0 | +0.0 | +0.0 | +0.0 | +0.0 | +0.0 |  |" in text
    assert "| DeepCut | paper | 94.6 |" in text
    assert "| DeepCut | measured" not in text


def test_other_methods_stand_in_two_column_tables(leave, report):
    faces = {"expected": 4386, "found": 4386, "trained": {"steps": 240 * 2375, "found": 19000, "expected": 19000}}
    leave("run", of="experiment=table9", tested=faces)
    assert "| LAB (CVPR 18) | 1.85 |  | 1.62 |  |" in report()[0]


def test_any_sweep_has_a_table_of_its_own(leave, report, tmp_path):
    for omega in (8, 10):
        for seed in (0, 1):
            leave(f"mine/omega-{omega}_seed-{seed}", [0.001 * omega + 0.002 * seed] * 3, seed=seed, loss__omega=omega,
                  report__table=None, epochs=2, codec__scheme={"name": "own", "names": ["a"]})  # fmt: skip
    text, cells, intervals = report()
    part = text.partition("## Sweep in mine")[2]
    assert "| loss.omega | NME % | FR10 % | best validation NME % |" in part
    assert "| 8 | 0.90 ± 0.14 (n 2) | 0.00 ± 0.00 (n 2) |  |" in part
    assert part.index("| 8 | 0.90") < part.index("| 10 | 1.10")
    assert [(line["row"], line["against"], line["difference"]) for line in intervals] == [
        ("omega 8", "", ""), ("omega 10", "omega 8", "+0.20"),
    ]  # fmt: skip
    assert "(figures/sweep1-1-val_nme.png)" in part
    assert all(line["table"] == "sweep1-1" for line in cells)


def test_stated_values_and_sections_are_of_the_protocol():
    known = {key for table in read_tables().values() for protocol in table.protocols for key in protocol.training}
    assert PAPER["stated"].keys() <= known | {"dataset.label_noise.distance"}


def test_plan_counts_what_is_trained_once(capsys):
    """62 jobs; Table 1's landmark row is also in 5, 6, 7, 12, Table 7's AW in 10, 11 and the claims, and so on."""
    print_plan(0.1)
    *lines, total, _ = capsys.readouterr().out.splitlines()
    assert "51 trainings of one seed fill the 62 places" in total
    assert len(lines) == 51
    # 240 epochs of 890 steps of 0.1 s are 5.93 h
    assert "  5.9 h  213,600 steps  experiment=table7 ablation=aw  (also table10, table11, claims)" in lines


def test_table_10_reads_epochs_of_the_runs_of_table_7(leave, report):
    """Epoch 10, counted from 1, is the file's 9."""
    leave("mse", of="mse", epochs=60)
    text, cells, intervals = report()
    found = {(c["row"], c["column"]): c["measured"] for c in cells if c["table"] == "table10-1"}
    assert found["MSE, all pixels", "epoch 10"] == "9.01"
    assert found["MSE, foreground", "50"] == "49.1"
    assert found["MSE, all pixels", "100"] == "" == found["AW, all pixels", "epoch 10"]
    part = text.partition("\n## Table 10")[2].partition("\n## ")[0]
    drawn = re.findall(r"\(figures/(.*?)\)", part)
    assert drawn == ["table10-1-train_mse_all.png", "table10-1-train_mse_fg.png"], "nothing of the test faces"
    assert text.count("| mse | MSE |") == 2, "both tables list it"
    assert {line["table"] for line in intervals} == {"table7-1"}


def test_rows_are_paired_with_the_first_on_the_same_faces(leave, report):
    """The second is better by 1 % on every face: the paired interval has no width, though the faces differ by 6 %."""
    errors = np.linspace(0.04, 0.10, 30)
    leave("mse", errors.tolist(), of="mse")
    leave("aw", (errors - 0.01).tolist(), of="aw")
    file = leave("aw_wm", errors.tolist()) / "test" / "per_image.csv"
    file.write_text(file.read_text().replace("face 1.jpg", "face 99.jpg"))
    for seed, name in enumerate(("face 1.jpg", "face 98.jpg")):
        file = leave(f"b{seed}", errors.tolist(), of="aw_wm_b", seed=seed) / "test" / "per_image.csv"
        file.write_text(file.read_text().replace("face 1.jpg", name))
    text, _, intervals = report()
    mse, aw, other = (line for line in intervals if line["table"] == "table7-1")
    assert (mse["row"], mse["against"], mse["difference"]) == ("MSE", "", "")
    assert [aw[k] for k in ("against", "difference", "difference, from", "difference, to")] == ["MSE", *["-1.00"] * 3]
    assert float(aw["NME %, to"]) - float(aw["NME %, from"]) > 0.5
    assert (other["row"], other["against"], other["difference"]) == ("AW+WM", "", "")
    assert "no interval of AW+WM+B: its trainings were tested on different faces" in text


# What is not a finished run


def test_failed_and_unfinished_runs_are_listed(leave, report, tmp_path):
    for name, epochs in (("failed", 3), ("going", 5)):
        (leave(name, epochs=epochs) / "test" / "metrics.json").unlink()
    (tmp_path / "runs" / "failed" / "error.txt").write_text("the loss became\nnan")
    leave("neither", report__row="else", loss__omega=1)
    text, cells, _ = report()
    assert "| failed | AW+WM | 0 |  | failed in epoch 3 of 240: the loss became nan |" in text
    assert "| going | AW+WM | 0 |  | unfinished, in epoch 5 of 240 |" in text
    assert "| neither | no cell is for it | 0 | abc1234 | finished |" in text
    assert all(cell["measured"] == "" for cell in cells)


BROKEN = [
    ("test/metrics.json", "{", "metrics.json: JSONDecodeError: Expecting property name"),
    ("test/metrics.json", '{"seed": 0}', "metrics.json: KeyError: 'dataset'"),
    ("test/per_image.csv", "index,image,nme_inter_ocular\n0,a,much\n", "per_image.csv: ValueError: could not convert"),
    ("test/per_image.csv", None, "per_image.csv: FileNotFoundError"),
    ("metrics.csv", "epoch,train/loss\nzero,0\n", "metrics.csv: ValueError: invalid literal for int"),
    ("config.yaml", "a: [", "config.yaml: ParserError: while parsing"),
    ("config.yaml", "codec: {sigma: 1.75}", "config.yaml of another version, without dataset.crop"),
]


def test_what_cannot_be_read_is_named_and_the_others_stay(leave, report):
    leave("good", [0.04, 0.05])
    for i, (name, content, _) in enumerate(BROKEN):
        file = leave(f"broken{i}", [0.06, 0.08], seed=i) / name
        file.unlink() if content is None else file.write_text(content)
    leave("unknown", report__table="table99", loss__omega=1)
    text, cells, _ = report()
    named = text.partition("## Not read")[2].replace("\\", "")
    for i, (_, _, said) in enumerate(BROKEN):
        assert f"| broken{i} | {said}" in named
    assert "| unknown | report.table is table99, no table of the paper |" in named
    (found,) = (cell for cell in cells if cell["table"] == "table7-1" and cell["row"] == "AW+WM")
    assert (found["runs"], float(found["measured"])) == ("good", pytest.approx(4.5))


def test_evaluations_and_runs_of_no_table_are_listed_apart(leave, report, tmp_path):
    run = leave("quick", report__table=None, loss__omega=1)
    elsewhere = tmp_path / "runs" / "evaluations" / "val"
    for folder in (run / "wandb", elsewhere / ".hydra"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("wandb_version: 1")
    about = json.loads((run / "test" / "metrics.json").read_text())
    shutil.copy(run / "test" / "per_image.csv", elsewhere)
    (elsewhere / "metrics.json").write_text(json.dumps({**about, "split": "val", "flip_test": True}))
    text, cells, _ = report()
    part = text.partition("## Other evaluations")[2]
    assert "| quick | finished | wflw test" in part
    assert "| evaluations/val | evaluated | wflw val" in part
    assert "averaged with the mirrored crop | inter_ocular 4.50, inter_pupil 4.50 | 0 | abc1234 |" in part
    assert cells == []
    assert "wandb" not in text
    assert "1 trainings (1 finished) and 1 other evaluations." in text
    assert "None" not in part


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_folder_without_runs_is_refused(config, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="runs=DIR"):
        write_report(config("report"), tmp_path / "report")
    with pytest.raises(DataError, match=f"{folder}: expected trainings .* found none"):
        write_report(config("report", f"runs={tmp_path / folder}"), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_report_removes_no_figures_that_are_not_its_own(leave, report, config, tmp_path):
    leave("run")
    report()
    with pytest.raises(DataError, match="found none"):
        write_report(config("report", f"runs={tmp_path}/typo", "overwrite=true"), tmp_path / "report")
    assert any((tmp_path / "report" / "figures").iterdir())
    (tmp_path / "own" / "figures").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        report(tmp_path / "own")


def test_report_among_the_runs_is_no_run_and_is_kept(leave, report, tmp_path):
    leave("run")
    before = load_runs(tmp_path / "runs")
    report(tmp_path / "runs" / "out")
    with pytest.raises(ConfigError, match="holds a report already"):
        report(tmp_path / "runs" / "out")
    after = load_runs(tmp_path / "runs")
    assert [[run.folder for run in runs] for runs in after[:2]] == [[run.folder for run in before[0]], []]
    assert after[2] == []


# The page


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_page_stands_alone_and_shows_texts_as_text(leave, report, tmp_path):
    folder = leave('<img src="http:x">|$x_', subsets={"pose": [0.08]}, of="aw", epochs=4)
    (folder / "error.txt").write_text("<script>alert(1)</script> {{ 7 * 7 }} | `x`")
    text = report()[0]
    html = (tmp_path / "report" / "report.html").read_text()
    page = Page()
    page.feed(html)
    assert page.tags.isdisjoint({"script", "iframe", "object"})
    assert "&lt;script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert all(re.match(r"data:image/png;base64,|data:,$|#\w+$", link) for link in page.links)
    row = next(line for line in text.splitlines() if "{{ 7" in line)
    assert "<script" not in text
    assert len(re.findall(r"(?<!\\)\|", row)) == 6, "five cells, whatever stands in them"
    kinds = "ced", "subsets", "train_loss", "train_gradient_norm", "val_nme", "train_mse_fg"
    pictures = {f"table7-1-{kind}.png" for kind in kinds}
    pictures |= {file.name for file in (tmp_path / "report" / "figures").iterdir()}
    assert set(re.findall(r"\(figures/(.*?)\)", text)) == pictures
    assert html.count("data:image/png") == len(pictures)


def test_infinite_errors_and_losses_are_drawn_without_a_warning(leave, report):
    for seed in range(2):
        folder = leave(f"wing{seed}", [0.05, float("inf")], {"pose": [0.05], "blur": [float("inf")]}, seed=seed)
        (folder / "metrics.csv").write_text("epoch,train/loss\n0,0.5\n1,nan\n2,inf\n3,-1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, _, (line,) = report()
    assert "| AW+WM | 4.30 | inf (n 2) | +inf |" in text
    assert (line["NME %"], line["NME %, from"]) == ("inf", "")


# Real runs


def test_a_real_run_is_read_found_again_and_evaluated(config, rendered, report, tmp_path):
    folder, words = tmp_path / "runs" / "aw", ("ablation=aw", "report.table=table7")
    results = train(config, rendered, folder, *words)
    evaluated = ["dataset=synthetic", *COUNTS, f"checkpoint={folder / 'checkpoints' / 'best.ckpt'}", "trainer=cpu"]
    evaluated += [f"paths.data_dir={rendered}", "data.batch_size=4", "data.num_workers=0"]
    engine.evaluate(config("evaluate", *evaluated), tmp_path / "runs" / "evaluation")
    text, cells, (line,) = report()
    (cell,) = (cell for cell in cells if cell["measured"] and cell["table"] == "table7-1")
    nme = 100 * results["subsets"]["full"]["nme"]["inter_ocular"]
    assert (cell["row"], float(cell["measured"])) == ("AW", pytest.approx(nme))
    assert line["faces"] == "8"
    assert float(line["NME %"]) == pytest.approx(nme, abs=0.005)
    assert float(line["NME %, from"]) < nme < float(line["NME %, to"])
    assert "Not read" not in text
    (run,), (evaluation,), _ = load_runs(tmp_path / "runs")
    assert all(sorted(run.curves[column]) == [1, 2] for column in ("val/nme", "train/mse_fg"))
    assert evaluation.training == run.training
    assert evaluation.results["trained"] == run.results["trained"]
    assert run.results["trained"]["steps"] == 2 * (run.results["trained"]["found"] // 4)
    reuse = f"reuse={tmp_path / 'runs'}"
    assert train(config, rendered, again := tmp_path / "again", *words, "data.num_workers=1", reuse) == results
    assert not again.exists()
    config_of_another = config("train", *words, *TINY, "dataset=synthetic", *COUNTS, reuse, "seed=1")
    engine.complete_config(config_of_another)
    config_of_another = OmegaConf.to_container(config_of_another, resolve=True)
    assert find_finished(again, str(tmp_path / "runs"), config_of_another) is None
