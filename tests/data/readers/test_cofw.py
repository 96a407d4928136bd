"""The COFW reader: miniatures in the official HDF5 layout, with real pictures inside where there are some."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from hydra.utils import instantiate
from miniatures import real_faces, texture, write_cofw

from awing.data.images import read_image, read_record
from awing.data.readers import read_cofw
from awing.errors import DataError


@pytest.fixture
def root(tmp_path) -> Path:
    """Three training faces, one of them grey, and two test faces."""
    root = tmp_path / "cofw"
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        images = [texture(60 + 10 * i, 90, seed=i) for i in range(count)]
        images[1] = images[1][..., 0]
        points = rng.uniform(11, 51, (count, 29, 2))
        write_cofw(root, split, images, [[11, 6, 40, 50]] * count, points, rng.integers(0, 2, (count, 29)))
    return root


def read(root: Path, split: str = "train", allow_partial: bool = False):
    return read_cofw(root, split, allow_partial, {"train": 3, "test": 2})


def test_cofw_arrays_become_fields(root):
    annotations = read(root)
    assert (len(annotations.records), annotations.expected) == (3, 3)
    with h5py.File(root / "COFW_train_color.mat") as content:
        phis = content["phisTr"][()]
    for i, record in enumerate(annotations.records):
        np.testing.assert_allclose(record.points[:, 0], phis[:29, i] - 1)
        np.testing.assert_allclose(record.points[:, 1], phis[29:58, i] - 1)
        assert record.labelled.all()
        assert record.box.tolist() == [10, 5, 50, 55]
        expected = texture(60 + 10 * i, 90, seed=i)
        expected = np.repeat(expected[..., :1], 3, -1) if i == 1 else expected
        np.testing.assert_array_equal(read_record(record), expected)


def test_cofw_real_pictures_carry_their_points(real_data, tmp_path):
    """In colour and in grey; a pupil is darker than the nose, where the file's points say that they are."""
    files, points, boxes = real_faces(real_data, "cofw")
    images = [read_image(file) for file in files]
    images += [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    points, boxes = np.tile(points, (2, 1, 1)), np.tile(boxes, (2, 1))
    write_cofw(tmp_path, "test", images, boxes + [1, 1, 0, 0], points + 1, np.zeros((4, 29)))  # noqa: RUF005
    records = read_cofw(tmp_path, "test", expected={"test": 4}).records
    for record, image, expected, box in zip(records, images, points, boxes, strict=True):
        np.testing.assert_allclose(record.points, expected)
        np.testing.assert_allclose(record.box, [*box[:2], *(box[:2] + box[2:])])
        pixels = read_record(record)
        np.testing.assert_array_equal(pixels, image if image.ndim == 3 else np.stack([image] * 3, -1))
        left, right, nose = (pixels[round(y), round(x)].mean() for x, y in record.points[[16, 17, 20]])
        assert min(left, right) < 0.7 * nose  # one of the four pupils is behind a hand


def test_cofw_incomplete_set_is_refused_unless_allowed(root):
    with pytest.raises(DataError, match=r"(?s)expected 1345 faces, found 3.*data\.caltech\.edu"):
        read_cofw(root, "train")
    assert len(read_cofw(root, "train", allow_partial=True).records) == 3
    (root / "COFW_test_color.mat").unlink()
    with pytest.raises(DataError, match=r"COFW_test_color\.mat is missing"):
        read(root, "test")
    assert read(root, "test", allow_partial=True).records == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bboxesTr", np.zeros((4, 3)), "face 1: expected a box"),
        ("IsTr", None, "IsTr"),
    ],
)
def test_cofw_broken_array_is_named(root, name, value, message):
    with h5py.File(root / "COFW_train_color.mat", "r+") as content:
        del content[name]
        if value is not None:
            content[name] = value
    with pytest.raises(DataError, match=rf"(?s)COFW_train_color\.mat: .*{message}"):
        read(root)


def test_cofw_truncated_file_is_named(root):
    file = root / "COFW_train_color.mat"
    for size in (file.stat().st_size // 2, 0):
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(DataError, match=r"COFW_train_color\.mat: expected a MATLAB file of version 7\.3"):
            read(root)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_cofw_config_gives_the_same_batches_to_workers(root, config):
    """The file is open in this process before the workers start."""
    found = []
    for workers in (0, 2):
        words = (
            f"paths.data_dir={root.parent}", "dataset=cofw", "dataset.allow_partial=true", "dataset.val_fraction=0",
            "data.batch_size=1", f"data.num_workers={workers}", "codec.input_size=64",
        )  # fmt: skip
        data = instantiate(config("train", *words).dataset)
        loader = data.train_dataloader()
        found.append([batch for _ in range(2) for batch in loader])
    assert len(found[0]) == len(found[1]) == 6
    assert len(data.test_dataloader().dataset) == 2
    assert found[0][0]["image"].shape == (1, 3, 64, 64)
    assert found[0][0]["normalisers"].shape == (1, 2)
    for one, other in zip(*found, strict=True):
        for key, value in one.items():
            np.testing.assert_array_equal(other[key], value)
