"""Cached crops: found when nothing changed, close to the picture's own, and never used to evaluate."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from miniatures import face, save_image, texture

from awing.data.augment import Augmentation
from awing.data.cache import CropCache
from awing.data.crops import record_matrix
from awing.data.dataset import LandmarkDataset
from awing.data.readers import read_300w
from awing.errors import DataError
from awing.geometry import apply
from awing.schemes import get_scheme

PAPER = Augmentation(rotation=50, translation=25, scale=0.15, flip=0.5)
SIZE = 64


def cached(folder: Path) -> CropCache:
    return CropCache(folder / "cache", folder, SIZE, PAPER.max_extent)


def dataset(records, cache=None) -> LandmarkDataset:
    return LandmarkDataset(records, get_scheme("cofw29"), SIZE, "provided", 1.0, ["box"], [], PAPER, cache=cache)


def photograph(folder: Path, side: int, box: list[float], name: str = "a.jpg"):
    detail = max(3, (box[2] - box[0]) / 24)  # what a face's crop can show
    save_image(folder / name, texture(side, side + 40, sigma=detail), cv2.IMWRITE_JPEG_QUALITY, 95)
    return face(folder / name, points=np.random.default_rng(0).uniform(box[0], box[2], (29, 2)), box=box)


@pytest.mark.parametrize("side", [40, 100, 300, 700])  # the face from smaller than its crop to eleven times as large
def test_a_cached_sample_is_close_to_an_uncached_one(tmp_path, side):
    """Points equal, pixels a few grey levels of 255 apart on average."""
    record = photograph(tmp_path, 4 * side + 100, [side, side, 2 * side, 2 * side])
    cache, plain = cached(tmp_path), dataset([record])
    assert cache.write(record, plain.matrices[0])
    cache.finish()
    with_cache = dataset([record], cache)
    assert with_cache.pictures[0][0].path.parent == tmp_path / "cache"
    for epoch in range(12):
        one, other = plain[epoch, 0], with_cache[epoch, 0]
        for key in ("points", "labelled", "matrix", "normalisers"):
            assert (one[key] == other[key]).all(), key
        difference = (one["image"].float() - other["image"].float()).abs()
        assert difference.mean() < 3, (epoch, difference.mean())
        assert difference.flatten().quantile(0.99) < 12


@pytest.mark.parametrize("content", ["../elsewhere/x", "0" * 63, "", 5, None, ["0" * 64]])
def test_an_index_from_elsewhere_names_no_file(tmp_path, content):
    """The hash becomes part of a file's name: another one than a hash would lead out of the folder."""
    record = photograph(tmp_path, 700, [200, 200, 300, 300])
    matrix = dataset([record]).matrices[0]
    file = cached(tmp_path).write(record, matrix)
    state = os.stat(record.path)
    beside = tmp_path / "elsewhere" / file.name.replace(file.name[:16], "x")
    beside.parent.mkdir()
    shutil.copy(file, beside)
    index = {"a.jpg": [state.st_size, state.st_mtime_ns, content]}
    (tmp_path / "cache" / "index.json").write_text(json.dumps(index | {"b.jpg": content}))
    found, _ = cached(tmp_path).picture(record, matrix)
    assert found is record or found.path == file


def test_real_faces_differ_by_no_more_than_is_stated(real_data, tmp_path):
    records = read_300w(real_data / "300w", "train", allow_partial=True).records[::60]
    common = records, get_scheme("ibug68"), SIZE, "landmarks", 1.25, ["inter_ocular"], [], PAPER
    plain, cache = LandmarkDataset(*common), cached(tmp_path)
    assert sum(file is not None for file in map(cache.write, records, plain.matrices)) > 0.8 * len(records)
    cache.finish()
    with_cache = LandmarkDataset(*common, cache=cache)
    differences = []
    for i in range(len(records)):
        for epoch in range(4):
            one, other = plain[epoch, i], with_cache[epoch, i]
            assert (one["points"] == other["points"]).all()
            differences.append((one["image"].float() - other["image"].float()).abs().mean().item())
    assert 0 < np.mean(differences) < 3 and max(differences) < 8


def test_the_reach_covers_every_augmented_crop():
    rng = np.random.default_rng(0)
    corners = np.array([[-0.5, -0.5], [-0.5, SIZE - 0.5], [SIZE - 0.5, -0.5], [SIZE - 0.5, SIZE - 0.5]])
    for augmentation in (PAPER, Augmentation(rotation=20, translation=5, scale=0.3), Augmentation(0, 0, 0, 0)):
        far = [
            np.abs(apply(np.linalg.inv(augmentation.draw(SIZE, rng).matrix), corners) - (SIZE - 1) / 2).max()
            for _ in range(3000)
        ]
        assert 0.85 * augmentation.max_extent * SIZE < max(far) <= augmentation.max_extent * SIZE + 1e-9


def written(folder: Path, *records) -> Path:
    """Cache the faces as the command does; returns the first one's file."""
    cache = cached(folder)
    files = [cache.write(record, record_matrix(record, "provided", 1.0, SIZE)) for record in records]
    cache.finish()
    return files[0]


