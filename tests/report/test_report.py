"""The report: values and differences follow from what runs left, and what is left out is named."""

import copy
import csv
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tiny import run as train

from awing.errors import ConfigError, DataError
from awing.metrics import auc, failure_rate
from awing.report import write_report
from awing.report.runs import Run, load_runs
from awing.report.statistics import mean_interval
from awing.report.tables import read_tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(config):
    """The paper's recipe on WFLW by landmarks, as a run's config.yaml has it: without boundary and with it."""
    words = ["experiment=table7", "output=run", "dataset.crop_scale=1.25"]
    found = {name: config("train", *words, f"ablation={name}") for name in ("aw_wm", "aw_wm_b_c_cb")}
    return {name: OmegaConf.to_container(cfg, resolve=True) for name, cfg in found.items()}


@pytest.fixture
def leave(settings, tmp_path):
    """Leave a run's folder below ``runs/``, as training does; ``loss__omega=2`` changes its configuration."""

    def run(name, errors=(0.04, 0.05), subsets=None, tested=None, epochs=0, of="aw_wm", **changes) -> Path:
        node = OmegaConf.create(copy.deepcopy(settings[of]))
        for key, value in changes.items():
            OmegaConf.update(node, key.replace("__", "."), value)
        cfg, folder = OmegaConf.to_container(node), tmp_path / "runs" / name
        (folder / "test").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
        rows = [f"{e},{e},{2 / (e + 1)},{0.01 + e},{0.1 + e},{1 / (e + 1)}" for e in range(epochs)]
        header = "epoch,step,train/loss,train/mse_all,train/mse_fg,val/nme"
        (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
        about = {
            "dataset": cfg["dataset"]["name"], "split": "test", "faces": "official test faces",
            "crop": cfg["dataset"]["crop"], "crop_scale": 1.25, "decoder": "quarter", "seed": cfg["seed"],
            "expected": 2500, "found": 2500, "commit": "abc1234", **(tested or {}),
        }  # fmt: skip
        parts = {
            part: _measured(torch.tensor(e, dtype=torch.float64))
            for part, e in {"full": errors, **(subsets or {})}.items()
        }
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
        write_report(config("report", f"runs={tmp_path / 'runs'}", f"output={output}"), output)
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
        table, (runs, _, _) = read_tables()[name], load_runs(tmp_path / "runs")
        groups = table.groups([run for run in runs if table.has(name, run)])
        return [{(cell.row, cell.column): cell.line(group) for cell in table.cells} for group in groups]

    return lines


# Statistics


def test_interval_of_two_faces_reaches_both():
    """Means of two draws from {0, 1} are 0, 1/2, 1 with shares 1/4, 1/2, 1/4."""
    assert mean_interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_interval_is_the_normal_one_where_that_holds():
    errors = np.random.default_rng(1).normal(0.05, 0.01, 1000)
    half = 1.96 * errors.std(ddof=1) / np.sqrt(1000)
    assert mean_interval(errors) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.1 * half)
    assert mean_interval(errors, 7) == mean_interval(errors, 7) != mean_interval(errors, 8)


def test_interval_needs_two_finite_errors():
    assert mean_interval(np.array([0.1, np.inf])) is None
    assert mean_interval(np.array([0.1])) is None


# Tables


def test_table_7_has_the_ablations_and_the_papers_steps():
    """4.3: "improves the benchmark by 0.74 %", of the third over the first row; 7.6.2: "0.09 %", of the last."""
    rows = [cell for (cell,) in read_tables()["table7"].rows]
    assert [round(rows[i].paper - rows[j].paper, 2) for i, j in ((0, 2), (4, 7))] == [0.74, 0.09]
    files = list((ROOT / "conf" / "ablation").glob("*.yaml"))
    assert {row.where["report.row"] for row in rows} < {yaml.safe_load(f.read_text())["report"]["row"] for f in files}


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"report__scale": "cpu"}, "report.scale is cpu (paper: full)"),
        ({"dataset__crop": "provided"}, "dataset.crop is provided (paper: landmarks)"),
        ({"tested": {"found": 2000}}, "2000 of 2500 test faces"),
        ({"tested": {"faces": "cut from train"}}, "results.faces is cut from train (paper: official test faces)"),
    ],
)
def test_another_protocol_gets_no_difference(leave, printed, tmp_path, changes, said):
    leave("run", **changes)
    (lines,) = printed("table7")
    line = lines["AW+WM", "NME %"]
    assert (line["measured"], line["difference"]) == (pytest.approx(4.5), None)
    ((run,), _, _), (cell,) = load_runs(tmp_path / "runs"), read_tables()["table7"].rows[4]
    assert said in cell.deviations(run)


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


