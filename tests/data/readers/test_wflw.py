"""The WFLW reader: on the genuine lists, on miniatures in their layout, and on broken ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from miniatures import wflw_line, write_wflw_list

from awing.data.readers import read_wflw
from awing.data.readers.wflw import SUBSETS
from awing.errors import DataError

NAME = "0--Parade/0_Parade_1.jpg"
POINTS = np.random.default_rng(0).uniform(-5, 500, (98, 2)).round(6)
BOX = [20, 30, 400, 410]
GOOD = wflw_line(POINTS, BOX, [0, 1, 0, 0, 1, 0], NAME)


def miniature(root: Path, content: str | bytes, *images: str, split: str = "train") -> Path:
    """A data set of one list and empty image files; the list's path."""
    for name in images:
        file = root / "WFLW_images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return write_wflw_list(root, split, content)


def read(root: Path, faces: int = 1, **kwargs: bool):
    return read_wflw(root, "train", expected={"train": faces, "test": 0}, **kwargs)


# The genuine files


@pytest.mark.parametrize(("split", "found", "official"), [("train", 61, 7500), ("test", 45, 2500)])
def test_the_real_lists_read_as_numpy_reads_them(real_data, split, found, official):
    root = real_data / "wflw"
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


def test_the_flags_agree_with_the_official_list_of_each_subset(real_data):
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


def test_real_data_are_incomplete_and_refused_by_default(real_data):
    with pytest.raises(DataError, match=r"expected 2500 faces, found 45"):
        read_wflw(real_data / "wflw", "test")


# Miniatures


def test_every_column_becomes_its_field(tmp_path):
    miniature(tmp_path, GOOD + "\n", NAME)
    (record,) = read(tmp_path).records
    assert record.path == tmp_path / "WFLW_images" / NAME
    np.testing.assert_array_equal(record.points, POINTS)
    np.testing.assert_array_equal(record.box, BOX)
    assert record.labelled.shape == (98,) and record.labelled.all()
    assert record.subsets == {"expression", "occlusion"}


def test_each_flag_is_one_subset(tmp_path):
    lines = [wflw_line(POINTS, BOX, row, NAME) for row in np.eye(6, dtype=int).tolist()]
    miniature(tmp_path, "\n".join(lines), NAME)
    found = [record.subsets for record in read(tmp_path, 6).records]
    assert found == [{s} for s in ("pose", "expression", "illumination", "makeup", "occlusion", "blur")]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD + "\n",
        GOOD + "\r\n",
        GOOD + "\n\n  \n",
        "\n" + GOOD,
        "\ufeff" + GOOD + "\n",
        "  " + GOOD.replace(" ", "  ") + "  \n",
        GOOD.replace(" ", "\t"),
    ],
    ids=["no line end", "line end", "CRLF", "blank lines", "blank line first", "BOM", "padded", "tabs"],
)
def test_harmless_differences_of_the_text_do_not_matter(tmp_path, content):
    miniature(tmp_path, content, NAME)
    (record,) = read(tmp_path).records
    np.testing.assert_array_equal(record.points, POINTS)
    assert record.path == tmp_path / "WFLW_images" / NAME


@pytest.mark.parametrize(
    "name", ["a b/image 10_1.jpg", "two  blanks.jpg", "Umzüge/Köln 東京🎭.jpg", "x.JPG", "a\u2028b.jpg", "a\fb.jpg"]
)
def test_an_image_may_have_any_name(tmp_path, name):
    miniature(tmp_path, f"{GOOD.removesuffix(NAME)}{name}\n{GOOD}\n", name, NAME)
    first, second = read(tmp_path, 2).records
    assert first.path == tmp_path / "WFLW_images" / name and first.path.is_file()
    assert second.path.name == Path(NAME).name


def test_an_image_may_hold_several_faces(tmp_path):
    other = wflw_line(POINTS + 7, [0, 0, 9, 9], [0] * 6, NAME)
    miniature(tmp_path, f"{GOOD}\n{other}\n", NAME)
    one, two = read(tmp_path, 2).records
    assert one.path == two.path
    np.testing.assert_allclose(two.points - one.points, 7)
    assert (two.box.tolist(), two.subsets) == ([0, 0, 9, 9], frozenset())


