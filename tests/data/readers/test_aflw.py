"""The AFLW reader: on miniatures in the official container, and on broken ones."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from miniatures import save_image, texture, write_aflw

from awing.data.readers import read_aflw
from awing.errors import ConfigError, DataError
from awing.training import engine

COUNTS = {"train": 4, "test": 2}
ORDER = [4, 1, 6, 2, 3, 5]


def content() -> dict:
    """Six faces, of which the fourth is frontal."""
    rng = np.random.default_rng(0)
    visible = rng.integers(0, 2, (6, 19))
    visible[3] = 1
    return {
        "names": [f"{(0, 2, 3)[i % 3]}/image{i:05d}.jpg" for i in range(6)], "boxes": [[10, 70, 5, 55]] * 6,
        "points": rng.uniform(10, 50, (6, 19, 2)), "visible": visible, "order": ORDER,
    }  # fmt: skip


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "aflw"
    write_aflw(root, **content())
    for name in content()["names"]:
        save_image(root / "data" / "flickr" / name, texture(60, 80))
    return root


def read(root: Path, split: str = "train", **kwargs):
    return read_aflw(root, split, expected=COUNTS, **kwargs)


def test_aflw_permutation_parts_train_from_test(root):
    names = {split: [record.path.name for record in read(root, split).records] for split in COUNTS}
    assert names == {
        "train": [f"image{i - 1:05d}.jpg" for i in ORDER[:4]],
        "test": [f"image{i - 1:05d}.jpg" for i in ORDER[4:]],
    }


def test_aflw_arrays_become_fields(root):
    written = content()
    for visible_only in (False, True):
        for i, record in zip((3, 0, 5, 1), read(root, visible_only=visible_only).records, strict=True):
            seen = written["visible"][i] == 1
            np.testing.assert_array_equal(record.points, written["points"][i])
            np.testing.assert_array_equal(record.labelled, seen if visible_only else np.full(19, True))
            assert record.box.tolist() == [10, 5, 70, 55]
            assert ("frontal" in record.subsets) == (i == 3)


def test_aflw_missing_files_are_listed(root):
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
        ({"visible": np.zeros((6, 18))}, r"mask_new of shape \(6, 19\), found \(6, 18\)"),
        ({"boxes": np.zeros((6, 4))}, "face 4: expected a box"),
    ],
)
def test_aflw_broken_array_is_named(root, changes, message):
    write_aflw(root, **content() | changes)
    with pytest.raises(DataError, match=rf"AFLWinfo_release\.mat: .*{message}"):
        read(root)


def test_aflw_config_gives_batches(root, config):
    words = (
        f"paths.data_dir={root.parent}", "dataset=aflw", "+dataset.reader.expected={train: 4, test: 2}",
        "dataset.val_fraction=0", "data.batch_size=4", "data.num_workers=0", "codec.input_size=64",
    )  # fmt: skip
    plain = next(iter(instantiate(config("train", *words).dataset).train_dataloader()))
    assert plain["labelled"].all()
    assert plain["normalisers"].shape == (4, 2)
    data = instantiate(config("train", *words, "dataset.reader.visible_only=true").dataset)
    assert data.visible_only
    assert not next(iter(data.train_dataloader()))["labelled"].all()
    with pytest.raises(ConfigError, match="box_diagonal"):
        engine.build(config("train", *words, "dataset.normalisers=[box_diagona]").dataset)