def test_crops_and_data_sets_of_one_table_stay_together(leave, printed):
    for crop, error, scale in (("provided", 0.05, 1.1), ("landmarks", 0.04, 1.25)):
        leave(f"t1/{crop}", [error] * 3, {"pose": [error + 0.03]}, of="aw_wm_b_c_cb", dataset__crop=crop,
              dataset__crop_scale=scale, report__table="table1", report__row=None)  # fmt: skip
    (lines,) = printed("table1")
    assert lines["NME %, provided box", "Pose"]["measured"] == pytest.approx(8.0)
    assert lines["NME %, provided box", "Pose"]["difference"] == pytest.approx(8.0 - 7.38)
    assert lines["NME %, landmark crop", "Test"]["difference"] == pytest.approx(4.0 - 4.21)
    for data, crop, scale, faces in (("wflw", "landmarks", 1.25, 2500), ("300w", "provided", 1.0, 689)):
        leave(f"t12/{data}", [0.04] * 3, {"common": [0.03]}, {"expected": faces, "found": faces, "fps": 10.0},
              of="aw_wm_b_c_cb", report__table="table12", model__stacks=4, dataset__name=data, dataset__crop=crop,
              dataset__crop_scale=scale)  # fmt: skip
    (lines,) = printed("table12")
    assert lines["4 stacks", "WFLW, inter-ocular"]["difference"] == pytest.approx(4.0 - 4.21)
    assert lines["4 stacks", "common, inter-ocular"]["difference"] == pytest.approx(3.0 - 2.72)
    speed = lines["4 stacks", "images a second"]
    assert (speed["measured"], speed["difference"], speed["n"]) == (10.0, None, 1)


def test_table_10_reads_epochs_of_the_runs_of_table_7(leave, report):
    """Epoch 10, counted from 1, is the file's 9."""
    leave("mse", report__row="MSE", epochs=60)
    text, cells, intervals = report()
    found = {(c["row"], c["column"]): c["measured"] for c in cells if c["table"] == "table10-1"}
    assert found["MSE, all pixels", "epoch 10"] == "9.01"
    assert found["MSE, foreground", "50"] == "49.1"
    assert found["MSE, all pixels", "100"] == "" == found["AW, all pixels", "epoch 10"]
    part = text.partition("\n## Table 10")[2].partition("\n## ")[0]
    drawn = re.findall(r"\(figures/(.*?)\)", part)
    assert drawn == ["table10-1-train_mse_all.png", "table10-1-train_mse_fg.png"], "nothing of the test faces"
    assert "### Runs" not in part, "Table 7 lists the run"
    assert text.count("| mse | MSE |") == 1
    assert {line["table"] for line in intervals} == {"table7-1"}


def test_rows_are_paired_with_the_first_on_the_same_faces(leave, report):
    """The second is better by 1 % on every face: the paired interval has no width, though the faces differ by 6 %."""
    errors = np.linspace(0.04, 0.10, 30)
    leave("mse", errors.tolist(), report__row="MSE")
    leave("aw", (errors - 0.01).tolist(), report__row="AW")
    file = leave("aw_wm", errors.tolist()) / "test" / "per_image.csv"
    file.write_text(file.read_text().replace("face 1.jpg", "face 99.jpg"))
    for seed, name in enumerate(("face 1.jpg", "face 98.jpg")):
        file = leave(f"b{seed}", errors.tolist(), report__row="AW+WM+B", seed=seed) / "test" / "per_image.csv"
        file.write_text(file.read_text().replace("face 1.jpg", name))
    text, _, (mse, aw, other) = report()
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
    leave("neither", report__row="else")
    text, cells, _ = report()
    assert "| failed | AW+WM | 0 |  | failed in epoch 3 of 240: the loss became nan |" in text
    assert "| going | AW+WM | 0 |  | unfinished, in epoch 5 of 240 |" in text
    assert "| neither | no cell is for it | 0 | abc1234 | finished |" in text
    assert all(cell["measured"] == "" for cell in cells)