def test_a_complete_set_needs_no_permission_and_an_incomplete_one_says_what_to_do(tmp_path):
    names = [f"0--Parade/{i}.jpg" for i in range(20)]
    content = "".join(GOOD.replace(NAME, name) + "\n" for name in names)
    miniature(tmp_path, content, *names)
    assert len(read(tmp_path, 20).records) == 20
    for name in names[3:17]:
        (tmp_path / "WFLW_images" / name).unlink()
    with pytest.raises(DataError) as caught:
        read(tmp_path, 21)
    message = str(caught.value)
    for part in (
        "expected 21 faces, found 20",
        "WFLW_images/0--Parade/10.jpg is missing",
        "... and 3 more",  # 1 + 14 problems, of which 12 are shown
        "https://wywu.github.io/projects/LAB/WFLW.html",
        f"so that {tmp_path} holds WFLW_images/ and WFLW_annotations/",
        "dataset.allow_partial=true",
    ):
        assert part in message
    partial = read(tmp_path, 21, allow_partial=True)
    assert [record.path.stem for record in partial.records] == [*"012", "17", "18", "19"]
    assert partial.expected == 21


def test_a_missing_list_is_named_or_counts_as_no_face(tmp_path):
    with pytest.raises(DataError, match=r"list_98pt_rect_attr_test\.txt is missing"):
        read_wflw(tmp_path, "test")
    annotations = read_wflw(tmp_path, "test", allow_partial=True)
    assert (annotations.records, annotations.expected) == ([], 2500)


# Broken lines


def change(column: int, word: str) -> str:
    words = GOOD.split()
    words[column] = word
    return " ".join(words)


BROKEN = {
    "a column too few": (GOOD.split(maxsplit=1)[1], "expected 207 columns, found 206"),
    "no name": (GOOD.removesuffix(NAME), "expected 207 columns, found 206"),
    "two words": ("two words", "expected 207 columns, found 2"),
    "a column too many": (f"1.5 {GOOD}", r"x_max > x_min"),  # the name may hold spaces, so the rest shifts
    "no number": (change(7, "left"), "expected numbers, found 'left'"),
    "comma": (change(7, "1,5"), "expected numbers, found '1,5'"),
    "NaN": (change(0, "nan"), "expected finite numbers, found nan"),
    "inf": (change(195, "-inf"), "expected finite numbers, found -inf"),
    "overflow": (change(196, "1e999"), "expected finite numbers, found 1e999"),
    "flat box": (change(198, "20"), r"x_max > x_min and y_max > y_min, found \[20.0, 30.0, 20.0, 410.0\]"),
    "box upside down": (change(199, "29"), "x_max > x_min and y_max > y_min"),
    "flag 2": (change(203, "2"), r"flags 0 or 1 in columns 201-206, found \['0', '1', '0', '2', '1', '0'\]"),
    "flag 0.5": (change(205, "0.5"), "flags 0 or 1"),
    "parent folder": (change(206, "../x.jpg"), r"below .*WFLW_images, found '../x.jpg'"),
    "parent folder inside": (change(206, "a/../../x.jpg"), "found 'a/../../x.jpg'"),
    "absolute": (change(206, "/etc/x.jpg"), "found '/etc/x.jpg'"),
}


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_names_file_and_line(tmp_path, case, partial):
    line, message = BROKEN[case]
    file = miniature(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n", NAME)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, 3, allow_partial=partial)
    assert str(caught.value).startswith(f"{file}:3: ")


# Fuzzing: records or a DataError, nothing else


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("wflw")
    miniature(root, GOOD, NAME)
    return root


def check(root: Path, content: str | bytes) -> None:
    write_wflw_list(root, "train", content)
    try:
        annotations = read(root, allow_partial=True)
    except DataError as error:
        assert str(root) in str(error)
        return
    for record in annotations.records:
        assert np.isfinite(record.points).all() and (record.box[2:] > record.box[:2]).all()
        assert record.path.resolve().is_relative_to(root.resolve() / "WFLW_images") and record.path.is_file()


WORDS = st.one_of(
    st.sampled_from(["", "nan", "-inf", "1e400", "-0", "1_0", "0x1", "٣", "\0", "{", "9" * 400, ".", "~", "a/b", "//"]),
    st.floats().map(str),
    st.text(max_size=8),
)


@settings(max_examples=150, deadline=None)
@example(column=206, word="a" * 300, drop=False)  # longer than a file's name can be
@example(column=206, word="a/" * 3000 + "b", drop=False)
@example(column=206, word="a\0b", drop=False)
@given(column=st.integers(0, 206), word=WORDS, drop=st.booleans())
def test_fuzz_one_column(folder, column, word, drop):
    words = GOOD.split()
    words[column : column + (0 if drop else 1)] = [word]
    check(folder, (GOOD + "\n" + " ".join(words)).encode(errors="replace"))


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(GOOD)), length=st.integers(0, 30), noise=st.binary(max_size=30))
def test_fuzz_bytes_of_a_line(folder, at, length, noise):
    check(folder, GOOD.encode()[:at] + noise + GOOD.encode()[at + length :])


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_fuzz_noise(folder, content):
    check(folder, content)
