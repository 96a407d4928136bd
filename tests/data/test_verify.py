"""Verifying, caching and showing a data set."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniatures import save_image, wflw_line

from awing.data.images import read_image
from awing.data.records import Record
from awing.data.verify import check_face
from awing.training import engine

COUNTS = "dataset.reader.expected={train: 24, test: 8}"
ANNOTATIONS = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"


@pytest.fixture
def faces(rendered, tmp_path) -> Path:
    """A copy of the rendered faces that a test may break."""
    shutil.copytree(rendered / "synthetic", tmp_path / "data" / "synthetic")
    return tmp_path / "data" / "synthetic"


def prepare(config, root: Path, action: str, *words: str) -> tuple[bool, Path]:
    output = root.parents[1] / action
    overrides = "dataset=synthetic", COUNTS, f"paths.data_dir={root.parent}", f"action={action}", *words
    return engine.prepare(config("prepare", *overrides), output), output


def problems(config, root: Path) -> dict[str, list[str]]:
    sound, output = prepare(config, root, "verify")
    report = json.loads((output / "verify.json").read_text())
    assert sound == (not report["problems"])
    return report["problems"]


def lines(root: Path, split: str) -> list[str]:
    return (root / ANNOTATIONS.format(split)).read_text().splitlines()


def rewrite(root: Path, split: str, number: int, **changes: object) -> str:
    """Change points, box or name of one line; returns its image's name."""
    content = lines(root, split)
    words = content[number].split()
    usual = {"points": np.array(words[:196], float).reshape(98, 2), "box": words[196:200], "name": words[206]}
    values = usual | changes
    content[number] = wflw_line(values["points"], values["box"], words[200:206], values["name"])
    (root / ANNOTATIONS.format(split)).write_text("\n".join(content) + "\n")
    return words[206]


@pytest.mark.parametrize(
    ("points", "box", "found"),
    [
        ([(10, 10), (30, 50)], [5, 5, 35, 55], None),
        ([(10, 10), (200, 50), (300, 50)], [5, 5, 35, 55], "1 of 3 points lie in its 120 x 90 px"),
        ([(np.nan, 10), (30, 50)], None, "expected finite labelled points, found 2"),
        ([(30, 30), (30, 30)], None, "all of its 2 points lie in one place"),
        ([(10, 10), (30, 50)], [60, 5, 90, 55], "0 of 2 points lie in or near its box"),
        ([(30, 30), (40, 40)], [0, 0, 50, 50], "over 4 times as large as its face"),
        ([(30, 30), (40, 40)], [-0.5, -0.5, 119.5, 89.5], None),  # the whole image, as LSP's boxes
    ],
)
def test_face_checks_find_implausible_points_and_boxes(points, box, found):
    box = None if box is None else np.array(box, float)
    record = Record(Path("a.jpg"), np.array(points, float), np.ones(len(points), dtype=bool), box)
    said = [text for level, _, text in check_face(record, 120, 90) if level == "problems"]
    assert said == [] if found is None else found in said[0]


def test_verify_names_every_kind_of_problem(config, faces):
    assert problems(config, faces) == {}
    images, rng = faces / "WFLW_images", np.random.default_rng(0)
    broken = rewrite(faces, "train", 0)
    (images / broken).write_bytes((images / broken).read_bytes()[:2000])
    beside = rewrite(faces, "train", 1, box=[0, 0, 20, 20])
    away = rewrite(faces, "train", 2, points=rng.uniform(400, 500, (98, 2)), box=[400, 400, 500, 500])
    twin, original = lines(faces, "test")[1].split()[206], lines(faces, "train")[3].split()[206]
    shutil.copy(images / original, images / twin)
    points = rng.uniform(60, 160, (98, 2))
    points[72] = points[60]
    unscored = rewrite(faces, "test", 0, points=points, box=[50, 50, 170, 170])
    found = {kind: " ".join(texts) for kind, texts in problems(config, faces).items()}
    names = {
        "unreadable images": [broken], "boxes beside their face": [beside], "implausible points": [away],
        "in two splits": [twin, original], "cannot be scored": [unscored, "a normaliser must be positive"],
    }  # fmt: skip
    assert found.keys() == names.keys()
    assert all(name in found[kind] for kind in names for name in names[kind])


def test_verify_reports_both_incomplete_lists_and_checks_the_rest(config, faces):
    for split in ("train", "test"):
        content = lines(faces, split)
        (faces / ANNOTATIONS.format(split)).write_text("\n".join(content[:-2]) + "\n")
    name = lines(faces, "test")[0].split()[206]
    (faces / "WFLW_images" / name).unlink()
    found = problems(config, faces)["annotations"]
    report = json.loads((faces.parents[1] / "verify" / "verify.json").read_text())
    assert f"WFLW_images/{name} is missing" in report["missing"]["test"]
    assert "expected 24 faces, found 22" in found[0]
    assert "expected 8 faces, found 6" in found[1]
    sound, output = prepare(config, faces, "verify", "dataset.allow_partial=true")
    assert sound
    counts = json.loads((output / "verify.json").read_text())["splits"]
    assert sum(split["found"] for split in counts.values()) == 27
    assert sum(s["expected"] for s in counts.values()) == 32


