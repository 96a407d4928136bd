"""Cached crops: found while nothing changed, close to the picture's own, and never used to evaluate."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniatures import face, save_image, texture

from awing.data.augment import Augmentation
from awing.data.cache import CropCache
from awing.data.crops import record_matrix
from awing.data.loading import LandmarkDataset
from awing.errors import DataError
from awing.schemes import get_scheme

PAPER = Augmentation(rotation=50, translation=25, scale=0.15, flip=0.5)
SIZE = 64


def cached(folder: Path) -> CropCache:
    return CropCache(folder / "cache", folder, SIZE, PAPER.max_extent)


def dataset(records, cache=None) -> LandmarkDataset:
    return LandmarkDataset(records, get_scheme("cofw29"), SIZE, "provided", 1.0, ["box"], [], PAPER, cache=cache)


def photograph(folder: Path, side: int, box: list[float]):
    save_image(folder / "a.jpg", cv2.resize(texture(side // 4, side // 4 + 10), (side + 40, side)))
    return face(folder / "a.jpg", points=np.random.default_rng(0).uniform(box[0], box[2], (29, 2)), box=box)


@pytest.fixture
def record(tmp_path):
    return photograph(tmp_path, 900, [300, 300, 600, 600])


def write(record, folder: Path) -> Path | None:
    return cached(folder).write(record, record_matrix(record, "provided", 1.0, SIZE))


def find(record, folder: Path) -> Path:
    return cached(folder).picture(record, record_matrix(record, "provided", 1.0, SIZE))[0].path


@pytest.mark.parametrize("side", [40, 300])  # the face from smaller than its crop to five times as large
def test_cached_sample_is_close_to_an_uncached_one(tmp_path, side):
    """Points equal, pixels a few grey levels of 255 apart on average."""
    record = photograph(tmp_path, 4 * side + 100, [side, side, 2 * side, 2 * side])
    assert write(record, tmp_path)
    plain, with_cache = dataset([record]), dataset([record], cached(tmp_path))
    assert with_cache.pictures[0][0].path.parent == tmp_path / "cache"
    for epoch in range(6):
        one, other = plain[epoch, 0], with_cache[epoch, 0]
        for key in ("points", "labelled", "matrix", "normalisers"):
            assert (one[key] == other[key]).all(), key
        difference = (one["image"].float() - other["image"].float()).abs()
        assert difference.mean() < 3
        assert difference.flatten().quantile(0.99) < 12


def test_changed_picture_is_read_itself_until_it_is_cached_again(record, tmp_path):
    assert find(record, tmp_path) == record.path
    before = write(record, tmp_path)
    assert find(record, tmp_path) == write(record, tmp_path) == before
    changed = os.stat(record.path).st_mtime_ns + 10**9
    save_image(record.path, np.full((900, 940, 3), 200, np.uint8))
    os.utime(record.path, ns=(changed, changed))
    assert find(record, tmp_path) == record.path
    after = write(record, tmp_path)
    assert find(record, tmp_path) == after != before
    assert abs(cv2.imread(str(after)).mean() - 200) < 1
    assert set((tmp_path / "cache").iterdir()) == {before, after}


def test_other_settings_are_other_files(record, tmp_path):
    matrix = record_matrix(record, "provided", 1.0, SIZE)
    write(record, tmp_path)
    wider, double = record_matrix(record, "provided", 1.25, SIZE), record_matrix(record, "provided", 1.0, 2 * SIZE)
    assert cached(tmp_path).picture(record, wider)[0] is record
    assert CropCache(tmp_path / "cache", tmp_path, SIZE, PAPER.max_extent + 0.1).picture(record, matrix)[0] is record
    assert CropCache(tmp_path / "cache", tmp_path, 2 * SIZE, PAPER.max_extent).picture(record, double)[0] is record


def test_write_refuses_a_box_outside_its_picture(record, tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: the face's box lies outside the image; check"):
        write(replace(record, box=np.array([950.0, 300, 1250, 600])), tmp_path)


def test_write_names_a_folder_that_cannot_be_written(record, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cache'.*name another folder for the crops: dataset\.cache=DIR"):
        write(record, tmp_path)


def test_write_leaves_out_what_saves_nothing(tmp_path):
    assert write(photograph(tmp_path, 120, [30, 30, 90, 90]), tmp_path) is None  # all of the picture may be seen
    assert not (tmp_path / "cache").exists()
