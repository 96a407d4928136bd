"""The WFLW reader: on the genuine lists, on miniatures in their layout, and on broken ones."""

from pathlib import Path

import numpy as np
import pytest
from miniatures import wflw_line, write_wflw_list

from awing.data.readers import read_wflw
from awing.data.readers.wflw import SUBSETS
from awing.errors import DataError

NAME = "0--Parade/0_Parade_1.jpg"
POINTS = np.random.default_rng(0).uniform(-5, 500, (98, 2)).round(6)
BOX = [20, 30, 400, 410]
GOOD = wflw_line(POINTS, BOX, [0, 1, 0, 0, 1, 0], NAME)


def miniature(root: Path, content: str | bytes, *images: str) -> Path:
    """A data set of one list and empty image files; the list's path."""
    for name in images:
        file = root / "WFLW_images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return write_wflw_list(root, "train", content)


def read(root: Path, faces: int = 1, **kwargs: bool):
    return read_wflw(root, "train", expected={"train": faces, "test": 0}, **kwargs)


# The genuine files


@pytest.mark.parametrize(("split", "found", "official"), [("train", 61, 7500), ("test", 45, 2500)])
def test_wflw_real_lists_read_as_numpy_reads_them(real_data, split, found, official):
    root = real_data / "wflw"
    with pytest.raises(DataError, match=f"expected {official} faces, found {found}"):
        read_wflw(root, split)
    annotations = read_wflw(root, split, allow_partial=True)
    assert (len(annotations.records), annotations.expected) == (found, official)
    file = root / f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    table = np.loadtxt(file, usecols=range(206))
    names = np.loadtxt(file, usecols=206, dtype=str)
    for record, row, name in zip(annotations.records, table, names, strict=True):
        np.testing.assert_array_equal(record.points, row[:196].reshape(98, 2))
        np.testing.assert_array_equal(record.box, row[196:200])
        assert record.labelled.all()
        assert record.subsets == {s for s, flag in zip(SUBSETS, row[200:], strict=True) if flag}
        assert record.path == root / "WFLW_images" / name
        assert record.path.is_file()


def test_wflw_flags_agree_with_the_official_subset_lists(real_data):
    records = read_wflw(real_data / "wflw", "test", allow_partial=True).records
    for subset in SUBSETS:
        name = {"pose": "largepose"}.get(subset, subset)
        file = real_data / f"wflw/WFLW_annotations/list_98pt_test/list_98pt_test_{name}.txt"
        lines = [line.split() for line in file.read_text().splitlines()]
        official = sorted((words[196], *map(float, words[:196])) for words in lines)
        images = real_data / "wflw/WFLW_images"
        flagged = [r for r in records if subset in r.subsets]
        ours = sorted((r.path.relative_to(images).as_posix(), *r.points.ravel()) for r in flagged)
        assert ours == official, subset
        assert 0 < len(ours) < len(records)


# Miniatures


def test_wflw_columns_become_fields(tmp_path):
    lines = [wflw_line(POINTS + i, BOX, row, NAME) for i, row in enumerate(np.eye(6, dtype=int).tolist())]
    miniature(tmp_path, "\n".join(lines), NAME)
    records = read(tmp_path, 6).records
    subsets = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
    assert [record.subsets for record in records] == [{subset} for subset in subsets]
    for i, record in enumerate(records):
        assert record.path == tmp_path / "WFLW_images" / NAME
        np.testing.assert_allclose(record.points, POINTS + i)
        np.testing.assert_array_equal(record.box, BOX)
        assert record.labelled.shape == (98,)
        assert record.labelled.all()


@pytest.mark.parametrize(
    "content",
    [GOOD, GOOD + "\r\n", "\n" + GOOD + "\n\n  \n", "\ufeff" + GOOD, "  " + GOOD.replace(" ", " \t ") + "  \n"],
    ids=["no line end", "CRLF", "blank lines", "BOM", "padded"],
)
def test_wflw_text_may_differ_harmlessly(tmp_path, content):
    miniature(tmp_path, content, NAME)
    (record,) = read(tmp_path).records
    np.testing.assert_array_equal(record.points, POINTS)
    assert record.path == tmp_path / "WFLW_images" / NAME


def test_wflw_image_names_may_hold_blanks(tmp_path):
    names = ["a b/image 10_1.jpg", "two  blanks.jpg", "Umzüge/Köln 東京🎭.jpg", "a\u2028b.jpg", "a\fb.jpg"]
    miniature(tmp_path, "\n".join(GOOD.replace(NAME, name) for name in names), *names)
    assert [record.path for record in read(tmp_path, 5).records] == [tmp_path / "WFLW_images" / name for name in names]


def test_wflw_incomplete_set_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"list_98pt_rect_attr_train\.txt is missing"):
        read(tmp_path, 2)
    assert read(tmp_path, 2, allow_partial=True).records == []
    miniature(tmp_path, f"{GOOD}\n{GOOD.replace(NAME, 'b.jpg')}\n{GOOD}\n", NAME)
    with pytest.raises(DataError) as caught:
        read(tmp_path, 4)
    missing = "  expected 4 faces, found 3\n  WFLW_images/b.jpg is missing\n"
    assert missing + "Get it from https://wywu.github.io/projects/LAB/WFLW.html" in str(caught.value)
    partial = read(tmp_path, 4, allow_partial=True)
    assert [record.path.name for record in partial.records] == ["0_Parade_1.jpg"] * 2
    assert partial.expected == 4


# Broken lines


def change(column: int, word: str) -> str:
    words = GOOD.split()
    words[column] = word
    return " ".join(words)


BROKEN = {
    "a column too few": (GOOD.split(maxsplit=1)[1], "expected 207 columns, found 206"),
    "a column too many": (f"1.5 {GOOD}", "expected a box of positive"),  # a name may hold spaces: the rest shifts
    "no number": (change(7, "1,5"), "expected numbers, found '1,5'"),
    "NaN": (change(0, "nan"), "expected finite numbers, found nan"),
    "flat box": (change(198, "20"), r"expected a box of positive .*found \[20.0, 30.0, 20.0, 410.0\]"),
    "parent folder": (change(206, "../x.jpg"), r"below .*WFLW_images, found '../x.jpg'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_wflw_broken_line_names_file_and_line(tmp_path, case):
    line, message = BROKEN[case]
    file = miniature(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n", NAME)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, 3, allow_partial=True)
    assert str(caught.value).startswith(f"{file}:3: ")
