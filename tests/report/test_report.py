"""The report: figures that follow from what runs left, and nothing left out in silence."""

import copy
import csv
import hashlib
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

from awing.errors import ConfigError, DataError
from awing.metrics import auc, failure_rate
from awing.report import write_report
from awing.report.runs import Run, load_runs
from awing.report.statistics import mean_interval
from awing.report.tables import read_tables
from awing.training import engine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(config):
    """The paper's recipe on WFLW by landmarks, as a run's config.yaml has it."""
    cfg = config("train", "experiment=table7", "ablation=aw_wm", "output=run", "dataset.crop_scale=1.25")
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.fixture(scope="module")
def whole(config):
    """The same with boundary and coordinates."""
    cfg = config("train", "experiment=table7", "ablation=aw_wm_b_c_cb", "output=run")
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.fixture
def leave(base, tmp_path):
    """Leave a run's folder below ``runs/``, as training does."""

    def run(name: str, errors=(0.04, 0.05), subsets=None, tested=None, epochs=240, of=None, **config) -> Path:
        folder = tmp_path / "runs" / name
        settings = copy.deepcopy(of or base)
        for key, value in config.items():
            OmegaConf.update(node := OmegaConf.create(settings), key.replace("__", "."), value)
            settings = OmegaConf.to_container(node)
        (folder / "test").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        rows = [f"{e},{e},{2 / (e + 1)},{0.01 + e},{0.1 + e},{1 / (e + 1)}" for e in range(epochs)]
        header = "epoch,step,train/loss,train/mse_all,train/mse_fg,val/nme"
        (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
        about = {
            "dataset": settings["dataset"]["name"], "split": "test", "faces": "official test faces",
            "crop": settings["dataset"]["crop"], "crop_scale": 1.25, "decoder": "quarter", "seed": settings["seed"],
            "expected": 2500, "found": 2500, "commit": "abc1234",
            **(tested or {}),
        }  # fmt: skip
        names = ("inter_ocular", "inter_pupil")
        parts = {
            "full": torch.tensor(errors, dtype=torch.float64),
            **{k: torch.tensor(v, dtype=torch.float64) for k, v in (subsets or {}).items()},
        }
        results = {
            part: {
                "count": len(e), "nme": {n: float(e.mean()) for n in names},
                "fr": {n: {f"{t:.2f}": failure_rate(e, t) for t in (0.08, 0.10)} for n in names},
                "auc": {n: {f"{t:.2f}": auc(e, t) for t in (0.08, 0.10)} for n in names},
            }
            for part, e in parts.items()
        }  # fmt: skip
        (folder / "test" / "metrics.json").write_text(json.dumps({**about, "subsets": results}))
        lines = [f"{i},/data/face {i}.jpg,,{e},{e}" for i, e in enumerate(errors)]
        columns = "index,image,subsets,nme_inter_ocular,nme_inter_pupil"
        (folder / "test" / "per_image.csv").write_text("\n".join([columns, *lines]) + "\n")
        return folder

    return run


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


def cell(cells, **wanted) -> dict[str, str]:
    found = [c for c in cells if all(c[key] == value for key, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


# Statistics


def test_two_faces_resample_to_nothing_but_their_halves():
    """Means of two draws from {0, 1} are 0, 1/2, 1 with shares 1/4, 1/2, 1/4: both tails reach the ends."""
    assert mean_interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_the_interval_is_the_normal_one_where_that_holds():
    errors = np.random.default_rng(1).normal(0.05, 0.01, 1000)
    half = 1.96 * errors.std(ddof=1) / np.sqrt(1000)
    low, high = mean_interval(errors)
    assert low == pytest.approx(errors.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(errors.mean() + half, abs=0.1 * half)


def test_the_interval_covers_the_true_mean_of_skewed_errors_nineteen_times_in_twenty():
    rng = np.random.default_rng(2)
    intervals = [mean_interval(rng.exponential(0.05, 100), seed) for seed in range(150)]
    assert 0.88 <= np.mean([low <= 0.05 <= high for low, high in intervals]) <= 0.99


def test_pairs_narrow_the_interval_of_a_difference():
    """Both find the same faces hard: their difference varies by 0.001 where each varies by 0.02."""
    rng = np.random.default_rng(3)
    hard = rng.gamma(4, 0.01, 300)
    one, other = (hard + rng.normal(0, 0.001, 300) for _ in range(2))
    (low, high), (a, b) = mean_interval(one - other), mean_interval(one)
    assert high - low < 0.15 * (b - a)


def test_the_same_seed_gives_the_same_interval_and_infinite_errors_none():
    errors = np.random.default_rng(4).gamma(4, 0.01, 50)
    assert mean_interval(errors, 7) == mean_interval(errors, 7) != mean_interval(errors, 8)
    assert mean_interval(np.array([0.1, np.inf])) is None and mean_interval(np.array([0.1])) is None


# Tables


@pytest.fixture(scope="module")
def tables():
    return read_tables(yaml.safe_load((ROOT / "conf" / "report.yaml").read_text()))


def test_the_rows_of_table_7_are_those_that_the_methods_write(tables):
    methods = {yaml.safe_load(file.read_text())["report"]["row"] for file in (ROOT / "conf" / "method").glob("*.yaml")}
    assert {row[0].where["report.row"] for row in tables["table7"].rows} < methods  # 4.1 and 4.2 are about others
    # 4.3: "improves the benchmark by 0.74 %", "0.25 %"; 7.6.2: "0.09 %"... of the first, third, fifth and last row
    paper = [row[0].paper for row in tables["table7"].rows]
    assert [round(paper[i] - paper[j], 2) for i, j in ((0, 2), (4, 7))] == [0.74, 0.09]


@pytest.mark.parametrize("key", ["metrik", "paper"])
def test_an_entry_that_is_none_is_refused_by_its_tables_name(key):
    row = {"name": "AW", "metric": "fps", key: [1.0, 2.0]}
    table = {"title": "t", "normaliser": "box", "columns": [{"name": "NME"}], "rows": [row]}
    with pytest.raises(ConfigError, match="table5"):
        read_tables({"protocol": {}, "tables": {"table5": table}})


def test_seeds_are_a_mean_with_sample_spread_and_the_papers_protocol_a_difference(leave, report):
    """Means 4.2 and 4.3 %: 4.25 with a sample deviation of 0.1 / sqrt(2); the paper has 4.30."""
    leave("a/b/seed0", [0.041, 0.043])
    leave("a/seed1", [0.040, 0.046], seed=1)
    text, cells, intervals = report()
    assert "| AW+WM | 4.30 | 4.25 ± 0.07 (n 2) | -0.05 |" in text
    assert "| AW | 4.65 |  |  |" in text, "a cell without a run stays empty"
    found = cell(cells, row="AW+WM")
    assert float(found["spread"]) == pytest.approx(0.1 / np.sqrt(2)) and found["seeds"] == "0 1"
    assert "wflw test: 2500 of 2500 faces (official test faces), crop landmarks times 1.25" in text
    assert "Seeds 0, 1; commit abc1234" in text
    # averaged a face over the seeds first: 4.05 and 4.45 %
    assert (intervals[0]["NME %"], intervals[0]["NME %, from"], intervals[0]["NME %, to"]) == ("4.25", "4.05", "4.45")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"report__scale": "cpu"}, "report.scale is cpu"),
        ({"dataset__name": "300w"}, "dataset.name is 300w (paper: wflw)"),
        ({"dataset__crop": "provided"}, "dataset.crop is provided"),
        ({"trainer__max_epochs": 20}, "trainer.max_epochs is 20"),
        ({"dataset__allow_partial": True}, "allow_partial is True"),
        ({"tested": {"found": 2000}}, "2000 of 2500 test faces"),
        ({"tested": {"faces": "cut from the training faces, split_seed 0"}}, "cut from the training faces"),
    ],
)
def test_another_protocol_gets_no_difference_and_is_named(leave, tables, tmp_path, changes, said):
    leave("run", **changes)
    (run,), _, _ = load_runs(tmp_path / "runs")
    entry = tables["table7"].filled([run])[4][0]
    assert entry.texts == ("4.30", "4.50", "")
    assert any(said in words for words in entry.cell.deviations(run))