def test_verify_expects_the_official_faces_of_an_absent_set(config, tmp_path):
    words = "dataset=wflw", f"paths.data_dir={tmp_path / 'none'}", "action=verify"
    assert not engine.prepare(config("prepare", *words), tmp_path / "report")
    report = json.loads((tmp_path / "report" / "verify.json").read_text())
    counts = {split: (c["expected"], c["found"]) for split, c in report["splits"].items()}
    assert counts == {"train": (7125, 0), "val": (375, 0), "test": (2500, 0)}  # 5 % of 7,500 are held out
    assert report["splits"]["test"]["faces"] == "official test faces"
    assert not report["notes"]


def test_verify_notes_a_picture_with_different_faces_in_two_splits(config, faces):
    """As AFLW has them; the same face in both is a problem."""
    face = lines(faces, "train")[0].split()
    other = np.array(face[:196], float).reshape(98, 2) + 2
    rewrite(faces, "test", 0, points=other, box=face[196:200], name=face[206])
    assert problems(config, faces) == {}
    report = json.loads((faces.parents[1] / "verify" / "verify.json").read_text())
    (text,) = report["notes"]["different faces of a picture in two splits"]
    assert face[206] in text
    rewrite(faces, "test", 0, points=other - 2, box=face[196:200], name=face[206])
    assert face[206] in problems(config, faces)["in two splits"][0]


def test_cache_is_written_where_training_looks(config, faces, capsys):
    large = faces / "WFLW_images" / lines(faces, "train")[0].split()[206]
    picture = read_image(large)
    save_image(large, np.pad(picture, ((0, 800), (0, 800), (0, 0))))
    words = ("codec.input_size=64", "codec.heatmap_size=16")
    assert prepare(config, faces, "cache", *words)[0]
    files = list((faces.parent / "cache" / "synthetic").glob("*.jpg"))
    data = engine.build(config("train", "dataset=synthetic", COUNTS, f"paths.data_dir={faces.parent}", *words).dataset)
    used = [record.path for record, _ in data.dataset("train", augmented=True).pictures]
    assert files
    assert set(files) <= set(used)
    assert not set(files) & {record.path for record, _ in data.dataset("train").pictures}  # only in training
    (line,) = re.findall(r"(\d+) of (\d+) training faces have a crop", capsys.readouterr().out)
    assert line == (str(sum(path in files for path in used)), str(len(used)))


def test_show_draws_every_split_and_subset(config, faces):
    sound, output = prepare(config, faces, "show", "codec.input_size=64", "codec.heatmap_size=16")
    assert sound
    names = {file.stem for file in output.glob("*.png")}
    assert {"train_full", "val_full", "test_full", "train_pose"} <= names
    sheet = read_image(output / "train_full.png")
    assert sheet.shape == (6 * 224, 7 * 224, 3)
    assert sheet.std() > 20


def test_show_marks_the_left_of_flip_pairs_and_skips_unlabelled_points(config, tmp_path):
    """Of three faces one lacks an end of a line, one all but a point; red is the first of each flip pair."""
    (tmp_path / "scheme.yaml").write_text("{names: [a, b, nose], flip_pairs: [[a, b]], lines: [[a, b]]}")
    rows = ["10,20,40,20,25,35", ",,40,20,25,35", ",,,,25,35"]
    header = "image,box_x0,box_y0,box_x1,box_y1,x0,y0,x1,y1,x2,y2"
    table = [header, *(f"{i}.png,0,0,50,50,{row}" for i, row in enumerate(rows))]
    (tmp_path / "train.csv").write_text("\n".join(table))
    for i in range(3):
        save_image(tmp_path / f"{i}.png", np.full((51, 51, 3), 20 * i, np.uint8))
    words = (
        "dataset=custom", f"dataset.root={tmp_path}", f"dataset.scheme={tmp_path}/scheme.yaml", "augment=none",
        "augment.flip=1", "dataset.val_fraction=0", "dataset.test_fraction=0", "codec.input_size=64",
        "codec.heatmap_size=16", "action=show",
    )  # fmt: skip
    assert engine.prepare(config("prepare", *words), tmp_path / "show")
    sheet = read_image(tmp_path / "show" / "train_full.png").astype(int)
    assert sheet.shape == (3 * 224, 7 * 224, 3)
    red, green = sheet[..., 0] - sheet[..., 1] > 100, sheet[..., 1] - sheet[..., 0] > 100
    (row,) = [i for i in range(3) if red[224 * i : 224 * (i + 1), :224].any()]  # the face with all points
    for panel in (0, 4):  # plain, and mirrored
        place = np.s_[224 * row : 224 * (row + 1), 224 * panel : 224 * (panel + 1)]
        assert np.nonzero(red[place])[1].mean() < np.nonzero(green[place])[1].mean() - 20