def found(folder: Path, record) -> Path:
    return cached(folder).picture(record, record_matrix(record, "provided", 1.0, SIZE))[0].path


def test_a_picture_is_found_by_its_content(tmp_path):
    """Another content is read itself until the cache is written again; another time or folder does not matter."""
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    assert found(tmp_path, record) == record.path
    before = written(tmp_path, record)
    assert found(tmp_path, record) == before
    os.utime(record.path, ns=(1, 1))
    assert found(tmp_path, record) == before
    shutil.copytree(tmp_path, tmp_path / "copy")
    copied = replace(record, path=tmp_path / "copy" / "a.jpg")
    assert found(tmp_path / "copy", copied) == tmp_path / "copy" / "cache" / before.name
    save_image(record.path, np.full((940, 900, 3), 200, np.uint8))
    assert found(tmp_path, record) == record.path
    after = written(tmp_path, record)
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {after.name, "index.json"} and after != before
    assert abs(cv2.imread(str(after)).mean() - 200) < 1


def test_writing_trusts_no_time_of_change(tmp_path):
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    content = record.path.read_bytes()
    record.path.write_bytes(content + b"a")
    written(tmp_path, record)
    state = record.path.stat()
    record.path.write_bytes(content + b"b")
    os.utime(record.path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert written(tmp_path, record).name[:16] == hashlib.sha256(record.path.read_bytes()).hexdigest()[:16]


def test_what_is_not_the_caches_own_is_kept_and_leftovers_are_not(tmp_path):
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    file = written(tmp_path, record)
    (file.parent / "mine-a.jpg").write_bytes(b"")
    file.with_suffix(".12-34").write_bytes(b"")  # a writing was killed
    other = CropCache(file.parent, tmp_path, 2 * SIZE, PAPER.max_extent)  # other settings
    assert other.write(record, record_matrix(record, "provided", 1.0, 2 * SIZE)) != file
    other.finish()
    assert file.exists() and (file.parent / "mine-a.jpg").exists() and not file.with_suffix(".12-34").exists()


def test_a_crop_that_is_deleted_during_training_is_read_from_its_picture(tmp_path):
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    file = written(tmp_path, record)
    with_cache = dataset([record], cached(tmp_path))
    file.unlink()
    assert (with_cache[0, 0]["image"] == dataset([record])[0, 0]["image"]).all()


def test_a_box_outside_its_picture_is_not_hidden(tmp_path):
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    away = replace(record, box=np.array([950.0, 300, 1250, 600]))
    with pytest.raises(DataError, match=r"a\.jpg: the face's box lies outside the image of 940 x 900 px"):
        written(tmp_path, away)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be written: .*dataset\.cache=DIR"):
        written(tmp_path, photograph(tmp_path, 900, [300, 300, 600, 600]))


def test_other_settings_are_other_files(tmp_path):
    record = photograph(tmp_path, 900, [300, 300, 600, 600])
    matrix = record_matrix(record, "provided", 1.0, SIZE)
    written(tmp_path, record)
    wider = record_matrix(record, "provided", 1.25, SIZE)
    assert cached(tmp_path).picture(record, wider)[0] is record
    assert CropCache(tmp_path / "cache", tmp_path, SIZE, PAPER.max_extent + 0.1).picture(record, matrix)[0] is record
    double = record_matrix(record, "provided", 1.0, 2 * SIZE)
    assert CropCache(tmp_path / "cache", tmp_path, 2 * SIZE, PAPER.max_extent).picture(record, double)[0] is record


def test_what_saves_nothing_is_not_cached(tmp_path):
    record = photograph(tmp_path, 120, [30, 30, 90, 90])  # all of the picture may be seen
    assert not cached(tmp_path).write(record, record_matrix(record, "provided", 1.0, SIZE))
    assert not (tmp_path / "cache").exists()


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    record = face(tmp_path / "gone.jpg", box=[0, 0, 10, 10])
    with pytest.raises(DataError, match=r"gone\.jpg"):
        cached(tmp_path).write(record, record_matrix(record, "provided", 1.0, SIZE))


def test_training_reads_the_cache_and_evaluation_does_not(rendered, config, tmp_path):
    overrides = "dataset=synthetic", "dataset.reader.expected.train=24", "dataset.reader.expected.test=8"
    words = (*overrides, f"paths.data_dir={rendered}", f"dataset.cache={tmp_path / 'cache'}", "codec.input_size=32")
    data = instantiate(config("train", *words, "codec.heatmap_size=8").dataset)
    plain = data.dataset("train")
    written = [data.cache.write(r, m) for r, m in zip(plain.records, plain.matrices, strict=True)]
    assert all(written)
    data.cache.finish()
    data = instantiate(config("train", *words, "codec.heatmap_size=8").dataset)
    pictures = {split: data.dataset(split, augmented).pictures for split, augmented in
                (("train", True), ("val", False), ("test", False))}  # fmt: skip
    assert all(record.path.parent == tmp_path / "cache" for record, _ in pictures["train"])
    assert all(record.path.parent != tmp_path / "cache" for s in ("val", "test") for record, _ in pictures[s])
