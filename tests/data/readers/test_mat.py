"""MATLAB files: as scipy reads them where they are whole, a message where they are not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from miniatures import write_boxes
from scipy.io import loadmat, savemat

from awing.data.readers.mat import read_mat
from awing.errors import DataError


@pytest.mark.parametrize("folder", ["lsp_dataset", "lspet_dataset"])
def test_real_files_read_as_scipy_reads_them(real_data, folder):
    file = real_data / "lsp" / folder / "joints.mat"
    np.testing.assert_array_equal(read_mat(file, "joints"), loadmat(file)["joints"])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
@pytest.mark.parametrize("shape", [(3, 14, 5), (1, 1), (0, 4), (2, 3)])
def test_numbers_of_every_type_read_as_scipy_reads_them(tmp_path, dtype, shape, compressed):
    array = np.random.default_rng(0).uniform(0, 100, shape).astype(dtype)
    savemat(tmp_path / "a.mat", {"before": "text", "a": array, "b": [1, 2]}, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", "a")
    np.testing.assert_array_equal(found, loadmat(tmp_path / "a.mat")["a"])
    assert found.shape == shape


@pytest.mark.parametrize("text", ["a.jpg", "image 10_1.jpg", "Köln 東京.jpg", ""])
def test_cells_structs_and_text(tmp_path, text):
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = {"name": text, "box": np.array([[1.5, 2]])}, np.array([[7]])
    savemat(tmp_path / "a.mat", {"a": cells})
    found = read_mat(tmp_path / "a.mat", "a")
    assert found.shape == (1, 2) and found[0, 0].shape == (1, 1) and found[0, 1].tolist() == [[7]]
    struct = found[0, 0].item()
    assert list(struct) == ["name", "box"] and struct["box"].tolist() == [[1.5, 2]]
    assert struct["name"] == text


@pytest.mark.parametrize(
    ("format", "message"), [("4", "expected a MATLAB file of version 5 to 7"), ("5", "expected an array 'b'")]
)
def test_what_is_not_there_or_another_version_is_named(tmp_path, format, message):
    savemat(tmp_path / "a.mat", {"a": np.eye(2)}, format=format)
    with pytest.raises(DataError, match=rf"a\.mat: {message}"):
        read_mat(tmp_path / "a.mat", "b")
    with pytest.raises(DataError, match=r"c\.mat: .* No such file"):
        read_mat(tmp_path / "c.mat", "a")


# Fuzzing: a value or a DataError, nothing else


@pytest.fixture(scope="module", params=["numbers", "compressed", "boxes"])
def file(tmp_path_factory, request) -> tuple[Path, str, bytes]:
    file = tmp_path_factory.mktemp("mat") / "a.mat"
    if request.param == "boxes":
        write_boxes(file, {f"{i}.jpg": (1, 2, 3, 4) for i in range(3)})
        return file, "bounding_boxes", file.read_bytes()
    joints = np.random.default_rng(0).uniform(0, 100, (3, 14, 4))
    savemat(file, {"joints": joints}, do_compression=request.param == "compressed")
    return file, "joints", file.read_bytes()


def check(file: Path, name: str, content: bytes) -> None:
    file.write_bytes(content)
    try:
        assert isinstance(read_mat(file, name), np.ndarray | str)
    except DataError as error:
        assert str(error).startswith(f"{file}: ")


@settings(max_examples=300, deadline=None)
@given(
    bits=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 7)), max_size=4),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
@example(bits=[], end=0)
@example(bits=[], end=0.1)
def test_fuzz_flipped_and_truncated(file, bits, end):
    file, name, good = file
    content = bytearray(good)
    for place, bit in bits:
        content[int(place * len(content))] ^= 1 << bit
    check(file, name, bytes(content[: round(end * len(content))]))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(120, 400), noise=st.binary(min_size=1, max_size=8))
def test_fuzz_the_heads(file, at, noise):
    file, name, good = file
    check(file, name, good[:at] + noise + good[at + len(noise) :])


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_fuzz_noise(file, content):
    file, name, good = file
    check(file, name, content)
    check(file, name, good[:128] + content)
