"""The 300-W reader: on the genuine files, on miniatures in their layout, and on broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from miniatures import pts_text, write_boxes
from scipy.io import savemat

from awing.data.crops import record_matrix
from awing.data.datamodule import LandmarkDataModule
from awing.data.readers import read_300w, read_300w_private
from awing.data.readers.w300 import read_boxes, read_pts
from awing.errors import ConfigError, DataError
from awing.training import engine

POINTS = np.random.default_rng(0).uniform(1, 500, (68, 2)).round(6)  # 1-based, as a .pts holds them
GOOD = pts_text(POINTS)
TEST_FOLDERS = {"helen/testset": 330, "lfpw/testset": 224, "ibug": 135}


def put(folder: Path, *names: str, text: str = GOOD) -> None:
    """Write .pts files and empty images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text if name.endswith(".pts") else "")


def partial(root: Path, split: str = "train"):
    return read_300w(root, split, allow_partial=True).records


# The genuine files


def test_the_real_faces_read_as_numpy_reads_them(real_data):
    root = real_data / "300w"
    annotations = read_300w(root, "train", allow_partial=True)
    assert (len(annotations.records), annotations.expected) == (2012, 3148)
    assert Counter(s for r in annotations.records for s in r.subsets) == {"afw": 337, "helen": 870, "lfpw": 805}
    assert all(len(r.subsets) == 1 and r.box is None and r.labelled.all() for r in annotations.records)
    assert all(r.path.is_file() and r.path.parts[len(root.parts)] in r.subsets for r in annotations.records)
    for record in annotations.records[::100]:
        one_based = np.loadtxt(record.path.with_suffix(".pts"), skiprows=3, comments="}")
        np.testing.assert_array_equal(record.points, one_based - 1)


def test_the_real_faces_of_the_private_set_read_as_numpy_reads_them(real_data):
    root = real_data / "samples/300w_private"
    annotations = read_300w_private(root, "test", allow_partial=True, train_root=str(real_data / "300w"))
    assert annotations.expected == 600
    assert [record.path.name for record in annotations.records] == ["indoor_020.png", "indoor_029.png"]
    for record in annotations.records:
        one_based = np.loadtxt(record.path.with_suffix(".pts"), skiprows=3, comments="}")
        np.testing.assert_array_equal(record.points, one_based - 1)
        assert record.box is None and record.subsets == {"indoor"}


def test_real_data_are_incomplete_and_refused_by_default(real_data):
    with pytest.raises(DataError) as caught:
        read_300w(real_data / "300w", "train")
    message = str(caught.value)
    assert "helen/trainset: expected 2000 .pts files, found 870" in message
    assert "lfpw/trainset: expected 811 .pts files, found 805" in message
    assert "afw:" not in message.split("unpack")[0]  # complete


# Miniatures


def test_a_complete_test_split_needs_no_permission_and_an_incomplete_one_says_what_to_do(tmp_path):
    for folder, count in TEST_FOLDERS.items():
        put(tmp_path / folder, *(f"image_{i:04d}.{e}" for i in range(count) for e in ("pts", "png")))
    annotations = read_300w(tmp_path, "test")
    assert len(annotations.records) == annotations.expected == 689
    assert Counter(s for r in annotations.records for s in r.subsets) == {"common": 554, "challenge": 135}
    assert {r.path.parent.name for r in annotations.records if "challenge" in r.subsets} == {"ibug"}

    (tmp_path / "ibug/image_0007.png").unlink()
    (tmp_path / "lfpw/testset/image_0000.pts").unlink()
    with pytest.raises(DataError) as caught:
        read_300w(tmp_path, "test")
    for part in (
        "lfpw/testset: expected 224 .pts files, found 223",
        "ibug/image_0007.png (or .jpg) is missing",
        "https://ibug.doc.ic.ac.uk/resources/300-W/",
        f"so that {tmp_path} holds afw/, helen/{{trainset,testset}}/",
        "dataset.allow_partial=true",
    ):
        assert part in str(caught.value)
    assert len(partial(tmp_path, "test")) == 687


