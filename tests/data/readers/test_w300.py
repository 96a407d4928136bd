"""The 300-W reader: on the genuine files, on miniatures in their layout, and on broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from miniatures import pts_text, write_boxes

from awing.data.crops import record_matrix
from awing.data.readers import read_300w, read_300w_private
from awing.data.readers.w300 import read_pts
from awing.errors import DataError

POINTS = np.random.default_rng(0).uniform(1, 500, (68, 2)).round(6)  # 1-based, as a .pts holds them
GOOD = pts_text(POINTS)
BOX = (11, 21, 111, 141.5)  # as it stands in a file of boxes, 1-based


def put(folder: Path, *names: str, text: str = GOOD) -> None:
    """Write .pts files and empty images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text if name.endswith(".pts") else "")


def partial(root: Path, split: str = "train"):
    return read_300w(root, split, allow_partial=True).records


def private(root: Path, split: str = "test", allow_partial: bool = False):
    return read_300w_private(root / "300w_private", split, allow_partial, train_root=str(root / "300w"))


# The genuine files


def test_300w_real_faces_read_as_numpy_reads_them(real_data):
    root = real_data / "300w"
    annotations = read_300w(root, "train", allow_partial=True)
    assert (len(annotations.records), annotations.expected) == (2012, 3148)
    assert Counter(s for r in annotations.records for s in r.subsets) == {"afw": 337, "helen": 870, "lfpw": 805}
    assert all(len(r.subsets) == 1 and r.box is None and r.labelled.all() for r in annotations.records)
    assert all(r.path.is_file() and r.path.parts[len(root.parts)] in r.subsets for r in annotations.records)
    for record in annotations.records[::100]:
        one_based = np.loadtxt(record.path.with_suffix(".pts"), skiprows=3, comments="}")
        np.testing.assert_array_equal(record.points, one_based - 1)


def test_300w_private_real_faces_read_as_numpy_reads_them(real_data):
    root = real_data / "samples/300w_private"
    annotations = read_300w_private(root, "test", allow_partial=True, train_root=str(real_data / "300w"))
    assert annotations.expected == 600
    assert [record.path.name for record in annotations.records] == ["indoor_020.png", "indoor_029.png"]
    for record in annotations.records:
        one_based = np.loadtxt(record.path.with_suffix(".pts"), skiprows=3, comments="}")
        np.testing.assert_array_equal(record.points, one_based - 1)
        assert record.box is None
        assert record.subsets == {"indoor"}


# Miniatures


def test_300w_complete_split_and_what_an_incomplete_one_says(tmp_path):
    for folder, count in {"helen/testset": 330, "lfpw/testset": 224, "ibug": 135}.items():
        put(tmp_path / folder, *(f"image_{i:04d}.{e}" for i in range(count) for e in ("pts", "png")))
    annotations = read_300w(tmp_path, "test")
    assert len(annotations.records) == annotations.expected == 689
    assert Counter(s for r in annotations.records for s in r.subsets) == {"common": 554, "challenge": 135}
    assert {r.path.parent.name for r in annotations.records if "challenge" in r.subsets} == {"ibug"}

    (tmp_path / "ibug/image_0007.png").unlink()
    (tmp_path / "lfpw/testset/image_0000.pts").unlink()
    with pytest.raises(DataError) as caught:
        read_300w(tmp_path, "test")
    assert str(caught.value).splitlines()[:4] == [
        f"300-W in {tmp_path} is not complete:",
        "  lfpw/testset: expected 224 .pts files, found 223",
        "  ibug/image_0007.png (or .jpg) is missing",
        "Get it from https://ibug.doc.ic.ac.uk/resources/300-W/ and unpack it, "
        f"so that {tmp_path} holds afw/, helen/{{trainset,testset}}/, lfpw/{{trainset,testset}}/ and ibug/, "
        "an image beside each .pts.",
    ]
    assert len(partial(tmp_path, "test")) == 687


def test_300w_image_of_a_pts_stands_beside_it(tmp_path):
    """In one of several formats, the official .png first; macOS leaves files of its own."""
    images = ["image 10_1.jpg", "1.2.3.jpeg", "b.JPG", "c.jpg", "c.png", "два  лица.PNG"]
    put(tmp_path / "afw", *images, *{Path(name).stem + ".pts" for name in images}, "._b.pts", "._b.JPG")
    found = [record.path.name for record in partial(tmp_path)]
    assert found == ["1.2.3.jpeg", "b.JPG", "c.png", "image 10_1.jpg", "два  лица.PNG"]


# The private test set


@pytest.mark.parametrize("inside", ["", "300W"])
def test_300w_private_lies_in_its_folder_or_the_archives(tmp_path, inside):
    root = tmp_path / "300w_private" / inside
    put(root / "01_Indoor", "indoor_001.pts", "indoor_001.png")
    put(root / "02_Outdoor", "outdoor_007.pts", "outdoor_007.png", "outdoor_008.pts")
    annotations = private(tmp_path, allow_partial=True)
    found = [(record.path.name, set(record.subsets), record.no_box) for record in annotations.records]
    assert found == [("indoor_001.png", {"indoor"}, ""), ("outdoor_007.png", {"outdoor"}, "")]
    assert annotations.expected == 600
    with pytest.raises(DataError, match=rf"(?s)in {root} is not complete:\n  01_Indoor: expected 300 .pts files.*_008"):
        private(tmp_path)


