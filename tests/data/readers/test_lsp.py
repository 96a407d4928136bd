"""The LSP reader: on the genuine files, on miniatures in their containers, and on broken ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniatures import save_image, texture, write_joints, write_people
from scipy.io import loadmat, savemat

from awing.data.crops import record_matrix
from awing.data.readers import read_lsp
from awing.errors import DataError
from awing.geometry import apply

COUNTS = {"lsp_dataset": 4, "lspet_dataset": 6}


@pytest.fixture
def people(tmp_path) -> Path:
    """Four people of LSP, six of LSPET."""
    write_people(tmp_path, 4, 6)
    return tmp_path


def read(root: Path, split: str = "train", allow_partial: bool = False):
    return read_lsp(root, split, allow_partial, COUNTS)


# The genuine files


def test_the_real_people_of_lspet_read_as_scipy_reads_them(real_data):
    root = real_data / "lsp"
    annotations = read_lsp(root, "train", allow_partial=True)
    assert (len(annotations.records), annotations.expected) == (1500, 11000)
    joints = loadmat(root / "lspet_dataset/joints.mat")["joints"]
    for i, record in enumerate(annotations.records):
        assert record.path == root / f"lspet_dataset/images/im{i + 1:05d}.jpg"
        np.testing.assert_array_equal(record.points, joints[:, :2, i])
        np.testing.assert_array_equal(record.labelled, joints[:, 2, i] == 1)
        assert (record.occluded, record.subsets) == (None, {"lspet"})
    assert 0.85 < np.mean([record.labelled for record in annotations.records]) < 0.9


def test_labelled_joints_of_the_real_people_lie_in_their_images(real_data):
    """And unlabelled ones do not: a reader that took the flag the wrong way round would fail here."""
    inside, outside = [], []
    for record in read_lsp(real_data / "lsp", "train", allow_partial=True).records:
        within = ((record.points >= record.box[:2] - 1) & (record.points <= record.box[2:])).all(1)
        inside.append(within[record.labelled])
        outside.append(~within[~record.labelled])
    assert np.concatenate(inside).all()
    assert np.concatenate(outside).mean() > 0.9


def test_the_boxes_of_the_real_people_are_the_frames_of_the_decoded_images(real_data):
    for record in read_lsp(real_data / "lsp", "train", allow_partial=True).records[::50]:
        height, width = cv2.imread(str(record.path), cv2.IMREAD_IGNORE_ORIENTATION).shape[:2]
        np.testing.assert_array_equal(record.box, [-0.5, -0.5, width - 0.5, height - 0.5])


def test_most_real_people_stand_upright(real_data):
    records = read_lsp(real_data / "lsp", "train", allow_partial=True).records
    scored = np.stack([r.points[:, 1] for r in records if r.labelled.all()])
    head_top, neck, hips, ankles = scored[:, 13], scored[:, 12], scored[:, 2:4].mean(1), scored[:, [0, 5]].mean(1)
    for upper, lower in ((head_top, neck), (neck, hips), (hips, ankles)):
        assert np.mean(upper < lower) > 0.6


def test_the_real_joints_of_lsp_are_all_labelled_and_some_occluded(real_data, tmp_path):
    (tmp_path / "lsp_dataset").symlink_to(real_data / "lsp" / "lsp_dataset")  # it has no images here
    with pytest.raises(DataError, match=r"lsp_dataset/images/im1001\.jpg is missing"):
        read_lsp(tmp_path, "test")
    (tmp_path / "lsp_dataset").unlink()
    joints = loadmat(real_data / "lsp/lsp_dataset/joints.mat")["joints"]
    write_joints(tmp_path, joints.transpose(2, 1, 0), np.zeros((10000, 14, 3)))
    for i in range(1000, 2000):
        file = tmp_path / f"lsp_dataset/images/im{i + 1:04d}.jpg"
        save_image(file, np.zeros((2, 2), np.uint8))
    records = read_lsp(tmp_path, "test").records
    for i, record in enumerate(records, 1000):
        np.testing.assert_array_equal(record.points, joints[:2, :, i].T)
        np.testing.assert_array_equal(record.occluded, joints[2, :, i] == 1)
    assert len(records) == 1000 and all(record.labelled.all() for record in records)
    assert 0.05 < np.mean([record.occluded for record in records]) < 0.1  # 7 %


def test_real_data_are_incomplete_and_refused_by_default(real_data):
    with pytest.raises(DataError) as caught:
        read_lsp(real_data / "lsp", "train")
    assert "lsp_dataset/images/im0001.jpg is missing" in str(caught.value)
    assert f"... and {1000 + 8500 - 12} more" in str(caught.value)


# Miniatures


def test_every_number_becomes_its_field(tmp_path):
    lsp, lspet = np.zeros((4, 14, 3)), np.zeros((6, 14, 3))
    lsp[1, 13] = (3.5, 7.25, 1)  # person 2: the head top, occluded
    lspet[4, 0] = (11.5, 2.0, 1)  # person 5: the right ankle, labelled
    write_joints(tmp_path, lsp, lspet)
    save_image(tmp_path / "lsp_dataset/images/im0002.jpg", texture(30, 50))
    save_image(tmp_path / "lspet_dataset/images/im00005.jpg", texture(40, 20))
    one, two = read(tmp_path, allow_partial=True).records
    assert one.path == tmp_path / "lsp_dataset/images/im0002.jpg"
    assert two.path == tmp_path / "lspet_dataset/images/im00005.jpg"
    assert one.points[13].tolist() == [3.5, 7.25] and one.points[:13].sum() == 0
    assert two.points[0].tolist() == [11.5, 2.0] and two.points[1:].sum() == 0
    assert one.labelled.all() and one.occluded.tolist() == [False] * 13 + [True]
    assert two.labelled.tolist() == [True] + [False] * 13 and two.occluded is None
    assert (one.box.tolist(), two.box.tolist()) == ([-0.5, -0.5, 49.5, 29.5], [-0.5, -0.5, 19.5, 39.5])
    assert (one.subsets, two.subsets) == ({"lsp"}, {"lspet"})


def test_the_provided_crop_is_the_whole_image_and_no_more(people):
    record = read(people).records[0]  # 120 x 90
    matrix = record_matrix(record, "provided", 1.0, 240)
    corners = np.array([[-0.5, -0.5], [119.5, 89.5]])  # 30 px of black above and below
    np.testing.assert_allclose(apply(matrix, corners), [[-0.5, 29.5], [239.5, 209.5]])


def test_training_is_half_of_lsp_and_all_of_lspet_and_the_test_is_the_other_half(people):
    train, test = read(people), read(people, "test")
    assert [record.path.stem for record in train.records] == ["im0001", "im0002", *(f"im0000{i}" for i in range(1, 7))]
    assert [record.path.stem for record in test.records] == ["im0003", "im0004"]
    assert (train.expected, test.expected) == (8, 2)


def test_an_incomplete_set_says_what_to_do_and_partial_data_leave_people_out(people):
    (people / "lsp_dataset/images/im0002.jpg").unlink()
    (people / "lspet_dataset/joints.mat").unlink()
    with pytest.raises(DataError) as caught:
        read(people)
    for part in (
        "lsp_dataset/images/im0002.jpg is missing",
        "lspet_dataset/joints.mat is missing",
        "http://sam.johnson.io/research/lspet.html",
        f"so that {people} holds lsp_dataset/ and lspet_dataset/",
        "dataset.allow_partial=true",
    ):
        assert part in str(caught.value)
    partial = read(people, allow_partial=True)
    assert ([record.path.stem for record in partial.records], partial.expected) == (["im0001"], 8)
    assert len(read(people, "test").records) == 2  # complete


def test_nothing_on_disk_is_no_one(tmp_path):
    annotations = read_lsp(tmp_path, "train", allow_partial=True)
    assert (annotations.records, annotations.expected) == ([], 11000)


# Broken files


GOOD = np.zeros((3, 14, 4))
BROKEN = {
    "LSPET's order": (GOOD.transpose(1, 0, 2), r"joints of shape \(3, 14, 4\), found \(14, 3, 4\)"),
    "too few people": (GOOD[..., :3], r"found \(3, 14, 3\)"),
    "16 joints": (np.zeros((3, 16, 4)), r"found \(3, 16, 4\)"),
    "text": ("joints", r"joints of shape \(3, 14, 4\), found \(\)"),
    "complex": (GOOD.astype(complex) + 1j, "cannot be read"),
    "cells": (GOOD.astype(object), r"expected joints of shape \(3, 14, 4\)"),
    "NaN": (np.where(np.arange(4) == 2, np.nan, GOOD), r"image 3, joint 1: expected finite numbers, found \[nan, nan"),
    "flag 2": (GOOD + 2, r"image 1, joint 1: expected a flag 0 or 1 as the third number, found \[2\.0, 2\.0, 2\.0\]"),
}


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("case", BROKEN)
def test_joints_that_are_none_are_named(people, case, partial):
    joints, message = BROKEN[case]
    savemat(people / "lsp_dataset/joints.mat", {"joints": joints})
    with pytest.raises(DataError, match=message) as caught:
        read(people, allow_partial=partial)
    assert str(caught.value).startswith(f"{people / 'lsp_dataset/joints.mat'}: ")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.tuples(st.integers(0, 167), st.floats() | st.integers(-9, 9).map(float)), max_size=3),
    bits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 7)), max_size=3),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_fuzz_a_damaged_file_gives_people_or_names_itself(people, values, bits, end):
    joints = GOOD.copy()
    for place, value in values:
        joints.flat[place] = value
    file = people / "lsp_dataset/joints.mat"
    savemat(file, {"joints": joints})
    content = bytearray(file.read_bytes())
    for place, bit in bits:
        content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content[: round(end * len(content))])
    try:
        records = read(people, "test").records
    except DataError as error:
        assert str(error).startswith(f"{file}: ")
    else:
        assert len(records) == 2 and all(np.isfinite(record.points).all() for record in records)


def test_a_matlab_file_of_something_else_is_named(people):
    savemat(people / "lsp_dataset/joints.mat", {"oc_joints": GOOD})
    with pytest.raises(DataError, match=r"joints\.mat: expected an array 'joints', found none of that name"):
        read(people)


def test_a_broken_image_is_named(people):
    (people / "lspet_dataset/images/im00003.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"im00003\.jpg: expected an image"):
        read(people)
