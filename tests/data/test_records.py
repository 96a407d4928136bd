"""What readers share: MATLAB variables, completeness of a split, names of images."""

import numpy as np
import pytest
from miniatures import face, write_boxes
from scipy.io import savemat

from awing.data.records import IncompleteError, Source, check_complete, read_mat
from awing.errors import DataError

SOURCE = Source("Faces", "https://faces.example", "images/")


def test_read_mat_names_the_file_and_what_it_expected(tmp_path):
    file = tmp_path / "a.mat"
    write_boxes(file, {"a.jpg": (1, 2, 3, 4)})
    whole = file.read_bytes()
    with pytest.raises(DataError, match=r"a\.mat: expected joints in a MATLAB file .*KeyError"):
        read_mat(file, "joints")
    savemat(file, {"joints": np.zeros((3, 14, 5))})
    with pytest.raises(DataError, match=r"a\.mat: expected joints of shape \(3, 14, 6\), found \(3, 14, 5\)"):
        read_mat(file, "joints", (3, 14, 6))
    for content in (b"", b"<html>not found</html>" * 20, whole[:50], whole[:200], whole[:-20]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.mat: expected bounding_boxes in a MATLAB file of version 5 to 7"):
            read_mat(file, "bounding_boxes")


def test_check_complete_lists_twelve_problems_and_the_way_out(tmp_path):
    (tmp_path / "10.jpg").touch()
    records = [face(tmp_path / f"{i}.jpg") for i in range(10, 24)] * 2
    with pytest.raises(IncompleteError) as caught:
        check_complete(SOURCE, tmp_path, records, 29, allow_partial=False)
    assert caught.value.problems == ["expected 29 faces, found 28", *(f"{i}.jpg is missing" for i in range(11, 24))]
    shown = [f"  {problem}" for problem in caught.value.problems[:12]]
    assert str(caught.value).splitlines() == [
        f"Faces in {tmp_path} is not complete:", *shown, "  ... and 2 more",
        f"Get it from https://faces.example and unpack it, so that {tmp_path} holds images/.",
        "To run on what is there, set dataset.allow_partial=true (the numbers are then of a part of the set).",
    ]  # fmt: skip
    partial = check_complete(SOURCE, tmp_path, records, 29, allow_partial=True)
    assert ([record.path.name for record in partial.records], partial.expected) == (["10.jpg"] * 2, 29)


def test_check_complete_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(IncompleteError, match=r"there is no folder .*nowhere; name another with paths\.data_dir=DIR"):
        check_complete(SOURCE, tmp_path / "nowhere", [], 5, allow_partial=False, problems=["list.txt is missing"])
    assert check_complete(SOURCE, tmp_path / "nowhere", [], 5, allow_partial=True).records == []