def test_300w_private_holds_out_the_faces_that_300w_does(tmp_path, config, monkeypatch):
    """So a network that trained on either is validated on faces that it has not seen."""
    folder = tmp_path / "elsewhere/deep/300w"
    put(folder / "afw", *(f"{i}.{e}" for i in range(60) for e in ("pts", "jpg")))
    put(tmp_path / "data/300w_private/01_Indoor", "indoor_001.pts", "indoor_001.png")
    monkeypatch.chdir(tmp_path)  # the root is relative, the training images' folder is not
    held_out = []
    for dataset, key in (("300w", "root"), ("300w_private", "reader.train_root")):
        words = (
            f"dataset={dataset}", "paths.data_dir=data", f"dataset.{key}={folder}", "dataset.allow_partial=true",
            "dataset.val_fraction=0.3",
        )  # fmt: skip
        data = instantiate(config("train", *words).dataset)
        data.setup()
        held_out.append({record.path.name for record in data.annotations["val"].records})
        assert held_out[-1].isdisjoint(record.path.name for record in data.annotations["train"].records)
    assert held_out[0] == held_out[1]
    assert 5 < len(held_out[0]) < 40
    assert [record.path.name for record in data.annotations["test"].records] == ["indoor_001.png"]


# Official boxes


@pytest.mark.parametrize("place", ["", "Bounding Boxes"])
@pytest.mark.parametrize(
    ("split", "folder", "file"),
    [
        ("train", "afw", "bounding_boxes_afw.mat"),
        ("train", "helen/trainset", "bounding_boxes_helen_trainset.mat"),
        ("test", "lfpw/testset", "bounding_boxes_lfpw_testset.mat"),
    ],
)
def test_300w_box_is_the_official_detectors(tmp_path, place, split, folder, file):
    put(tmp_path / folder, *(f"{stem}.{e}" for stem in ("image 10_1", "b.2") for e in ("pts", "jpg")))
    write_boxes(tmp_path / place / file, {"b.2.png": (1, 1, 9, 9), "image 10_1.jpg": BOX, "other.jpg": BOX})
    boxes = {record.path.stem: record.box.tolist() for record in partial(tmp_path, split)}
    assert boxes == {"image 10_1": [10, 20, 110, 140.5], "b.2": [0, 0, 8, 8]}


def test_300w_crop_without_boxes_says_where_to_get_them(tmp_path):
    put(tmp_path / "helen/testset", "a.pts", "a.jpg")
    (record,) = partial(tmp_path, "test")
    with pytest.raises(DataError) as caught:
        record_matrix(record, "provided", 1.0, 256)
    for part in (
        "a.jpg: crop=provided needs a provided box",
        f"the official boxes, bounding_boxes_helen_testset.mat, are not in {tmp_path}",
        "https://ibug.doc.ic.ac.uk/resources/300-W/",
        "crop=landmarks",
    ):
        assert part in str(caught.value)


def test_300w_face_without_its_box_makes_the_set_incomplete(tmp_path):
    put(tmp_path / "afw", "a.pts", "a.jpg", "b.pts", "b.jpg")
    write_boxes(tmp_path / "bounding_boxes_afw.mat", {"a.jpg": BOX})
    with pytest.raises(DataError, match=r"  afw/b: bounding_boxes_afw\.mat has no box of it\n"):
        read_300w(tmp_path, "train")
    a, b = partial(tmp_path)
    assert a.box.tolist() == [10, 20, 110, 140.5]
    assert b.box is None
    with pytest.raises(DataError, match=r"b\.jpg: .*\(bounding_boxes_afw\.mat has no box of it\)"):
        record_matrix(b, "provided", 1.0, 256)


def test_300w_broken_file_of_boxes_is_named(tmp_path):
    put(tmp_path / "afw", "a.pts", "a.jpg")
    file = tmp_path / "bounding_boxes_afw.mat"
    write_boxes(file, {"a.jpg": (5, 5, 5, 9)})
    with pytest.raises(DataError, match=rf"{file}: a\.jpg: expected a box .*found \[4\.0, 4\.0, 4\.0, 8\.0\]"):
        partial(tmp_path)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=rf"{file}: expected bounding_boxes in a MATLAB file"):
        partial(tmp_path)


# .pts files


@pytest.mark.parametrize(
    "text",
    [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD.rstrip(), GOOD.replace("\n", " \n\n "), GOOD.replace(" ", "\t")],
    ids=["CRLF", "BOM, no line end", "padded", "tabs"],
)
def test_read_pts_text_may_differ_harmlessly(tmp_path, text):
    (tmp_path / "a.pts").write_bytes(text.encode())
    np.testing.assert_array_equal(read_pts(tmp_path / "a.pts", 68), POINTS - 1)


ROWS = GOOD.splitlines()
BROKEN = {
    "version 2": (GOOD.replace("version: 1", "version: 2"), "expected 'version: 1'.*found 'version: 2"),
    "n_points 29": (GOOD.replace("68\n", "29\n", 1), "expected 68 points.* found n_points: 29"),
    "no closing brace": (GOOD.replace("}\n", ""), "points in braces"),
    "a point too few": ("\n".join(ROWS[:-2] + ROWS[-1:]), "expected 68 points, .*found n_points: 68 and 134 numbers"),
    "no number": ("\n".join([*ROWS[:70], "1 x", ROWS[-1]]), "expected numbers, found 'x'"),
    "NaN": ("\n".join([*ROWS[:70], "1 nan", ROWS[-1]]), "expected finite numbers, found nan"),
    "empty": ("", "expected 'version: 1'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_read_pts_names_a_broken_file(tmp_path, case):
    text, message = BROKEN[case]
    put(tmp_path / "afw", "a.jpg", "a.pts", text=text)
    with pytest.raises(DataError, match=message) as caught:
        partial(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'afw/a.pts'}: ")