def test_an_empty_folder_is_every_folder_missing_and_no_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere.*paths\.data_dir=DIR"):
        read_300w(tmp_path / "nowhere", "train")
    with pytest.raises(DataError) as caught:
        read_300w(tmp_path, "train")
    for folder, count in {"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811}.items():
        assert f"{folder}: expected {count} .pts files, found 0" in str(caught.value)
    annotations = read_300w(tmp_path / "nowhere", "train", allow_partial=True)
    assert (annotations.records, annotations.expected) == ([], 3148)


@pytest.mark.parametrize("extension", ["png", "jpg", "jpeg", "JPG", "PNG", "JPEG", "Jpg"])
def test_an_image_stands_beside_its_pts_in_either_format(tmp_path, extension):
    put(tmp_path / "lfpw/trainset", "image_0001.pts", f"image_0001.{extension}")
    (record,) = partial(tmp_path)
    assert record.path == tmp_path / f"lfpw/trainset/image_0001.{extension}"
    assert record.subsets == {"lfpw"}


@pytest.mark.parametrize("stem", ["image 10_1", "два  лица", "1.2.3", "150295  (copy)"])
def test_an_image_may_have_any_name(tmp_path, stem):
    put(tmp_path / "afw", f"{stem}.pts", f"{stem}.jpg")
    (record,) = partial(tmp_path)
    assert record.path == tmp_path / f"afw/{stem}.jpg" and record.path.is_file()


def test_leftovers_of_macos_are_no_faces(tmp_path):
    put(tmp_path / "afw", "a.pts", "a.png", "._a.pts", "._a.png")
    assert [record.path.name for record in partial(tmp_path)] == ["a.png"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    put(tmp_path / "afw", "a.png")
    (tmp_path / "afw" / "a.pts").mkdir()
    with pytest.raises(DataError, match=r"a\.pts: expected annotations, but the file cannot be read: Is a directory"):
        partial(tmp_path)


def test_of_two_images_the_official_png_is_taken(tmp_path):
    put(tmp_path / "afw", "a.jpg", "a.png", "a.pts")
    assert partial(tmp_path)[0].path.name == "a.png"


def test_faces_come_in_the_order_of_their_names_whatever_the_order_on_disk(tmp_path):
    put(tmp_path / "afw", *(f"{i}.{e}" for i in "52413" for e in ("pts", "jpg")))
    assert [r.path.stem for r in partial(tmp_path)] == list("12345")


# The private test set

PRIVATE_FOLDERS = {"01_Indoor": "indoor", "02_Outdoor": "outdoor"}


def private(root: Path, split: str = "test", allow_partial: bool = False):
    return read_300w_private(root / "300w_private", split, allow_partial, train_root=str(root / "300w"))


@pytest.mark.parametrize("inside", ["", "300W"])
def test_the_private_test_set_lies_in_its_folder_or_in_the_archives(tmp_path, inside):
    root = tmp_path / "300w_private" / inside
    for folder, subset in PRIVATE_FOLDERS.items():
        put(root / folder, *(f"{subset}_{i:03d}.{e}" for i in range(1, 301) for e in ("pts", "png")))
    annotations = private(tmp_path)
    assert len(annotations.records) == annotations.expected == 600
    assert all(r.subsets == {PRIVATE_FOLDERS[r.path.parent.name]} and r.box is None for r in annotations.records)
    (root / "02_Outdoor/outdoor_007.png").unlink()
    with pytest.raises(DataError, match=rf"in {root} is not complete:\n  02_Outdoor/outdoor_007\.png \(or .jpg\) is"):
        private(tmp_path)
    assert len(private(tmp_path, allow_partial=True).records) == 599


@pytest.mark.parametrize("apart", ["300w", "elsewhere/deep/300w"])
def test_the_private_sets_validation_faces_are_those_of_300w(tmp_path, config, monkeypatch, apart):
    """So a network that trained on either is validated on faces that it has not seen."""
    put(tmp_path / apart / "afw", *(f"{i}.{e}" for i in range(60) for e in ("pts", "jpg")))
    monkeypatch.chdir(tmp_path)  # the root is relative, the training images' folder is not
    held_out = []
    for dataset, folder in (("300w", "root"), ("300w_private", "reader.train_root")):
        words = (
            f"dataset={dataset}",
            "paths.data_dir=data",
            f"dataset.{folder}={tmp_path / apart}",
            "dataset.allow_partial=true",
            "dataset.val_fraction=0.3",
        )
        data = instantiate(config("train", *words).dataset)
        data.setup()
        held_out.append({record.path.name for record in data.annotations["val"].records})
    assert held_out[0] == held_out[1] and 5 < len(held_out[0]) < 40


def test_the_private_set_has_no_official_boxes(tmp_path, config):
    with pytest.raises(ConfigError, match="300w_private is one of landmarks; found 'provided'"):
        engine.build(config("train", "dataset=300w_private", "dataset.crop=provided").dataset)
    put(tmp_path / "300w_private/01_Indoor", "a.pts", "a.jpg")
    assert private(tmp_path, allow_partial=True).records[0].no_box == ""


def test_the_private_test_set_is_trained_for_on_300w(tmp_path):
    put(tmp_path / "300w/afw", "a.pts", "a.jpg")
    annotations = private(tmp_path, "train", allow_partial=True)
    assert ([r.path for r in annotations.records], annotations.expected) == ([tmp_path / "300w/afw/a.jpg"], 3148)
    with pytest.raises(DataError, match=rf"300-W in {tmp_path / '300w'} is not complete"):
        private(tmp_path, "train")


def test_training_images_beside_the_root_are_cut_as_well(tmp_path):
    put(tmp_path / "300w/afw", *(f"{i}.{e}" for i in range(40) for e in ("pts", "jpg")))
    put(tmp_path / "300w_private/01_Indoor", "indoor_001.pts", "indoor_001.png")

    def reader(root, split, allow_partial):
        return private(tmp_path, split, allow_partial)

    data = LandmarkDataModule(
        name="300w_private", scheme="ibug68", root=str(tmp_path / "300w_private"), reader=reader, input_size=64,
        crop="landmarks", crop_scales={"landmarks": 1.25}, normalisers=["inter_ocular"], val_fraction=0.25,
        allow_partial=True,
    )  # fmt: skip
    data.setup()
    found = {split: {r.path.name for r in annotations.records} for split, annotations in data.annotations.items()}
    assert found["train"] | found["val"] == {f"{i}.jpg" for i in range(40)} and not found["train"] & found["val"]
    assert 3 <= len(found["val"]) <= 20 and found["test"] == {"indoor_001.png"}


# Official boxes

BOX = (11, 21, 111, 141.5)  # as it stands in the file, 1-based


@pytest.mark.parametrize("place", ["", "Bounding Boxes"])
@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("afw", "bounding_boxes_afw.mat"),
        ("helen/trainset", "bounding_boxes_helen_trainset.mat"),
        ("lfpw/trainset", "bounding_boxes_lfpw_trainset.mat"),
        ("helen/testset", "bounding_boxes_helen_testset.mat"),
        ("lfpw/testset", "bounding_boxes_lfpw_testset.mat"),
        ("ibug", "bounding_boxes_ibug.mat"),
    ],
)
def test_the_box_of_a_face_is_the_detectors(tmp_path, place, folder, file):
    split = "train" if folder in ("afw", "helen/trainset", "lfpw/trainset") else "test"
    put(tmp_path / folder, *(f"{stem}.{e}" for stem in ("image 10_1", "b.2") for e in ("pts", "jpg")))
    write_boxes(tmp_path / place / file, {"b.2.png": (1, 1, 9, 9), "image 10_1.jpg": BOX, "other.jpg": BOX})
    boxes = {record.path.stem: record.box.tolist() for record in partial(tmp_path, split)}
    assert boxes == {"image 10_1": [10, 20, 110, 140.5], "b.2": [0, 0, 8, 8]}