def test_runs_of_two_protocols_are_never_in_one_table(leave, report):
    leave("full", [0.04, 0.05])
    leave("partial", [0.06, 0.08], tested={"found": 2000}, seed=1)
    text, cells, intervals = report()
    assert "No difference is given where the protocol is not the paper's: 2000 of 2500 test faces." in text
    measured = [(c["table"], round(float(c["measured"]), 9)) for c in cells if c["n"] == "1"]
    assert measured == [("table7-1", 4.5), ("table7-2", 7.0)]
    assert all(line["n"] == "1" for line in intervals)


@pytest.mark.parametrize(
    "changes",
    [{"loss__omega": 2.0}, {"weight_map__weight": 1.0}, {"augment__rotation": 0.0}, {"optim__optimizer__lr": 1e-3}],
)
def test_only_trainings_that_differ_in_their_seed_are_averaged(leave, report, changes):
    leave("one", [0.04, 0.05])
    leave("other", [0.06, 0.08], seed=1, **changes)
    text, cells, _ = report()
    found = [(round(float(c["measured"]), 9), c["n"], bool(c["difference"])) for c in cells if c["measured"]]
    assert found == [(4.5, "1", True), (7.0, "1", False)]
    assert "No difference is given" in text


def test_tables_that_lay_out_crops_or_data_sets_keep_them_side_by_side(leave, whole, report):
    for crop, error in (("provided", 0.05), ("landmarks", 0.04)):
        pose = {"pose": [error + 0.03]}
        scale = {"provided": 1.1, "landmarks": 1.25}[crop]
        leave(f"t1/{crop}", [error] * 3, pose, of=whole, dataset__crop=crop, dataset__crop_scale=scale,
              report__table="table1", report__row=None)  # fmt: skip
    for data, crop in (("wflw", "landmarks"), ("300w", "provided")):
        tested = {"expected": 689, "found": 689} if data == "300w" else {}
        leave(f"t12/{data}", [0.04] * 3, {"common": [0.03]}, {**tested, "fps": 10.0}, of=whole,
              report__table="table12", model__stacks=4, dataset__name=data, dataset__crop=crop,
              dataset__crop_scale={"provided": 1.0, "landmarks": 1.25}[crop])  # fmt: skip
    _, cells, _ = report()
    assert {c["table"] for c in cells} == {"table1-1", "table12-1"}
    provided = cell(cells, row="NME %, provided box", column="Pose")
    assert (float(provided["measured"]), float(provided["difference"])) == (pytest.approx(8.0), pytest.approx(0.62))
    assert float(cell(cells, row="NME %, landmark crop", column="Test")["difference"]) == pytest.approx(-0.21)
    four = {c["column"]: c for c in cells if c["row"] == "4 stacks"}
    assert float(four["WFLW, inter-ocular"]["difference"]) == pytest.approx(4.0 - 4.21)
    assert float(four["common, inter-ocular"]["difference"]) == pytest.approx(3.0 - 2.72)
    speed = four["images a second"]
    assert (speed["measured"], speed["difference"], speed["n"]) == ("10.0", "", "1")


