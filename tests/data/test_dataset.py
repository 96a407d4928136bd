"""Samples whose pixels and points move together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from miniatures import face, save_image

from awing.data.augment import Augmentation
from awing.data.loading import LandmarkDataset, normaliser
from awing.data.records import Record
from awing.errors import DataError
from awing.schemes import get_scheme

COFW = get_scheme("cofw29")

COLOURS = np.array([(r, g, b) for r in (90, 170, 250) for g in (0, 80, 160, 240) for b in (0, 120, 240)])[:29]
MIRRORED = [  # who is who in a mirror, read from the names
    COFW.names.index(name.replace("left", "?").replace("right", "left").replace("?", "right")) for name in COFW.names
]


@pytest.fixture(scope="module")
def coloured(tmp_path_factory) -> Record:
    """A picture with a disc of its own colour at each landmark."""
    grid = np.array([(x, y) for y in range(5) for x in range(6)])[:29]
    points = 120 + 72.0 * grid + np.random.default_rng(0).uniform(-15, 15, (29, 2))
    y, x = np.mgrid[:600, :610]
    pixels = np.zeros((600, 610, 3), np.uint8)
    for (cx, cy), colour in zip(points, COLOURS, strict=True):
        pixels[np.hypot(x - cx, y - cy) < 12] = colour
    path = tmp_path_factory.mktemp("coloured") / "a.png"
    save_image(path, pixels)
    return face(path, points, (100, 90, 500, 440))


def dataset(records, augmentation=None, seed=0, size=256, normalisers=("inter_ocular",), subsets=()):
    return LandmarkDataset(records, COFW, size, "provided", 1.2, list(normalisers), list(subsets), augmentation, seed)


def is_mirrored(matrix: torch.Tensor) -> bool:
    return bool(torch.linalg.det(matrix) < 0)


def colours_found(sample: dict[str, torch.Tensor]) -> dict[int, int]:
    """For each landmark inside the crop, whose colour is at its place."""
    image, found = sample["image"].permute(1, 2, 0).numpy().astype(int), {}
    for k, (x, y) in enumerate(sample["points"].round().int().tolist()):
        if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
            distance = np.abs(COLOURS - image[y, x]).sum(1)
            assert distance.min() <= 3, f"no disc at landmark {k}"
            found[k] = int(distance.argmin())
    return found


@pytest.mark.parametrize("size", [128, 256])
def test_augmentation_moves_pixels_points_and_identities(coloured, size):
    assert colours_found(dataset([coloured], size=size)[(0, 0)]) == {k: k for k in range(29)}
    samples = dataset([coloured], Augmentation(), size=size)
    mirrored = 0
    for epoch in range(40):
        sample = samples[(epoch, 0)]
        flip = is_mirrored(sample["matrix"])
        mirrored += flip
        found = colours_found(sample)
        assert len(found) >= 15
        assert found == {k: MIRRORED[k] if flip else k for k in found}
    assert 10 <= mirrored <= 30


def test_matrix_maps_source_points_to_crop_points(coloured):
    samples = dataset([coloured], Augmentation())
    for epoch in range(20):
        sample = samples[(epoch, 0)]
        source = coloured.points[MIRRORED] if is_mirrored(sample["matrix"]) else coloured.points
        moved = np.column_stack([source, np.ones(29)]) @ sample["matrix"].numpy().T
        np.testing.assert_allclose(sample["points"].numpy(), moved[:, :2], atol=1e-4)


def test_flip_takes_the_labels_along(coloured):
    labelled = np.arange(29) % 3 == 0
    record = Record(coloured.path, coloured.points, labelled, coloured.box)
    for flip, expected in ((1, labelled[MIRRORED]), (0, labelled)):
        sample = dataset([record], Augmentation(flip=flip))[(0, 0)]
        np.testing.assert_array_equal(sample["labelled"].numpy(), expected)


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_sample_depends_on_seed_epoch_and_index_alone(coloured, config):
    augmentation = instantiate(config("train", "augment=modern").augment)
    samples, again = (dataset([coloured] * 3, augmentation, seed=4, size=64) for _ in range(2))
    keys = [(epoch, index) for epoch in range(3) for index in range(3)]
    first = {key: samples[key] for key in keys}
    np.random.seed(7)
    torch.manual_seed(7)
    assert all(equal(first[key], again[key]) for key in reversed(keys))
    assert len({sample["image"].numpy().tobytes() for sample in first.values()}) == 9  # every epoch and index differs
    other = dataset([coloured] * 3, augmentation, seed=5, size=64)
    assert not any(torch.equal(first[key]["matrix"], other[key]["matrix"]) for key in keys)


def test_sample_carries_subsets_and_index(coloured):
    subsets = frozenset({"blur"}), frozenset({"a", "pose"})
    records = [face(coloured.path, coloured.points, coloured.box, subsets=names) for names in subsets]
    samples = dataset(records, subsets=("pose", "blur"))
    assert [samples[(0, i)]["subsets"].tolist() for i in (0, 1)] == [[False, True], [True, False]]
    assert [int(samples[(0, i)]["index"]) for i in (0, 1)] == [0, 1]


def test_normaliser_by_hand():
    points = np.zeros((29, 2))
    points[8], points[9] = (10, 10), (40, 50)  # outer eye corners: 30, 40 -> 50
    points[16], points[17] = (5, 0), (5, 7)  # pupils
    record = face(Path("a.jpg"), points, (10, 20, 30, 65))
    assert normaliser(record, COFW, "inter_ocular") == pytest.approx(50)
    assert normaliser(record, COFW, "inter_pupil") == pytest.approx(7)
    assert normaliser(record, COFW, "box") == pytest.approx(30)  # sqrt(20 * 45)
    assert normaliser(record, COFW, "box_diagonal") == pytest.approx(np.hypot(20, 45))
    record.labelled[8] = False
    assert np.isnan(normaliser(record, COFW, "inter_ocular"))
    assert normaliser(record, COFW, "inter_pupil") > 0
    assert np.isnan(normaliser(face(Path("a.jpg")), COFW, "box"))  # there is none


@pytest.mark.parametrize("name", ["inter_ocular", "box"])
def test_scored_faces_need_positive_normalisers(name):
    points = np.random.default_rng(0).uniform(0, 9, (29, 2))
    points[9], points[17] = points[8], points[16]
    record = face(Path("faces/a.jpg"), points, None if name == "box" else (0, 0, 9, 9))
    arguments = [record], COFW, 64, "landmarks", 1.25, [name], []
    with pytest.raises(DataError, match=rf"faces/a\.jpg: a normaliser must be .* found {{'{name}': (0\.0|nan)}}"):
        LandmarkDataset(*arguments)
    assert len(LandmarkDataset(*arguments, augmentation=Augmentation())) == 1


def test_scored_faces_may_lack_a_normaliser_but_not_all():
    full, part = face(Path("a.jpg")), face(Path("b.jpg"))
    part.labelled[8] = False
    arguments = COFW, 64, "landmarks", 1.25, ["inter_ocular", "inter_pupil"], []
    values = LandmarkDataset([full, part], *arguments).normalisers
    assert np.isnan(values).tolist() == [[False, False], [True, False]]
    with pytest.raises(DataError, match="none of 2 faces has the landmarks of inter_ocular, inter_pupil labelled"):
        LandmarkDataset([part, part], *arguments)
    assert len(LandmarkDataset([part, part], *arguments, augmentation=Augmentation())) == 2