def test_a_box_crops(tmp_path):
    put(tmp_path / "afw", "a.pts", "a.jpg")
    write_boxes(tmp_path / "bounding_boxes_afw.mat", {"a.jpg": BOX})
    matrix = record_matrix(partial(tmp_path)[0], "provided", 1.0, 241)
    # a square of 120.5 around (60, 80.25), two crop px to a source px
    np.testing.assert_allclose(matrix, [[2, 0, 120 - 2 * 60], [0, 2, 120 - 2 * 80.25], [0, 0, 1]])


def test_without_the_boxes_the_crop_says_which_file_and_from_where(tmp_path):
    put(tmp_path / "helen/testset", "a.pts", "a.jpg")
    (record,) = partial(tmp_path, "test")
    assert record.box is None
    with pytest.raises(DataError) as caught:
        record_matrix(record, "provided", 1.0, 256)
    for part in (
        "a.jpg: crop=provided needs a provided box",
        f"the official boxes, bounding_boxes_helen_testset.mat, are not in {tmp_path}",
        "https://ibug.doc.ic.ac.uk/resources/300-W/",
        "crop=landmarks",
    ):
        assert part in str(caught.value)


def test_a_face_that_its_file_of_boxes_lacks_makes_the_set_incomplete(tmp_path):
    put(tmp_path / "afw", "a.pts", "a.jpg", "b.pts", "b.jpg")
    write_boxes(tmp_path / "bounding_boxes_afw.mat", {"a.jpg": BOX})
    with pytest.raises(DataError, match=r"  afw/b: bounding_boxes_afw\.mat has no box of it\n"):
        read_300w(tmp_path, "train")
    a, b = partial(tmp_path)
    assert a.box is not None and b.box is None
    with pytest.raises(DataError, match=r"b\.jpg: .*\(bounding_boxes_afw\.mat has no box of it\)"):
        record_matrix(b, "provided", 1.0, 256)


