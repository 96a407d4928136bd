"""Own data: both formats give the same faces, real files read, mistakes are named with their place."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniatures import save_image, texture
from tiny import run

from awing.data.readers import read_custom
from awing.data.records import check_usable
from awing.errors import ConfigError, DataError
from awing.training import engine

SCHEME = """
names: [left_eye, right_eye, nose, chin]
flip_pairs: [[left_eye, right_eye]]
lines: [[left_eye, nose, right_eye]]
normalisers: {inter_ocular: [left_eye, right_eye]}
"""
SPLITS = {"train": "train", "val": "valid", "test": "test"}
NAMED = ["left_eye", "right_eye", "nose", "chin"]
HEADER = "image,box_x0,box_y0,box_x1,box_y1,x0,y0,x1,y1,x2,y2,x3,y3"
ROWS = [
    "pictures/a.png,1,2,41.5,52,10,20,30,20,20,30.25,20,45",
    '"pictures/é, b.png",0,0,40,40,10,20,30,20,,,20,39',
]
NAMES = ["pictures/a.png", "pictures/é, b.png"]
BOXES = [[1, 2, 41.5, 52], [0, 0, 40, 40]]
POINTS = np.array([[[10, 20], [30, 20], [20, 30.25], [20, 45]], [[10, 20], [30, 20], [0, 0], [20, 39]]])
LABELLED = np.array([[True] * 4, [True, True, False, True]])


def coco() -> dict:
    """The same faces as ROWS."""
    annotations = [
        {
            "id": i, "image_id": f"no. {i}", "category_id": 7, "bbox": [*box[:2], box[2] - box[0], box[3] - box[1]],
            "keypoints": [number for point, seen in zip(points.tolist(), flags, strict=True)
                          for number in (*point, 2 if seen else 0)],
        }
        for i, (box, points, flags) in enumerate(zip(BOXES, POINTS, LABELLED, strict=True))
    ]  # fmt: skip
    return {
        "images": [{"id": f"no. {i}", "file_name": name} for i, name in enumerate(NAMES)],
        "categories": [{"id": 3, "name": "car"}, {"id": 7, "name": "face", "keypoints": NAMED}],
        "annotations": annotations,
    }


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "scheme.yaml").write_text(SCHEME)
    for name in NAMES:
        save_image(tmp_path / name, texture(60, 80))
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *ROWS, ""]), encoding="utf-8")
    (tmp_path / "train.json").write_text(json.dumps(coco()))
    return tmp_path


def read(root: Path, train: str = "train.csv", split: str = "train", allow_partial: bool = False, **kwargs):
    """As the data module reads it: an entry that cannot be used is an error."""
    scheme = kwargs.pop("scheme", str(root / "scheme.yaml"))
    annotations = read_custom(root, split, allow_partial, scheme=scheme, train=train, **kwargs)
    check_usable(annotations.unusable, skip=False)
    return annotations


def check(annotations, root: Path) -> None:
    assert annotations.expected == len(annotations.records) == 2
    for i, record in enumerate(annotations.records):
        assert record.path == root / NAMES[i]
        np.testing.assert_array_equal(record.box, BOXES[i])
        np.testing.assert_array_equal(record.labelled, LABELLED[i])
        np.testing.assert_array_equal(record.points[LABELLED[i]], POINTS[i][LABELLED[i]])


@pytest.mark.parametrize("file", ["train.csv", "train.json"])
def test_custom_formats_give_the_same_faces(root, file):
    check(read(root, file), root)
    (root / file).write_bytes(b"\xef\xbb\xbf" + (root / file).read_bytes())  # as spreadsheets save it
    check(read(root, file), root)
    (root / file).rename(root / "Other.CSV" if file.endswith("csv") else root / "Other.JSON")
    check(read(root, "Other" + Path(file).suffix.upper()), root)


def test_custom_columns_may_stand_in_any_order(root):
    header = HEADER.split(",")
    rows = list(csv.reader(ROWS))
    order = np.random.default_rng(0).permutation(len(header))
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(["photographer", *(header[i] for i in order)])
        writer.writerows(["Ada", *(f" {row[i]} " for i in order)] for row in rows)
        file.write("\r\n")
    check(read(root), root)


@pytest.mark.parametrize(
    ("delimiter", "columns"),
    [(";", "{axis}{i}"), ("\t", "{name}_{axis}"), (",", "{axis}_{name}"), (";", "{name}.{axis}")],
)
def test_custom_table_dialects_give_the_same_faces(root, delimiter, columns):
    header, *rows = csv.reader([HEADER, *ROWS])
    header[5:] = [columns.format(axis=axis, i=i, name=name) for i, name in enumerate(NAMED) for axis in "xy"]
    rows[1][9:11] = "nan", "NaN"
    for row in rows:
        row[0] = row[0].replace("/", "\\")
        row[1:] = row[1:] if delimiter == "," else [word.replace(".", ",") for word in row[1:]]
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    check(read(root), root)


def test_custom_names_may_be_anything_printable(root):
    names = ["left, eye", '"x0"', "${nose}", "nez; é_x"]
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        header = ["image", *HEADER.split(",")[1:5], *(f"{name}_{axis}" for name in names for axis in "xy")]
        csv.writer(file).writerows([header, *csv.reader(ROWS)])
    check(read(root, scheme={"name": "odd", "names": names, "flip_pairs": []}), root)


def test_custom_box_may_be_missing_in_a_row_or_in_all(root, config):
    lines = [HEADER, ROWS[0].replace("1,2,41.5,52,", ",,,,"), ROWS[1]]
    (root / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    assert [record.box is None for record in read(root).records] == [True, False]
    (root / "train.csv").write_text("\n".join(lines).replace(",,,,,10", ",1,2,1,52,10"), encoding="utf-8")
    assert [record.box is None for record in read(root).records] == [True, False], "without area it is none"
    lines = [HEADER.replace("box_x0,box_y0,box_x1,box_y1,", ""), ROWS[0].replace("1,2,41.5,52,", "")]
    (root / "train.csv").write_text("\n".join(lines))
    assert read(root).records[0].box is None
    words = ("dataset=custom", f"dataset.root={root}", f"dataset.scheme={root}/scheme.yaml", "dataset.val_fraction=0")
    data = engine.build(config("train", *words, "dataset.test_fraction=0").dataset)
    with pytest.raises(DataError, match=r"a\.png: crop=provided needs a provided box.* use dataset\.crop=landmarks"):
        data.dataset("train")
    content = coco()
    del content["annotations"][0]["bbox"]
    (root / "train.json").write_text(json.dumps(content))
    assert [record.box is None for record in read(root, "train.json").records] == [True, False]


def test_coco_hidden_is_labelled_and_crowds_are_no_faces(root, caplog):
    content = coco()
    content["annotations"][0]["keypoints"][2] = 1
    content["annotations"][1]["iscrowd"] = 1
    for change in ({"keypoints": [0] * 12}, {"keypoints": None}, {"category_id": 3, "keypoints": None}):
        content["annotations"].append(content["annotations"][0] | change)
    del content["annotations"][3]["keypoints"]
    (root / "train.json").write_text(json.dumps(content))
    with caplog.at_level("INFO"):
        (record,) = read(root, "train.json").records
    assert record.labelled.all()
    assert "no faces of this scheme: 1 crowds, 2 without a labelled keypoint, 1 of category 'car'" in caplog.text


def test_coco_reads_every_category_of_the_scheme(root):
    content = coco()
    content["categories"].append({"id": 9, "name": "mask", "keypoints": NAMED})
    content["annotations"][1]["category_id"] = 9
    (root / "train.json").write_text(json.dumps(content))
    check(read(root, "train.json"), root)


def test_coco_ignores_coordinates_of_unlabelled_points_and_flat_boxes(root):
    """As exporters write a face with one visible point, two on one height, or converters a missing number."""
    content = coco()
    content["annotations"][0]["bbox"][2] = 0
    content["annotations"][1] |= {"bbox": []}
    content["annotations"][1]["keypoints"][6:9] = float("nan"), None, 0
    (root / "train.json").write_text(json.dumps(content))
    annotations = read(root, "train.json")
    assert [record.box for record in annotations.records] == [None, None]
    np.testing.assert_array_equal(annotations.records[1].points[LABELLED[1]], POINTS[1][LABELLED[1]])


def test_coco_unusable_entries_are_listed_and_skipped_on_request(root, config, tmp_path, caplog):
    """With a landmark crop: one point that has no extent, two numbers too few, and no such image."""
    content = coco()
    point = [1, 2, 2, *[0] * 9]
    for i, change in enumerate(({"keypoints": point}, {"keypoints": [*point, 5]}, {"image_id": "none"})):
        content["annotations"].append(content["annotations"][0] | {"id": 70 + i} | change)
    (root / "train.json").write_text(json.dumps(content))
    words = (
        "dataset=custom", f"dataset.root={root}", f"dataset.scheme={root}/scheme.yaml", "dataset.crop=landmarks",
        "dataset.reader.train=train.json", "dataset.val_fraction=0", "dataset.test_fraction=0",
    )  # fmt: skip
    with pytest.raises(DataError, match="3 of the annotated faces cannot be used") as error:
        engine.build(config("train", *words).dataset).setup()
    shown = [
        r"annotation 70, .*a\.png: the labelled landmarks span no box",
        r"annotation 71 \(pictures/a\.png\): expected 12 numbers in keypoints, found 13",
        r"annotation 72 \(None\): no image has the id 'none'", r"dataset\.skip_unusable=true",
    ]  # fmt: skip
    assert all(re.search(line, str(error.value)) for line in shown)
    data = engine.build(config("train", *words, "dataset.skip_unusable=true").dataset)
    data.setup()
    assert (len(data.annotations["train"].records), data.annotations["train"].expected, data.left_out) == (2, 2, 3)
    assert "left out, 3 annotated faces" in caplog.text
    cfg = config("prepare", *words, "action=verify")
    assert not engine.prepare(cfg, tmp_path / "v")
    assert len(json.loads((tmp_path / "v" / "verify.json").read_text())["problems"]["unusable entries"]) == 3


@pytest.mark.parametrize(("name", "scheme"), [("cofw", "cofw29"), ("aflw", "aflw19")])
def test_coco_real_files_read(real_data, name, scheme):
    """They name no keypoints, as many do."""
    folder = real_data / "samples" / name
    content = json.loads((folder / f"test_{name}.json").read_text())
    records = read_custom(folder, "train", scheme=scheme, train=f"test_{name}.json").records
    faces = {image["id"]: image["file_name"] for image in content["images"]}
    assert len(records) == len(content["annotations"]) == 2
    for record, annotation in zip(records, content["annotations"], strict=True):
        assert record.path == folder / faces[annotation["image_id"]]
        assert record.points.ravel().tolist() == [v for i, v in enumerate(annotation["keypoints"]) if i % 3 < 2]
        x, y, width, height = annotation["bbox"]
        assert record.box.tolist() == [x, y, x + width, y + height]
        assert record.labelled.all()


def test_custom_test_faces_have_their_own_file_or_none(root):
    assert read(root, split="test").expected == 0
    shutil.copy(root / "train.csv", root / "mine.csv")
    check(read(root, split="test", test="mine.csv"), root)
    with pytest.raises(DataError, match=r"your\.csv is missing"):
        read(root, split="test", test="your.csv")
    with pytest.raises(
        ConfigError, match=r"dataset\.reader\.train: expected the name of a \.csv, \.tsv or \.json file"
    ):
        read(root, "train.txt")


def test_custom_images_outside_the_root_keep_their_names(root):
    far = root.parent / f"{root.name}-far"
    far.mkdir()
    shutil.move(root / "pictures", far)
    for images in (str(far), f"../{far.name}"):
        records = read(root, images=images).records
        assert [record.path.relative_to(record.root).as_posix() for record in records] == NAMES


def test_custom_images_lie_beside_their_file_or_in_a_folder_of_the_split(root, config):
    """As Roboflow exports them, and COCO: pictures of the same name in each split are not mixed up."""
    for folder in SPLITS.values():
        shutil.copytree(root / "pictures", root / folder / "pictures")
        shutil.copy(root / "train.json", root / folder / "_annotations.json")
    shutil.rmtree(root / "pictures")
    files = {split: f"{folder}/_annotations.json" for split, folder in SPLITS.items()}
    words = ("dataset=custom", f"dataset.root={root}", f"dataset.scheme={root}/scheme.yaml")
    words += ("data.num_workers=0", *(f"dataset.reader.{split}={file}" for split, file in files.items()))
    data = engine.build(config("train", *words, "dataset.reader.images=train").dataset)
    data.setup()
    for split, folder in SPLITS.items():
        assert {r.path for r in data.annotations[split].records} == {root / folder / name for name in NAMES}
    assert (len(data.val_dataloader().dataset), data.origin("val")) == (2, "validation faces of their own")
    assert data.held_out["val_fraction"] == data.held_out["test_fraction"] == 0
    words = (*words[:3], "dataset.reader.train=train.json", "dataset.reader.val=train.json")
    data = engine.build(config("train", *words, "dataset.reader.images={train:train,val:valid}").dataset)
    data.setup()
    assert [data.annotations[split].records[0].path.parts[-3] for split in ("train", "val")] == ["train", "valid"]


def test_custom_group_column_is_read(root):
    lines = [f"{HEADER},group", f"{ROWS[0]},Ada", f"{ROWS[1]},"]
    (root / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    assert [record.group for record in read(root).records] == ["Ada", ""]


def test_custom_missing_images_are_listed(root):
    (root / "train.csv").write_text("\n".join([HEADER, ROWS[0].replace("pictures/", "")]))
    assert read(root, images="pictures").records[0].path == root / "pictures" / "a.png"
    with pytest.raises(DataError, match=rf"  a\.png is missing\nPut there what is missing, so that {root} holds"):
        read(root)
    assert (read(root, allow_partial=True).records, read(root, allow_partial=True).expected) == ([], 1)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("x3,y3", "x3,y4", r"train\.csv:1: expected one column 'y3', found 0"),
        (",y3", ",y3,x4,y4", r"train\.csv:1: the scheme has 4 landmarks, but there is a column 'x4'"),
        ("box_x1", "box_x", r"train\.csv:1: expected one column 'box_x1', found 0 in \['image', 'box_x0'"),
        ("box_x1", "x2", r"train\.csv:1: expected one column 'x2', found 2"),
        ("\n".join([HEADER, *ROWS]), HEADER, r"train\.csv: expected a face, found none"),
        ("30.25", "30,25", r"train\.csv:2: expected 13 columns, found 14; header: \['image', 'box_x0'"),
        ("30.25", '"30,25"', r"train\.csv:2: expected numbers, found '30,25'"),
        (HEADER, HEADER.replace(",x0", ",a"), r"expected one column 'x0', .* or left_eye_x, left_eye_y"),
        ("30.25", "", r"train\.csv:2: expected numbers, found ''"),
        ("30.25", "x", r"train\.csv:2: expected numbers, found 'x'"),
        ("10,20,30,20,,,20,39", ",,,,,,,", r"train\.csv:3: no landmark of this face is labelled"),
        ("pictures/a.png", "../a.png", r"train\.csv:2: expected the name of a file below .*, found '\.\./a\.png'"),
        ('b.png"', 'b.png"x', r"train\.csv: expected comma-separated values"),
    ],
)
def test_custom_table_mistake_is_named_with_its_line(root, before, after, message):
    text = "\n".join([HEADER, *ROWS])
    assert before in text
    (root / "train.csv").write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("annotations", 1, "keypoints", 0), "x", r"annotation 1 \(.*: keypoints: expected numbers, found 'x'"),
        (("annotations", 1, "keypoints", 0), float("nan"), r"annotation 1 \(.*: keypoints: expected finite numbers"),
        (("annotations", 1, "keypoints", 2), 3, r"annotation 1 \(.*: expected 0, 1 or 2"),
        (("annotations", 0, "image_id"), 5, r"annotation 0 \(None\): no image has the id 5"),
        (("annotations",), None, "expected COCO keypoints, an object with images, annotations, categories"),
        (("images", 1, "id"), "no. 0", "expected an id of its own and a file_name in each of images"),
        (("images", 1, "file_name"), "", "expected an id of its own and a file_name in each of images"),
        (("images", 1, "file_name"), "../../x.png", r"annotation 1 \(.*: expected the name of a file below"),
        (("categories", 1, "keypoints"), ["nose"], "category whose keypoints .*'chin'.* found .*'nose'"),
    ],
)
def test_coco_mistake_is_named_with_its_entry(root, place, value, message):
    content = coco()
    node = content
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    (root / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"train\.json: .*{message}"):
        read(root, "train.json")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2]", b'{"images": []'])
@pytest.mark.parametrize("file", ["train.csv", "train.json"])
def test_custom_file_of_another_format_is_named(root, file, content):
    (root / file).write_bytes(content)
    with pytest.raises(DataError, match=file.replace(".", r"\.")):
        read(root, file)


def test_custom_run_keeps_its_scheme_when_the_file_is_gone(config, tmp_path):
    """From a folder of labelled images to a model, and its evaluation without the scheme's file."""
    rng, rows = np.random.default_rng(0), [HEADER]
    for i in range(24):
        save_image(tmp_path / f"face {i}.jpg", texture(60, 60, seed=i))
        rows.append(",".join(map(str, [f"face {i}.jpg", 5, 5, 55, 55, *rng.uniform(10, 50, 8).round(2)])))
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "scheme.yaml").write_text(SCHEME)
    words = ("dataset=custom", f"dataset.root={tmp_path}", "data.num_workers=0")
    own = (*words, f"dataset.scheme={tmp_path}/scheme.yaml", "dataset.test_fraction=0.2", "trainer.max_epochs=1")
    trained = run(config, tmp_path, tmp_path / "run", *own)
    (tmp_path / "scheme.yaml").unlink()
    words = (*words, "trainer=cpu", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt")
    evaluated = engine.evaluate(config("evaluate", *words), tmp_path / "evaluation")
    assert trained["subsets"]["full"]["count"] == trained["found"] > 0
    assert evaluated["subsets"] == trained["subsets"]
    assert "inter_ocular" in evaluated["subsets"]["full"]["nme"]

    (tmp_path / "train.csv").rename(tmp_path / "test.csv")  # others' test faces come without training faces
    theirs = engine.evaluate(config("evaluate", *words, "dataset.reader.test=test.csv"), tmp_path / "theirs")
    assert theirs["found"] == 24


def test_custom_scheme_is_asked_for(config):
    cfg = config("train", "dataset=custom", "dataset.root=/nowhere")
    with pytest.raises(ConfigError, match=r"expected a landmark scheme: dataset\.scheme=FILE\.yaml"):
        engine.fit(cfg, Path("/nowhere/run"))
