"""The LSP reader: on the genuine files, on miniatures in their containers, and on broken ones."""

from pathlib import Path

import numpy as np
import pytest
from miniatures import save_image, texture, write_joints, write_people
from scipy.io import loadmat, savemat

from awing.data.crops import record_matrix
from awing.data.readers import read_lsp
from awing.errors import DataError
from awing.geometry import apply

COUNTS = {"lsp_dataset": 4, "lspet_dataset": 6}


@pytest.fixture(scope="module")
def real(real_data):
    return read_lsp(real_data / "lsp", "train", allow_partial=True)


@pytest.fixture
def people(tmp_path) -> Path:
    """Four people of LSP, six of LSPET."""
    write_people(tmp_path, 4, 6)
    return tmp_path


def read(root: Path, split: str = "train", allow_partial: bool = False):
    return read_lsp(root, split, allow_partial, COUNTS)


# The genuine files


def test_lspet_real_people_read_as_scipy_reads_them(real_data, real):
    root = real_data / "lsp"
    assert (len(real.records), real.expected) == (1500, 11000)
    joints = loadmat(root / "lspet_dataset/joints.mat")["joints"]
    for i, record in enumerate(real.records):
        assert record.path == root / f"lspet_dataset/images/im{i + 1:05d}.jpg"
        np.testing.assert_array_equal(record.points, joints[:, :2, i])
        np.testing.assert_array_equal(record.labelled, joints[:, 2, i] == 1)
        assert record.subsets == {"lspet"}
    assert 0.85 < np.mean([record.labelled for record in real.records]) < 0.9


def test_lspet_labelled_joints_lie_in_their_images(real):
    """And unlabelled ones do not: a reader that took the flag the wrong way round would fail here."""
    inside, outside = [], []
    for record in real.records:
        within = ((record.points >= record.box[:2] - 1) & (record.points <= record.box[2:])).all(1)
        inside.append(within[record.labelled])
        outside.append(~within[~record.labelled])
    assert np.concatenate(inside).all()
    assert np.concatenate(outside).mean() > 0.9


def test_lspet_most_real_people_stand_upright(real):
    scored = np.stack([r.points[:, 1] for r in real.records if r.labelled.all()])
    head_top, neck, hips, ankles = scored[:, 13], scored[:, 12], scored[:, 2:4].mean(1), scored[:, [0, 5]].mean(1)
    for upper, lower in ((head_top, neck), (neck, hips), (hips, ankles)):
        assert np.mean(upper < lower) > 0.6


def test_lsp_real_joints_are_all_labelled_and_some_occluded(real_data, tmp_path):
    joints = loadmat(real_data / "lsp/lsp_dataset/joints.mat")["joints"]
    write_joints(tmp_path, joints.transpose(2, 1, 0), np.zeros((10000, 14, 3)))
    for i in range(1000, 2000):
        save_image(tmp_path / f"lsp_dataset/images/im{i + 1:04d}.jpg", np.zeros((2, 2), np.uint8))
    records = read_lsp(tmp_path, "test").records
    for i, record in enumerate(records, 1000):
        np.testing.assert_array_equal(record.points, joints[:2, :, i].T)
    assert len(records) == 1000
    assert all(record.labelled.all() for record in records)
    assert 0.05 < joints[2, :, 1000:].mean() < 0.1  # 7 % are flagged as occluded


# Miniatures


def test_lsp_numbers_become_fields(tmp_path):
    lsp, lspet = np.zeros((4, 14, 3)), np.zeros((6, 14, 3))
    lsp[1, 13] = (3.5, 7.25, 1)  # person 2: the head top, occluded
    lspet[4, 0] = (11.5, 2.0, 1)  # person 5: the right ankle, labelled
    write_joints(tmp_path, lsp, lspet)
    save_image(tmp_path / "lsp_dataset/images/im0002.jpg", texture(30, 50))
    save_image(tmp_path / "lspet_dataset/images/im00005.jpg", texture(40, 20))
    one, two = read(tmp_path, allow_partial=True).records
    assert one.path == tmp_path / "lsp_dataset/images/im0002.jpg"
    assert two.path == tmp_path / "lspet_dataset/images/im00005.jpg"
    assert one.points[13].tolist() == [3.5, 7.25]
    assert one.points[:13].sum() == 0
    assert two.points[0].tolist() == [11.5, 2.0]
    assert two.points[1:].sum() == 0
    assert one.labelled.all()
    assert two.labelled.tolist() == [True] + [False] * 13
    assert (one.box.tolist(), two.box.tolist()) == ([-0.5, -0.5, 49.5, 29.5], [-0.5, -0.5, 19.5, 39.5])
    assert (one.subsets, two.subsets) == ({"lsp"}, {"lspet"})


def test_lsp_provided_crop_is_the_whole_image(people):
    record = read(people).records[0]  # 120 x 90
    matrix = record_matrix(record, "provided", 1.0, 240)
    corners = np.array([[-0.5, -0.5], [119.5, 89.5]])  # 30 px of black above and below
    np.testing.assert_allclose(apply(matrix, corners), [[-0.5, 29.5], [239.5, 209.5]])


def test_lsp_trains_on_half_of_lsp_and_all_of_lspet(people):
    train, test = read(people), read(people, "test")
    assert [record.path.stem for record in train.records] == ["im0001", "im0002", *(f"im0000{i}" for i in range(1, 7))]
    assert [record.path.stem for record in test.records] == ["im0003", "im0004"]
    assert (train.expected, test.expected) == (8, 2)


def test_lsp_incomplete_set_says_what_to_do(people):
    (people / "lsp_dataset/images/im0002.jpg").unlink()
    (people / "lspet_dataset/joints.mat").unlink()
    with pytest.raises(DataError) as caught:
        read(people)
    missing = "  lspet_dataset/joints.mat is missing\n  lsp_dataset/images/im0002.jpg is missing\n"
    assert missing + "Get it from http://sam.johnson.io/research/lsp.html and http" in str(caught.value)
    partial = read(people, allow_partial=True)
    assert ([record.path.stem for record in partial.records], partial.expected) == (["im0001"], 8)
    assert len(read(people, "test").records) == 2  # complete


def test_lsp_broken_files_are_named(people):
    savemat(people / "lsp_dataset/joints.mat", {"joints": np.zeros((14, 3, 4))})  # LSPET's order
    with pytest.raises(DataError, match=r"lsp_dataset/joints\.mat: .*\(3, 14, 4\), found \(14, 3, 4\)"):
        read(people, allow_partial=True)
    savemat(people / "lsp_dataset/joints.mat", {"joints": np.zeros((3, 14, 4))})
    (people / "lspet_dataset/images/im00003.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"im00003\.jpg: expected an image"):
        read(people)