BROKEN = [
    ("test/metrics.json", "{", "metrics.json: JSONDecodeError: Expecting property name"),
    ("test/metrics.json", '{"seed": 0}', "metrics.json: KeyError: 'subsets'"),
    ("test/per_image.csv", "index,image,nme_inter_ocular\n0,a,much\n", "per_image.csv: ValueError: could not convert"),
    ("test/per_image.csv", None, "per_image.csv: FileNotFoundError"),
    ("metrics.csv", "epoch,train/loss\nzero,0\n", "metrics.csv: ValueError: invalid literal for int"),
    ("config.yaml", "a: [", "config.yaml: ParserError: while parsing"),
    ("config.yaml", "report: {table: table99}", "report.table is table99, no table of the paper"),
]


def test_what_cannot_be_read_is_named_and_the_others_stay(leave, printed, report):
    leave("good", [0.04, 0.05])
    leave("again", [0.04, 0.05])
    for i, (name, content, _) in enumerate(BROKEN):
        file = leave(f"broken{i}", [0.06, 0.08], seed=i) / name
        file.unlink() if content is None else file.write_text(content)
    named = report()[0].partition("## Not read")[2].replace("\\", "")
    for i, (_, _, said) in enumerate(BROKEN):
        assert f"| broken{i} | {said}" in named
    assert "AW+WM: n counts a seed more than once" in named
    (lines,) = printed("table7")
    assert lines["AW+WM", "NME %"]["measured"] == pytest.approx(4.5)


def test_evaluations_and_runs_of_no_table_are_listed_apart(leave, report, tmp_path):
    run = leave("quick", report__table=None)
    elsewhere = tmp_path / "runs" / "evaluations" / "val"
    for folder in (run / "wandb", elsewhere / ".hydra"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("wandb_version: 1")
    about = json.loads((run / "test" / "metrics.json").read_text())
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
    folder = leave('<img src="http:x">|$x_', subsets={"pose": [0.08]}, report__row="AW", epochs=4)
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
    pictures = {f"table7-1-{kind}.png" for kind in ("ced", "subsets", "train_loss", "val_nme", "train_mse_fg")}
    pictures |= {file.name for file in (tmp_path / "report" / "figures").iterdir()}
    assert set(re.findall(r"\(figures/(.*?)\)", text)) == pictures
    assert html.count("data:image/png") == len(pictures)


def test_infinite_errors_and_losses_are_drawn_without_a_warning(leave, report):
    for seed in range(2):
        folder = leave(f"wing{seed}", [0.05, float("inf")], seed=seed)
        (folder / "metrics.csv").write_text("epoch,train/loss\n0,0.5\n1,nan\n2,inf\n3,-1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, _, (line,) = report()
    assert "| AW+WM | 4.30 | inf (n 2) | +inf |" in text
    assert (line["NME %"], line["NME %, from"]) == ("inf", "")


# Real runs


def test_a_real_run_is_read_with_the_numbers_it_wrote(config, rendered, report, tmp_path):
    folder = tmp_path / "runs" / "aw"
    results = train(config, rendered, folder, "report.table=table7", "report.row=AW", "report.scale=cpu")
    text, cells, (line,) = report()
    (cell,) = (cell for cell in cells if cell["measured"] and cell["table"] == "table7-1")
    nme = 100 * results["subsets"]["full"]["nme"]["inter_ocular"]
    assert (cell["row"], float(cell["measured"])) == ("AW", pytest.approx(nme))
    assert line["faces"] == "8"
    assert float(line["NME %"]) == pytest.approx(nme, abs=0.005)
    assert float(line["NME %, from"]) < nme < float(line["NME %, to"])
    assert "Not read" not in text
    (run,), _, _ = load_runs(tmp_path / "runs")
    assert all(sorted(run.curves[column]) == [1, 2] for column in ("val/nme", "train/mse_fg"))


def test_setting_below_nothing_is_none():
    assert Run("a", {"dataset": {"label_noise": None}}).get("dataset.label_noise.share") is None
