"""The AFLW reader: miniatures in the official container, with real pictures where there are some."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from miniatures import real_faces, save_image, texture, write_aflw
from scipy.io import savemat

from awing.data.dataset import normaliser
from awing.data.readers import read_aflw
from awing.errors import ConfigError, DataError
from awing.schemes import get_scheme
from awing.training import engine

COUNTS = {"train": 4, "test": 2}


def arrays(rng=None) -> dict[str, np.ndarray]:
    """What the .mat file holds, for six faces."""
    rng = rng or np.random.default_rng(0)
    names = np.empty((6, 1), dtype=object)
    names[:, 0] = [f"{(0, 2, 3)[i % 3]}/image{i:05d}.jpg" for i in range(6)]
    visible = rng.integers(0, 2, (6, 19))
    visible[3] = 1
    return {
        "nameList": names, "bbox": np.tile([10.0, 70.0, 5.0, 55.0], (6, 1)), "data": rng.uniform(10, 50, (6, 38)),
        "mask_new": visible, "ra": np.array([[4, 1, 6, 2, 3, 5]]),
    }  # fmt: skip


def write(root: Path, **changes) -> dict[str, np.ndarray]:
    content = arrays() | changes
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / "AFLWinfo_release.mat", content)
    return content


@pytest.fixture
def root(tmp_path) -> Path:
    content = write(tmp_path / "aflw")
    for name in content["nameList"][:, 0]:
        save_image(tmp_path / "aflw" / "data" / "flickr" / name, texture(60, 80))
    return tmp_path / "aflw"


def read(root: Path, split: str = "train", **kwargs):
    return read_aflw(root, split, expected=COUNTS, **kwargs)


def test_the_permutation_parts_train_from_test(root):
    names = {split: [record.path.name for record in read(root, split).records] for split in COUNTS}
    assert names == {
        "train": [f"image{i - 1:05d}.jpg" for i in (4, 1, 6, 2)],
        "test": [f"image{i - 1:05d}.jpg" for i in (3, 5)],
    }


def test_points_boxes_and_visibility_are_those_of_the_file(root):
    content = arrays()
    for place, record in zip((3, 0, 5, 1), read(root).records, strict=True):
        np.testing.assert_array_equal(record.points[:, 0], content["data"][place, :19])
        np.testing.assert_array_equal(record.points[:, 1], content["data"][place, 19:])
        np.testing.assert_array_equal(record.occluded, content["mask_new"][place] == 0)
        assert record.labelled.all() and record.box.tolist() == [10, 5, 70, 55]
        assert ("frontal" in record.subsets) == bool(content["mask_new"][place].all())
    for place, record in zip((3, 0, 5, 1), read(root, visible_only=True).records, strict=True):
        np.testing.assert_array_equal(record.labelled, content["mask_new"][place] == 1)


def test_the_box_normalisers_are_the_root_of_its_area_and_its_diagonal(root):
    record, scheme = read(root).records[0], get_scheme("aflw19")
    assert normaliser(record, scheme, "box") == pytest.approx((60 * 50) ** 0.5)
    assert normaliser(record, scheme, "box_diagonal") == pytest.approx((60**2 + 50**2) ** 0.5)


def test_the_real_pictures_carry_their_points_through_the_container(real_data, tmp_path):
    files, points, boxes = real_faces(real_data, "aflw")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "flickr").symlink_to(files[0].parent)
    sides = np.stack([boxes[:, 0], boxes[:, 0] + boxes[:, 2], boxes[:, 1], boxes[:, 1] + boxes[:, 3]], 1)
    write_aflw(tmp_path, [file.name for file in files], sides, points, np.ones(points.shape[:2]), [2, 1])
    records = read_aflw(tmp_path, "test", expected={"train": 0, "test": 2}).records
    assert len(records) == 2
    for record, file, expected in zip(records, files[::-1], points[::-1], strict=True):
        assert record.path.name == file.name and "frontal" in record.subsets
        np.testing.assert_array_equal(record.points, expected)
        assert (record.points >= record.box[:2]).all() and (record.points <= record.box[2:]).all()
        left, right = expected[6:9, 0].mean(), expected[9:12, 0].mean()  # the image's left eye is listed first
        assert left < right and expected[18, 1] > expected[6:12, 1].max()


def test_what_is_missing_is_listed_unless_allowed(root):
    (root / "data/flickr/0/image00000.jpg").unlink()
    with pytest.raises(DataError, match=r"data/flickr/0/image00000\.jpg is missing"):
        read(root)
    assert len(read(root, allow_partial=True).records) == 3
    (root / "AFLWinfo_release.mat").unlink()
    with pytest.raises(DataError, match=r"AFLWinfo_release\.mat is missing"):
        read(root)
    assert read(root, allow_partial=True).records == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ra": np.array([[4, 1, 6, 2, 3, 3]])}, "permutation of 1 to 6"),
        ({"bbox": np.zeros((6, 3))}, r"6 x 4 numbers in bbox, found \(6, 3\)"),
        ({"bbox": np.zeros((6, 4))}, "face 4: expected a box"),
        ({"data": np.full((6, 38), np.nan)}, "face 4: expected 38 finite coordinates"),
        ({"mask_new": np.full((6, 19), 2)}, "19 flags 0 or 1"),
        ({"nameList": arrays()["nameList"][:5]}, "expected 6 names in nameList, found 5"),
    ],
)
def test_a_broken_array_is_named(root, changes, message):
    write(root, **changes)
    with pytest.raises(DataError, match=rf"AFLWinfo_release\.mat.*{message}"):
        read(root)


def test_a_name_that_leaves_the_folder_is_refused(root):
    names = arrays()["nameList"]
    names[3, 0] = "../../../etc/passwd.jpg"
    write(root, nameList=names)
    with pytest.raises(DataError, match="face 4: expected the name of a file below"):
        read(root)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_gives_faces_or_an_error_that_names_it(root, data):
    file = root / "AFLWinfo_release.mat"
    write(root)
    damaged = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        damaged[start : start + 4] = data.draw(st.binary(max_size=8))
    file.write_bytes(bytes(damaged))
    try:
        records = read(root, allow_partial=True).records
    except DataError as error:
        assert "AFLWinfo_release.mat" in str(error)
    else:
        assert all(record.path.is_relative_to(root) and np.isfinite(record.points).all() for record in records)


def test_the_config_gives_batches_and_names_the_choice(root, config):
    words = (
        f"paths.data_dir={root.parent}", "dataset=aflw", "dataset.reader.expected={train: 4, test: 2}",
        "dataset.val_fraction=0", "data.batch_size=4", "data.num_workers=0", "codec.input_size=64",
    )  # fmt: skip
    words = tuple(word.replace("dataset.reader.expected", "+dataset.reader.expected") for word in words)
    plain = next(iter(instantiate(config("train", *words).dataset).train_dataloader()))
    assert plain["labelled"].all() and plain["normalisers"].shape == (4, 2)
    data = instantiate(config("train", *words, "dataset.visible_only=true").dataset)
    assert data.visible_only and not next(iter(data.train_dataloader()))["labelled"].all()
    with pytest.raises(ConfigError, match="box_diagonal"):
        engine.build(config("train", *words, "dataset.normalisers=[box_diagona]").dataset)
