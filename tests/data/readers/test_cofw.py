"""The COFW reader: miniatures in the official HDF5 layout, with real pictures inside where there are some."""

import multiprocessing
import pickle
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import real_faces, texture, write_cofw

from awing.data.crops import record_matrix
from awing.data.images import read_crop, read_image
from awing.data.readers import read_cofw
from awing.errors import DataError


@pytest.fixture
def root(tmp_path) -> Path:
    """Three training faces, one of them grey, and two test faces."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        images = [texture(60 + 10 * i, 90, seed=i) for i in range(count)]
        images[1] = images[1][..., 0]
        points = rng.uniform(11, 51, (count, 29, 2))
        write_cofw(tmp_path, split, images, [[11, 6, 40, 50]] * count, points, rng.integers(0, 2, (count, 29)))
    return tmp_path


def read(root: Path, split: str = "train", allow_partial: bool = False):
    return read_cofw(root, split, allow_partial, {"train": 3, "test": 2})


def test_points_boxes_and_occlusion_are_those_of_the_file_and_0_based(root):
    annotations = read(root)
    assert (len(annotations.records), annotations.expected) == (3, 3)
    with h5py.File(root / "COFW_train_color.mat") as content:
        phis = content["phisTr"][()]
    for i, record in enumerate(annotations.records):
        np.testing.assert_allclose(record.points[:, 0], phis[:29, i] - 1)
        np.testing.assert_allclose(record.points[:, 1], phis[29:58, i] - 1)
        np.testing.assert_array_equal(record.occluded, phis[58:, i] == 1)
        assert record.labelled.all()
        assert record.box.tolist() == [10, 5, 50, 55]


def test_images_are_read_upright_in_colour_or_grey(root):
    for i, record in enumerate(read(root).records):
        expected = texture(60 + 10 * i, 90, seed=i)
        if i == 1:
            expected = np.repeat(expected[..., :1], 3, -1)
        np.testing.assert_array_equal(read_image(record.path, record.entry), expected)


def crops(records) -> list[np.ndarray]:
    return [read_crop(r, record_matrix(r, "provided", 1.0, 32), 32) for r in records]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_with_handles_of_their_own(root, method):
    records = read(root).records
    here = crops(records)  # the file is open in this process before the others start
    assert pickle.loads(pickle.dumps(records[0])).entry == records[0].entry
    with multiprocessing.get_context(method).Pool(2) as pool:
        pieces = pool.map(_read_entry, [(str(r.path), r.entry) for r in records * 8])
    for i, pixels in enumerate(pieces):
        np.testing.assert_array_equal(pixels, read_image(records[i % 3].path, records[i % 3].entry))
    assert all(crop.any() for crop in here)


def _read_entry(name: tuple[str, str]) -> np.ndarray:
    return read_image(*name)


def test_the_real_pictures_carry_their_points_through_the_container(real_data, tmp_path):
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
        pixels = read_image(record.path, record.entry)
        np.testing.assert_array_equal(pixels, image if image.ndim == 3 else np.stack([image] * 3, -1))
        left, right, nose = (pixels[round(y), round(x)].mean() for x, y in record.points[[16, 17, 20]])
        assert min(left, right) < 0.7 * nose  # one of the four pupils is behind a hand


def test_a_missing_file_or_another_number_of_faces_is_refused_unless_allowed(root):
    with pytest.raises(DataError, match=r"(?s)expected 1345 faces, found 3.*data\.caltech\.edu"):
        read_cofw(root, "train")
    assert len(read_cofw(root, "train", allow_partial=True).records) == 3
    (root / "COFW_test_color.mat").unlink()
    with pytest.raises(DataError, match=r"COFW_test_color\.mat is missing"):
        read(root, "test")
    assert read(root, "test", allow_partial=True).records == []


def change(root: Path, name: str, value) -> None:
    with h5py.File(root / "COFW_train_color.mat", "r+") as content:
        del content[name]
        if value is not None:
            content[name] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("phisTr", np.zeros((86, 3)), r"phisTr of shape \(87, faces\), found \(86, 3\)"),
        ("phisTr", np.zeros((87, 2)), "3 images, 3 boxes and 2 annotations"),
        ("phisTr", np.full((87, 3), np.nan), "face 1: expected 58 finite coordinates"),
        ("phisTr", np.full((87, 3), 7.0), "29 flags 0 or 1"),
        ("bboxesTr", np.zeros((4, 3)), "face 1: expected a box"),
        ("bboxesTr", None, "bboxesTr"),
        ("IsTr", None, "IsTr"),
        ("IsTr", np.zeros((1, 3)), "face 1: expected a reference"),
    ],
)
def test_a_broken_array_is_named(root, name, value, message):
    change(root, name, value)
    with pytest.raises(DataError, match=rf"(?s)COFW_train_color\.mat.*{message}"):
        read(root)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((2, 9, 9), np.uint8), r"shape \(2, 9, 9\)"),
        (np.zeros((9, 9)), "float64"),
        (np.zeros((3, 0, 9), np.uint8), r"\(3, 0, 9\)"),
        (None, "image0"),
    ],
)
def test_a_broken_image_is_named(root, value, message):
    record = read(root).records[0]
    change(root, "#refs#/image0", value)
    with pytest.raises(DataError, match=rf"COFW_train_color\.mat:/#refs#/image0.*{message}"):
        read_image(record.path, record.entry)


def test_a_claim_of_a_billion_pixels_is_refused_without_reading_it(root):
    record = read(root).records[0]
    with h5py.File(root / "COFW_train_color.mat", "r+") as content:
        del content["#refs#/image0"]
        content.create_dataset("#refs#/image0", (3, 60000, 60000), np.uint8, chunks=(1, 100, 100))
    with pytest.raises(DataError, match="megapixels"):
        read_image(record.path, record.entry)


@pytest.mark.parametrize("kind", ["link", "virtual", "external"])
def test_an_array_that_lies_in_another_file_is_refused(root, kind):
    """The file names no other: what it shows would be whatever lies there."""
    shape, other = (87, len(read(root).records)), str(root / "other.h5")
    with h5py.File(other, "w") as content:
        content["x"] = np.zeros(shape)
    with h5py.File(root / "COFW_train_color.mat", "r+") as content:
        del content["phisTr"]
        if kind == "link":
            content["phisTr"] = h5py.ExternalLink(other, "/x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, "f8")
            layout[:] = h5py.VirtualSource(other, "x", shape)
            content.create_virtual_dataset("phisTr", layout)
        else:
            content.create_dataset("phisTr", shape, "f8", external=[(other, 0, 10_000)])
    with pytest.raises(DataError, match=r"COFW_train_color\.mat: .*phisTr.* in another file"):
        read(root)


@settings(deadline=None, max_examples=60)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 7)), max_size=3))
def test_fuzz_a_damaged_file_gives_faces_or_names_itself(tmp_path_factory, cut, flips):
    folder = tmp_path_factory.mktemp("fuzz")
    points = np.random.default_rng(0).uniform(5, 40, (2, 29, 2))
    images = [texture(20, 30), texture(20, 30)[..., 0]]
    file = write_cofw(folder, "train", images, [[1, 1, 20, 15]] * 2, points, np.zeros((2, 29)))
    data = bytearray(file.read_bytes())
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    file.write_bytes(data[: int(cut * len(data))] if cut < 0.9 else data)
    try:
        records = read_cofw(folder, "train", allow_partial=True).records
        for record in records:
            assert read_image(record.path, record.entry).ndim == 3
    except DataError as error:
        assert "COFW_train_color.mat" in str(error)


def test_the_config_gives_batches(root, config, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cofw").symlink_to(root)
    words = (
        f"paths.data_dir={tmp_path / 'data'}", "dataset=cofw", "dataset.allow_partial=true", "dataset.val_fraction=0",
        "data.batch_size=2", "data.num_workers=0", "codec.input_size=64",
    )  # fmt: skip
    data = instantiate(config("train", *words).dataset)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 64, 64) and batch["normalisers"].shape == (2, 2)
    assert len(data.test_dataloader().dataset) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_two_workers_give_the_batches_of_none(root, config):
    """The file is open in this process before the workers start."""
    found = []
    for workers in (0, 2):
        words = (
            f"paths.data_dir={root.parent}", f"dataset.root={root}", "dataset=cofw", "dataset.allow_partial=true",
            "dataset.val_fraction=0", "data.batch_size=1", f"data.num_workers={workers}", "codec.input_size=64",
        )  # fmt: skip
        loader = instantiate(config("train", *words).dataset).train_dataloader()
        found.append([batch for _ in range(3) for batch in loader])
    assert len(found[0]) == len(found[1]) == 9
    for one, other in zip(*found, strict=True):
        for key, value in one.items():
            np.testing.assert_array_equal(other[key], value)
