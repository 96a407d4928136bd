"""Label noise: as many points, as far, as asked; the same in every epoch; never where faces are scored."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from miniatures import face

from awing.data.augment import LabelNoise
from awing.data.records import Record
from awing.errors import DataError
from awing.schemes import get_scheme

WFLW = get_scheme("wflw98")


@pytest.mark.parametrize(("share", "distance"), [(0.1, 0.1), (0.3, 0.3), (1.0, 0.05), (0.0, 0.5)])
def test_noise_moves_a_share_by_the_distance_at_any_angle(share, distance):
    angles = []
    for seed in range(40):
        points = np.random.default_rng(seed).uniform(0, 500, (98, 2))
        moved = LabelNoise(share, distance)(face(Path("a.jpg"), points=points, scheme=WFLW), WFLW) - points
        length = np.hypot(*moved.T)
        assert (length > 0).sum() == round(share * 98)
        np.testing.assert_allclose(length[length > 0], distance * np.hypot(*(points[60] - points[72])))
        angles.extend(np.arctan2(moved[:, 1], moved[:, 0])[length > 0])
    if share:
        quarters = np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0]
        assert (np.abs(quarters - len(angles) / 4) < 4 * np.sqrt(len(angles) / 4)).all()


def test_noise_depends_on_the_seed_and_the_face_alone():
    points = np.random.default_rng(0).uniform(0, 9, (2, 98, 2))
    one, other = (face(Path("a.jpg"), points=p, scheme=WFLW) for p in points)
    noise, reseeded = LabelNoise(0.5, 0.1), LabelNoise(0.5, 0.1, seed=1)
    np.testing.assert_array_equal(noise(one, WFLW), LabelNoise(0.5, 0.1)(one, WFLW))
    chosen = [(n(r, WFLW) != r.points).any(1) for n, r in ((noise, one), (noise, other), (reseeded, one))]
    assert (chosen[0] != chosen[1]).any()
    assert (chosen[0] != chosen[2]).any()


def test_noise_moves_labelled_points_and_needs_the_normaliser():
    points = np.random.default_rng(0).uniform(0, 9, (98, 2))
    labelled = np.isin(np.arange(98), (3, 5, 60, 72))
    half = LabelNoise(0.5, 0.1)
    moved = (half(Record(Path("a.jpg"), points, labelled), WFLW) != points).any(1)
    assert moved.sum() == 2
    assert not moved[~labelled].any()
    with pytest.raises(DataError, match=r"a\.jpg: label noise needs the landmarks of inter_ocular labelled"):
        half(Record(Path("a.jpg"), points, np.arange(98) != 60), WFLW)


def test_noise_moves_training_labels_only_and_no_crop(rendered, config):
    words = (
        "dataset=synthetic", "dataset.reader.expected={train: 24, test: 8}", f"paths.data_dir={rendered}",
        "dataset.crop=landmarks",
    )  # fmt: skip
    plain = instantiate(config("train", *words).dataset)
    noisy = instantiate(config("train", *words, "dataset.label_noise={share: 0.3, distance: 0.3}").dataset)
    for split, augmented in (("train", True), ("val", False), ("test", False)):
        one, other = plain.dataset(split, augmented), noisy.dataset(split, augmented)
        assert all((a == b).all() for a, b in zip(one.matrices, other.matrices, strict=True))
        moved = [(a != b).any(1).sum() for a, b in zip(one.points, other.points, strict=True)]
        assert set(moved) == {29 if split == "train" else 0}