def cell(**fields):
    cells = np.empty((1, 2), dtype=object)
    good = {"imgName": "a.jpg", "bb_detector": np.array([BOX]), "bb_ground_truth": np.array([BOX])}
    cells[0, 0], cells[0, 1] = good, {name: value for name, value in (good | fields).items() if value is not None}
    return cells


BROKEN_BOXES = {
    "no name": (cell(imgName=None), "entry 2: expected a struct with imgName and bb_detector"),
    "no detector": (cell(bb_detector=None), "entry 2: expected a struct with imgName and bb_detector"),
    "empty name": (cell(imgName=np.zeros((0, 0))), "entry 2: expected a struct"),
    "text": (cell(bb_detector="left"), "entry 2: expected a struct"),
    "three numbers": (
        cell(bb_detector=np.ones((1, 3))),
        r"entry 2, a\.jpg: expected a box x0 y0 x1 y1, found \[1.0, 1",
    ),
    "flat": (cell(bb_detector=np.array([[5, 5, 5, 9]])), r"entry 2, a\.jpg: .*found \[5\.0, 5\.0, 5\.0, 9\.0\]"),
    "NaN": (cell(bb_detector=np.array([[np.nan, 5, 5, 9]])), r"entry 2, a\.jpg: .*found \[nan"),
    "numbers": (np.ones((3, 4)), "entry 1: expected a struct"),
    "characters": (np.array(["abc"]), "entry 1: expected a struct"),
}


@pytest.mark.parametrize("case", BROKEN_BOXES)
def test_a_broken_file_of_boxes_is_named_with_its_entry(tmp_path, case):
    content, message = BROKEN_BOXES[case]
    put(tmp_path / "afw", "a.pts", "a.jpg")
    savemat(tmp_path / "bounding_boxes_afw.mat", {"bounding_boxes": content})
    with pytest.raises(DataError, match=message) as caught:
        partial(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'bounding_boxes_afw.mat'}: ")


# .pts files


def test_points_become_zero_based(tmp_path):
    (tmp_path / "a.pts").write_text("version: 1\nn_points: 2\n{\n1 1\n10.5 20.25\n}\n")
    np.testing.assert_array_equal(read_pts(tmp_path / "a.pts", 2), [[0, 0], [9.5, 19.25]])


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.rstrip(),
        GOOD.replace("\n", "\r\n"),
        GOOD + "\n\n",
        "\ufeff" + GOOD,
        GOOD.replace("n_points:  68", "n_points:68").replace("\n", " \n "),
        GOOD.replace(" ", "\t"),
    ],
    ids=["official", "no line end", "CRLF", "blank lines", "BOM", "padded", "tabs"],
)
def test_harmless_differences_of_the_text_do_not_matter(tmp_path, text):
    (tmp_path / "a.pts").write_bytes(text.encode())
    np.testing.assert_array_equal(read_pts(tmp_path / "a.pts", 68), POINTS - 1)