def test_table_10_reads_the_epochs_of_metrics_csv_from_runs_of_table_7(leave, report):
    """Epoch 10, counted from 1, is the file's 9; the first rows of an epoch there have no such column."""
    leave("mse", report__row="MSE", epochs=60)
    text, cells, intervals = report()
    found = {(c["row"], c["column"]): c["measured"] for c in cells if c["table"] == "table10-1"}
    assert found["MSE, all pixels", "epoch 10"] == "9.01" and found["MSE, foreground", "50"] == "49.1"
    assert found["MSE, all pixels", "100"] == "" == found["AW, all pixels", "epoch 10"]
    assert "Not read" not in text and "Table 10" not in text.partition("## Without a run")[2]
    _, _, part = text.partition("\n## Table 10")
    part = part.partition("\n## ")[0]
    drawn = re.findall(r"\(figures/(.*?)\)", part)
    assert drawn == ["table10-1-train_mse_all.png", "table10-1-train_mse_fg.png"], "nothing of the test faces"
    assert "### Runs" not in part and text.count("| mse | MSE |") == 1, "Table 7 lists the run"
    assert {line["table"] for line in intervals} == {"table7-1"}


def test_rows_are_compared_face_by_face_with_the_first(leave, report):
    """The second is better by 1 % on every face: the paired interval has no width, though the faces differ by 6 %."""
    errors = np.linspace(0.04, 0.10, 30)
    leave("mse", errors.tolist(), report__row="MSE")
    leave("aw", (errors - 0.01).tolist(), report__row="AW")
    _, _, (mse, aw) = report()
    assert (mse["row"], mse["against"], mse["difference"]) == ("MSE", "", "")
    assert [aw[k] for k in ("against", "difference", "difference, from", "difference, to")] == ["MSE", *["-1.00"] * 3]
    assert float(aw["NME %, to"]) - float(aw["NME %, from"]) > 0.5


