"""What labelling tools export becomes a table and a scheme: the same faces from each, broken entries by their place."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniatures import pts_text, save_image

from awing.data.importing import import_annotations
from awing.data.readers import read_custom
from awing.errors import ConfigError, DataError

NAMES = ["left_eye", "right_eye", "nose"]
POINTS = np.array(
    [[[20.0, 30], [60, 30], [40, 50]], [[25, 35], [65, 35], [np.nan, np.nan]]]
)  # of a.png and b.png, 100 x 80 px
BOXES = np.array([[9.5, 9.5, 79.5, 69.5], [14.5, 14.5, 84.5, 74.5]])


def labelme(root: Path) -> None:
    for name, points, box in zip("ab", POINTS + 0.5, BOXES + 0.5, strict=True):
        shapes = [
            {"label": label, "points": [point.tolist()], "group_id": None, "shape_type": "point", "flags": {}}
            for label, point in zip(NAMES, points, strict=True) if np.isfinite(point).all()
        ]  # fmt: skip
        corners = box.reshape(2, 2).tolist()
        shapes.append({"label": "face", "points": corners, "group_id": None, "shape_type": "rectangle", "flags": {}})
        shapes.append({"label": "hair", "points": [[1, 2], [3, 4], [5, 0]], "shape_type": "polygon"})
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{name}.png"}
        size = {"imageData": None, "imageHeight": 80, "imageWidth": 100}
        (root / "labels").mkdir(exist_ok=True)
        (root / f"labels/{name}.json").write_text(json.dumps(content | size))


def cvat(root: Path) -> None:
    xml = "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version><meta><task></task></meta>"
    for i, (points, box) in enumerate(zip(POINTS + 0.5, BOXES + 0.5, strict=True)):
        corners = " ".join(f'{key}="{v}"' for key, v in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
        xml += f'<image id="{i}" name="{"ab"[i]}.png" width="100" height="80"><tag label="day" source="manual"></tag>'
        xml += f'<box label="face" source="manual" occluded="0" {corners} z_order="0" group_id="1"></box>'
        xml += '<skeleton label="points" source="manual" z_order="0" group_id="1">'
        for name, (x, y) in zip(NAMES, points, strict=True):
            place = f'outside="{int(np.isnan(x))}" occluded="0" points="{np.nan_to_num(x)},{np.nan_to_num(y)}"'
            xml += f'<points label="{name}" source="manual" {place}></points>'
        xml += "</skeleton></image>"
    (root / "annotations.xml").write_text(xml + "</annotations>")


def label_studio(root: Path) -> None:
    tasks = []
    for i, (points, box) in enumerate(zip(POINTS + 0.5, BOXES + 0.5, strict=True)):
        size = {"original_width": 100, "original_height": 80, "image_rotation": 0, "from_name": "a", "to_name": "image"}
        x, y, width, height = [*box[:2], *(box[2:] - box[:2])] / np.array([100, 80, 100, 80]) * 100
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["face"]}
        result = [size | {"id": "box", "type": "rectanglelabels", "value": value}]
        for name, (x, y) in zip(NAMES, points, strict=True):
            if np.isfinite(x):
                value = {"x": x, "y": y / 0.8, "width": 0.4, "keypointlabels": [name]}
                result.append(size | {"id": name, "type": "keypointlabels", "value": value, "parentID": "box"})
        annotations = [
            {"id": 9, "was_cancelled": True, "result": []},
            {"id": 1, "was_cancelled": False, "result": result},
        ]
        tasks.append(
            {"id": 5 + i, "annotations": annotations, "data": {"image": f"/data/upload/1/0a1b2c3d-{'ab'[i]}.png"}}
        )
    tasks.append({"id": 7, "annotations": [], "data": {"image": "/data/upload/1/0a1b2c3d-a.png"}})  # not labelled yet
    (root / "project-1.json").write_text(json.dumps(tasks))


def deeplabcut(root: Path) -> None:
    folder = root / "labeled-data/clip"
    shutil.move(root / "images", folder)
    columns = [name for name in NAMES for _ in "xy"]
    rows = [["scorer", "", "", *["Ada"] * 6], ["bodyparts", "", "", *columns], ["coords", "", "", *"xyxyxy"]]
    rows += [
        ["labeled-data", "clip", f"{name}.png", *np.ravel(points)] for name, points in zip("ab", POINTS, strict=True)
    ]
    text = "\n".join(",".join(map(str, row)) for row in rows).replace("nan", "")
    (folder / "CollectedData_Ada.csv").write_text(text)


def yolo(root: Path) -> None:
    (root / "data.yaml").write_text(
        "train: train/images\nkpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\nnc: 1\nnames: ['face']\n"
        f"kpt_names: {{0: {json.dumps(NAMES)}}}\n"
    )
    shutil.move(root / "images", root / "train/images")
    (root / "train/labels").mkdir()
    for name, points, box in zip("ab", POINTS + 0.5, BOXES + 0.5, strict=True):
        shape = [*(box[:2] + box[2:]) / 2, *(box[2:] - box[:2])] / np.array([100, 80, 100, 80])
        marks = [(*np.nan_to_num(point / (100, 80)), 2.0 * np.isfinite(point).all()) for point in points]
        (root / f"train/labels/{name}.txt").write_text(" ".join(map(str, [0, *shape, *np.ravel(marks)])) + "\n")


def imglab(root: Path) -> None:
    xml = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<dataset>\n<name>faces</name>\n<images>"
    for name, points, box in zip("ab", POINTS, BOXES, strict=True):
        left, top, width, height = (int(v) for v in [*(box[:2] + 0.5), *(box[2:] - box[:2])])
        xml += f"<image file='images/{name}.png'><box top='{top}' left='{left}' width='{width}' height='{height}'>"
        parts = [(label, point) for label, point in zip(NAMES, points, strict=True) if np.isfinite(point).all()]
        xml += "".join(f"<part name='{label}' x='{int(x)}' y='{int(y)}'/>" for label, (x, y) in parts)
        xml += "</box><box top='1' left='1' width='9' height='9' ignore='1'/></image>\n"
    (root / "faces.xml").write_text(xml + "</images></dataset>")


def points_files(root: Path) -> None:
    for name, points in zip("ab", POINTS, strict=True):
        (root / f"images/{name}.pts").write_text(pts_text(np.nan_to_num(points) + 1))


def import_and_read(root: Path, write: Callable[[Path], None], capsys, output: str = "out"):
    for name in "ab":
        save_image(root / f"images/{name}.png", np.zeros((80, 100, 3), np.uint8))
    write(root)
    complete = import_annotations(str(root), root.parent / output)
    said = capsys.readouterr()
    (images,) = re.findall(r"dataset\.reader\.images=(\S+)", "\n".join(shlex.split(said.out)))
    out = root.parent / output
    records = read_custom(out, "train", scheme=str(out / "scheme.yaml"), train="train.csv", images=images).records
    return complete, records, said


@pytest.mark.parametrize("write", [labelme, cvat, label_studio, deeplabcut, yolo, imglab, points_files])
def test_import_gives_the_faces_of_every_tool(tmp_path, capsys, write):
    root = tmp_path / "data"
    complete, records, said = import_and_read(root, write, capsys)
    assert complete
    assert [record.path.name for record in records] == ["a.png", "b.png"]
    for record, points, box in zip(records, POINTS, BOXES, strict=True):
        labelled = np.isfinite(points).all(1) | (write is points_files)
        np.testing.assert_array_equal(record.labelled, labelled)
        np.testing.assert_allclose(record.points[labelled], np.nan_to_num(points)[labelled], atol=1e-9)
        if write not in (deeplabcut, points_files):
            np.testing.assert_allclose(record.box, box, atol=1e-9)
    scheme = (tmp_path / "out/scheme.yaml").read_text()
    assert ('[["left_eye", "right_eye"]]' in scheme) == (write is not points_files)
    assert ("2 polygon" in said.out, "2 ignored box" in said.out) == (write is labelme, write is imglab)


def cut(file: str, before: str, after: str, write) -> Callable[[Path], None]:
    def damaged(root: Path) -> None:
        write(root)
        path = next(root.rglob(file))
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    return damaged


@pytest.mark.parametrize(
    ("write", "place"),
    [
        (cut("b.json", '"imagePath"', '"image"', labelme), r"labels/b\.json: there is no 'imagePath'"),
        (cut("b.json", "{", "", labelme), r"labels/b\.json: Extra data"),
        (cut("*.xml", "25.5,35.5", "25.5", cvat), r"annotations\.xml: image 1 b\.png: "),
        (cut("*.json", '"id": 6, "annotations"', '"id": 6, "a"', label_studio), r"\.json: task 6: there is no 'comp"),
        (cut("*.csv", "25.0", "x", deeplabcut), r"CollectedData_Ada\.csv:5: left_eye: expected numbers, found 'x'"),
        (cut("b.txt", " 2.0 ", " ", yolo), r"labels/b\.txt:1: expected 14 numbers, found 13"),
        (cut("*.xml", "b.png", "c.png", imglab), r"faces\.xml: image  images/c\.png: there is no image"),
        (cut("b.pts", "n_points:  3", "n_points:  4", points_files), r"images/b\.pts: expected 3 points"),
    ],
)  # fmt: skip
def test_import_names_what_it_cannot_read_and_goes_on(tmp_path, capsys, write, place):
    complete, records, said = import_and_read(tmp_path / "data", write, capsys)
    assert not complete
    assert [record.path.name for record in records] == ["a.png"]
    (line,) = said.err.splitlines()
    assert re.search(place, line)


def test_import_names_the_way_out_of_a_video_of_cvat(tmp_path, capsys):
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="face"></track></annotations>')
    with pytest.raises(DataError, match="found no face"):
        import_annotations(str(tmp_path), tmp_path / "out")
    assert "annotations.xml: a video's tracks; export it as CVAT for images" in capsys.readouterr().err


def test_import_keeps_the_splits_and_what_is_there(tmp_path, capsys):
    def write(root: Path) -> None:
        yolo(root)
        (root / "valid/images").mkdir(parents=True)
        (root / "valid/labels").mkdir()
        shutil.move(root / "train/images/b.png", root / "valid/images")
        shutil.move(root / "train/labels/b.txt", root / "valid/labels")

    _, records, said = import_and_read(tmp_path / "data", write, capsys)
    assert [record.path.name for record in records] == ["a.png"]
    assert "dataset.reader.val=val.csv" in said.out
    assert (tmp_path / "out/val.csv").read_text().splitlines()[1].startswith("valid/images/b.png,14.5,14.5,84.5,")
    with pytest.raises(ConfigError, match=r"out holds train\.csv already: choose another output"):
        import_annotations(str(tmp_path / "data"), tmp_path / "out")
    with pytest.raises(DataError, match=r"expected one of labelme .*COCO keypoints need no import"):
        import_annotations(str(tmp_path / "out"), tmp_path / "other")