ROWS = GOOD.splitlines()


def row(number: int, text: str) -> str:
    """The good file with another line ``number``, 1-based."""
    return "\n".join([*ROWS[: number - 1], text, *ROWS[number:]])


BROKEN = {
    "version 2": (GOOD.replace("version: 1", "version: 2"), "expected 'version: 1'"),
    "no version": (GOOD.removeprefix("version: 1\n"), "expected 'version: 1'"),
    "n_points 29": (GOOD.replace("68\n", "29\n", 1), "'n_points: 68'.* found .*n_points:  29"),
    "no opening brace": (GOOD.replace("{\n", ""), "in braces"),
    "no closing brace": (GOOD.replace("}\n", ""), f"found .*{ROWS[-2]}"),
    "text after the brace": (GOOD + "end\n", "found .*end"),
    "a point too few": ("\n".join(ROWS[:-2] + ROWS[-1:]), "expected 68 points, found 67"),
    "a point too many": (row(40, "1 2\n3 4"), "expected 68 points, found 69"),
    "one number": (row(5, "1.5"), r":5: expected two numbers, found '1.5'"),
    "three numbers": (row(6, "1 2 3"), r":6: expected two numbers, found '1 2 3'"),
    "no number": (row(71, "1 x"), r":71: expected numbers, found 'x'"),
    "NaN": (row(8, "nan 1"), r":8: expected finite numbers, found nan"),
    "inf": (row(8, "1 inf"), r":8: expected finite numbers, found inf"),
    "empty": ("", "expected 'version: 1'"),
    "blank": (" \n\n", "expected 'version: 1'"),
    "header only": ("version: 1\nn_points: 68\n{\n", "in braces"),
    "no point": ("version: 1\nn_points: 68\n{\n}\n", "expected 68 points, found 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_with_its_line(tmp_path, case):
    text, message = BROKEN[case]
    put(tmp_path / "afw", "a.jpg", "a.pts", text=text)
    with pytest.raises(DataError, match=message) as caught:
        partial(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'afw/a.pts'}:")


def test_binary_garbage_is_named_and_not_printed_whole(tmp_path):
    (tmp_path / "a.pts").write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(DataError, match=r"a\.pts: expected 'version: 1'") as caught:
        read_pts(tmp_path / "a.pts", 68)
    assert len(str(caught.value)) < 1000


# Fuzzing: points or a DataError, nothing else


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pts") / "a.pts"


def check(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        points = read_pts(file, 68)
    except DataError as error:
        assert str(file) in str(error)
        return
    assert points.shape == (68, 2) and np.isfinite(points).all()


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(GOOD)), length=st.integers(0, 30), noise=st.binary(max_size=30))
@example(at=0, length=0, noise=b"\xff\xfe")
@example(at=40, length=1, noise=b"\0")
def test_fuzz_bytes_of_a_file(file, at, length, noise):
    check(file, GOOD.encode()[:at] + noise + GOOD.encode()[at + length :])


@settings(max_examples=150, deadline=None)
@given(number=st.integers(1, len(ROWS)), line=st.one_of(st.text(), st.floats().map(lambda x: f"{x} {x}")))
def test_fuzz_one_line(file, number, line):
    check(file, row(number, line).encode(errors="replace"))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_fuzz_noise(file, content):
    check(file, content)


@pytest.fixture(scope="module")
def boxes_file(tmp_path_factory) -> tuple[Path, bytes]:
    file = tmp_path_factory.mktemp("boxes") / "bounding_boxes_afw.mat"
    write_boxes(file, {f"{i}.jpg": BOX for i in range(3)})
    return file, file.read_bytes()


@settings(max_examples=300, deadline=None)
@given(
    bits=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 7)), max_size=4),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_fuzz_a_file_of_boxes(boxes_file, bits, end):
    file, good = boxes_file
    content = bytearray(good)
    for place, bit in bits:
        content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content[: round(end * len(content))])
    try:
        boxes = read_boxes(file)
    except DataError as error:
        assert str(error).startswith(f"{file}: ")
        return
    assert all(np.isfinite(box).all() and (box[2:] > box[:2]).all() for box in boxes.values())