def test_other_faces_are_not_paired(leave, report):
    """The same indices, but of other images: one set misses a file."""
    leave("mse", [0.04, 0.05], report__row="MSE")
    file = leave("aw", [0.03, 0.04], report__row="AW") / "test" / "per_image.csv"
    file.write_text(file.read_text().replace("face 1", "face 2"))
    _, _, (_, aw) = report()
    assert (aw["against"], aw["difference"]) == ("", "")
    file = leave("aw1", [0.03, 0.04], report__row="AW", seed=1)
    text, _, intervals = report(file / "report")
    assert "tested on different faces" in text and [line["row"] for line in intervals] == ["MSE"]


# What is not a finished run


def test_failed_and_unfinished_runs_are_listed_with_their_reason(leave, report, tmp_path):
    failed, going, neither = leave("failed", epochs=3), leave("going", epochs=5), leave("neither", report__row="else")
    for folder in (failed, going):
        (folder / "test" / "metrics.json").unlink()
    (failed / "error.txt").write_text("the loss became\nnan")
    early = tmp_path / "runs" / "early"
    early.mkdir()
    (early / "error.txt").write_text("data.batch_size 7 is odd")
    text, cells, _ = report()
    assert "| failed | AW+WM | 0 |  | failed in epoch 3 of 240: the loss became nan |" in text
    assert "| going | AW+WM | 0 |  | unfinished, in epoch 5 of 240 |" in text
    assert f"| {neither.name} | no cell is for it | 0 | abc1234 | finished |" in text
    assert "| early | failed before it wrote its config.yaml: data.batch_size 7 is odd |" in text
    assert all(c["measured"] == "" for c in cells)


BROKEN = [
    ("test/metrics.json", "{", "metrics.json is broken"),
    ("test/metrics.json", "[]", "metrics.json is broken"),
    ("test/metrics.json", b"\xff\xfe", "metrics.json is broken"),
    ("test/metrics.json", "{}", "metrics.json has no 'dataset'"),
    ("test/metrics.json", '"full": {"count": "two"', "subsets.full.count is no number"),
    ("test/per_image.csv", "index,image\n0,a.jpg\n", "no errors by inter_ocular"),
    ("test/per_image.csv", "image,nme_inter_ocular\na,0.1\n", "per_image.csv has no 'index'"),
    ("test/per_image.csv", "index,image,nme_inter_ocular\n0,a\n", "per_image.csv is broken"),
    ("test/per_image.csv", None, "per_image.csv is missing"),
    ("metrics.csv", "epoch,step,train/loss\n0,1,0.5\n", "has no value of train/mse_all, train/mse_fg, val/nme"),
    ("metrics.csv", "epoch,train/loss\n0,zero\n", "metrics.csv is broken"),
    ("metrics.csv", None, "metrics.csv is missing"),
    ("config.yaml", "a: [", "config.yaml is broken"),
    ("config.yaml", "- a", "config.yaml is broken"),
    ("config.yaml", "report: {table: table99}", "report.table is table99"),
]


