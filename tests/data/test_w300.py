"""The 300-W reader: on the genuine files, on miniatures in their layout, and on broken ones."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from miniatures import pts_text

from awing.data import read_300w
from awing.data.w300 import read_pts
from awing.errors import DataError

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


def test_a_real_png_of_the_private_set_has_points_of_the_same_format(real_data):
    folder = real_data / "samples/300w_private/01_Indoor"
    for file in folder.glob("*.pts"):
        assert read_pts(file, 68).shape == (68, 2)


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


def test_nothing_on_disk_is_every_folder_missing(tmp_path):
    with pytest.raises(DataError) as caught:
        read_300w(tmp_path / "nowhere", "train")
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


def test_of_two_images_the_official_png_is_taken(tmp_path):
    put(tmp_path / "afw", "a.jpg", "a.png", "a.pts")
    assert partial(tmp_path)[0].path.name == "a.png"


def test_faces_come_in_the_order_of_their_names_whatever_the_order_on_disk(tmp_path):
    put(tmp_path / "afw", *(f"{i}.{e}" for i in "52413" for e in ("pts", "jpg")))
    assert [r.path.stem for r in partial(tmp_path)] == list("12345")


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