def test_what_cannot_be_read_is_named_and_the_others_stay(leave, report):
    leave("good", [0.04, 0.05])
    for i, (name, content, _) in enumerate(BROKEN):
        file = leave(f"broken{i}", [0.04, 0.05], report__row="AW", seed=i, epochs=2) / name
        if content is None:
            file.unlink()
        elif isinstance(content, bytes):
            file.write_bytes(content)
        elif content.startswith('"full"'):
            file.write_text(re.sub(r'"full": {"count": \d+', content, file.read_text()))
        else:
            file.write_text(content)
    text, cells, _ = report()
    named = text.partition("## Not read")[2].splitlines()
    for i, (_, _, said) in enumerate(BROKEN):
        assert any(re.search(rf"\bbroken{i}\b", line) and said in line.replace("\\", "") for line in named), said
    assert cell(cells, row="AW+WM", table="table7-1")["measured"] == "4.5"


@pytest.mark.parametrize("epoch", ["9" * 400, "-2", "1.5"])
def test_what_is_no_epoch_and_no_number_of_a_size_is_named(leave, report, epoch):
    folder = leave("good", report__row="MSE")
    (folder / "metrics.csv").write_text(f"epoch,train/loss\n{epoch},0.5\n")
    file = leave("huge", report__row="AW") / "test" / "metrics.json"
    file.write_text(file.read_text().replace('"inter_ocular": 0.045', f'"inter_ocular": {10**400}'))
    text = report()[0]
    assert "| good | metrics.csv is broken" in text
    assert "| huge | metrics.json is broken: int too large" in text


def test_what_a_run_cannot_have_logged_is_not_missed(leave, report):
    """Less steps than trainer.log_every_n_steps leave no train/loss, a run without validation faces no val/nme."""
    short = leave("short", epochs=2) / "metrics.csv"
    short.write_text("epoch,step,train/mse_all,train/mse_fg,val/nme\n0,5,0.1,0.2,0.3\n")
    blind = leave("blind", epochs=2, seed=1, dataset__val_fraction=0.0) / "metrics.csv"
    blind.write_text("epoch,step,train/loss,train/mse_all,train/mse_fg\n0,9,0.1,0.1,0.2\n")
    assert "Not read" not in report()[0]


def test_evaluations_and_trainings_of_no_table_are_listed_apart(leave, report, tmp_path):
    run = leave("quick", report__table=None)
    (run / "wandb").mkdir()
    (run / "wandb" / "config.yaml").write_text("wandb_version: 1")
    elsewhere = tmp_path / "runs" / "evaluations" / "val"
    elsewhere.mkdir(parents=True)
    about = json.loads((run / "test" / "metrics.json").read_text())
    (elsewhere / "metrics.json").write_text(json.dumps({**about, "split": "val"}))
    text, cells, _ = report()
    part = text.partition("## Other evaluations")[2]
    assert (
        "| quick | finished | wflw test" in part
        and "| evaluations/val | evaluated | wflw val" in part
        and "None" not in part
    )
    assert "inter_ocular 4.50" in part and cells == [] and "wandb" not in text


def test_a_seed_that_counts_twice_is_pointed_out(leave, report):
    leave("one")
    leave("again")
    assert "AW+WM: n counts a seed more than once" in report()[0]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], ConfigError, "runs=DIR"),
        (["runs=/nowhere/at/all"], DataError, "is no folder"),
        (["runs={empty}"], DataError, "holds no run"),
    ],
)
def test_a_folder_without_runs_is_refused(config, tmp_path, words, error, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        write_report(config("report", *[w.format(empty=tmp_path / "empty") for w in words]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_among_the_runs_changes_none_is_no_run_and_is_not_overwritten(leave, report, tmp_path):
    def contents() -> dict[Path, str]:
        files = [file for file in (tmp_path / "runs").rglob("*") if file.is_file() and "report" not in file.parts[-2:]]
        return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if "out" not in str(file)}

    leave("run")
    before = contents()
    output = tmp_path / "runs" / "out"
    first = report(output)
    with pytest.raises(ConfigError, match="holds a report already"):
        report(output)
    assert report(tmp_path / "runs" / "out2") == first
    assert {file: digest for file, digest in contents().items() if file in before} == before


# The page


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_shows_strangers_texts_as_text(leave, report, tmp_path):
    name = '<img src="http:x" onerror=alert(1)>|$x_'
    folder = leave(f"{name}\n", report__row="AW")
    (folder / "test" / "metrics.json").unlink()
    (folder / "error.txt").write_text("<script>alert(1)</script> {{ 7 * 7 }} $\\frac$ | `x`")
    leave("good", tested={"commit": "<b>&", "faces": "official test faces"}, dataset__name="<i>$a$")
    text = report()[0]
    html = (tmp_path / "report" / "report.html").read_text()
    page = Page()
    page.feed(html)
    assert page.tags.isdisjoint({"script", "i", "b", "iframe", "object"})
    assert page.links and all(re.match(r"data:image/png;base64,|data:,$|#part\d+$", link) for link in page.links)
    assert "default-src 'none'" in html and "&lt;script&gt;" in html and "{{ 7 * 7 }}" in html
    assert "<script" not in text and "<img" not in text
    row = next(line for line in text.splitlines() if "{{ 7" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 6, "five cells, whatever stands in them"


def test_every_picture_is_in_the_page_and_beside_the_markdown(leave, report, tmp_path):
    leave("mse", subsets={"pose": [0.08]}, report__row="MSE")
    leave("aw", subsets={"pose": [0.07]}, report__row="AW", epochs=4)
    text = report()[0]
    linked = re.findall(r"\(figures/(.*?)\)", text)
    assert sorted(linked) == sorted(file.name for file in (tmp_path / "report" / "figures").iterdir())
    assert (tmp_path / "report" / "report.html").read_text().count("data:image/png") == len(linked)
    wanted = {f"table7-1-{kind}.png" for kind in ("ced", "subsets", "train_loss", "val_nme", "train_mse_fg")}
    assert wanted <= set(linked)


def test_losses_that_are_not_numbers_and_infinite_errors_are_drawn_without_a_warning(leave, report):
    folder = leave("wing", [0.05, float("inf")], report__row="AW+WM")
    (folder / "metrics.csv").write_text("epoch,train/loss\n0,0.5\n1,nan\n2,inf\n3,-1\n")
    leave("wing1", [0.05, float("inf")], report__row="AW+WM", seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, _, (line,) = report()
    assert "| AW+WM | 4.30 | inf (n 2) | +inf |" in text and (line["NME %"], line["NME %, from"]) == ("inf", "")


# Real runs


def test_real_runs_are_gathered_with_the_numbers_that_they_wrote(config, rendered, report, tmp_path):
    words = [
        "dataset=synthetic", "dataset.reader.expected.train=24", "dataset.reader.expected.test=8", "model=small",
        "trainer=cpu", "model.channels=8", "model.depth=2", "codec.input_size=64", "codec.heatmap_size=16",
        "data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=2", "callbacks.progress=null",
        "report.table=table7", "report.preset=cpu", f"paths.data_dir={rendered}",
    ]  # fmt: skip
    found = {}
    for row, loss in (("MSE", "mse"), ("AW", "awing")):
        output = tmp_path / "runs" / loss
        found[row] = engine.fit(
            config("train", *words, f"loss={loss}", f"report.row={row}", f"output={output}"), output
        )
    text, cells, intervals = report()
    for row, results in found.items():
        nme = 100 * results["subsets"]["full"]["nme"]["inter_ocular"]
        assert float(cell(cells, row=row, table="table7-1")["measured"]) == pytest.approx(nme)
        line = next(line for line in intervals if line["row"] == row)
        assert line["faces"] == "8" and float(line["NME %"]) == pytest.approx(nme, abs=0.005)
        assert float(line["NME %, from"]) < nme < float(line["NME %, to"])
    assert intervals[1]["against"] == "MSE" and "Not read" not in text
    runs, _, _ = load_runs(tmp_path / "runs")
    assert all(sorted(run.curves[column]) == [1, 2] for run in runs for column in ("val/nme", "train/mse_fg"))


def test_a_value_is_found_by_its_dotted_key():
    assert Run("a", {"dataset": {"label_noise": None}}).get("dataset.label_noise.share") is None
