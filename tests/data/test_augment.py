"""Augmentation: what is drawn, how often, and that it depends on the generator alone."""

from collections import Counter

import albumentations
import numpy as np
import pytest
from hydra.utils import instantiate
from scipy.stats import binom, chisquare, kstest

from awing.data.augment import Augmentation
from awing.errors import ConfigError
from awing.geometry import apply

DRAWS = 1000
CROP = np.random.default_rng(9).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def parts(matrix: np.ndarray, size: int) -> tuple[float, float, float, float, float]:
    """Angle in degrees, zoom, shift of the centre in px, and handedness of a similarity, by its action on points."""
    centre = (size - 1) / 2
    o, x, y = apply(matrix, np.array([[centre, centre], [centre, centre + 1], [centre + 1, centre]]))
    down, right = x - o, y - o
    handedness = np.sign(right[0] * down[1] - right[1] * down[0])
    angle = np.rad2deg(np.arctan2(-down[0], down[1]))  # of the y axis, which mirroring leaves alone
    return angle, np.hypot(*down), o[0] - centre, o[1] - centre, handedness


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """(DRAWS, 5) parts of matrices drawn with the paper's settings at 256 px, and (DRAWS,) flips."""
    augmentation, generator = Augmentation(), rng(1)
    draws = [augmentation.draw(256, generator) for _ in range(DRAWS)]
    return np.array([parts(matrix, 256) for matrix, _ in draws]), np.array([flip for _, flip in draws])


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [(0, -50, 50), (1, 0.85, 1.15), (2, -25, 25), (3, -25, 25)],
    ids=["rotation", "scale", "shift in x", "shift in y"],
)
def test_draw_fills_the_papers_ranges_evenly(drawn, column, low, high):
    values = drawn[0][:, column]
    assert values.min() >= low
    assert values.max() <= high
    assert kstest(values, "uniform", args=(low, high - low)).pvalue > 0.01


def test_draw_flips_half_and_the_matrix_knows(drawn):
    values, flips = drawn
    correlation = np.corrcoef(np.column_stack([values[:, :4], flips]).T) - np.eye(5)
    assert np.abs(correlation).max() < 4 / np.sqrt(DRAWS)  # four standard errors: the draws are independent
    assert binom.ppf(0.001, DRAWS, 0.5) <= flips.sum() <= binom.ppf(0.999, DRAWS, 0.5)
    np.testing.assert_array_equal(values[:, 4], np.where(flips, -1, 1))


def test_draw_scales_translation_alone_with_the_crop():
    augmentation = Augmentation()
    for seed in range(20):
        small, large = (parts(augmentation.draw(size, rng(seed))[0], size) for size in (128, 256))
        assert large[2:4] == pytest.approx((2 * small[2], 2 * small[3]))
        assert large[:2] + large[4:] == pytest.approx(small[:2] + small[4:])


def test_zero_augmentation_is_the_identity():
    augmentation = Augmentation(rotation=0, translation=0, scale=0, flip=0)
    for seed in range(20):
        matrix, flip = augmentation.draw(256, rng(seed))
        np.testing.assert_allclose(matrix, np.eye(3), atol=1e-12)
        assert flip is False
        np.testing.assert_array_equal(augmentation.apply_photometric(CROP, rng(seed)), CROP)


def test_max_extent_covers_every_augmented_crop():
    generator, size = rng(), 64
    corners = np.array([[-0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5]])
    for augmentation in (Augmentation(), Augmentation(rotation=20, translation=5, scale=0.3)):
        matrices = [augmentation.draw(size, generator)[0] for _ in range(DRAWS)]
        far = max(np.abs(apply(np.linalg.inv(matrix), corners) - (size - 1) / 2).max() for matrix in matrices)
        assert 0.85 * augmentation.max_extent * size < far <= augmentation.max_extent * size + 1e-9


@pytest.mark.parametrize(
    "wrong", [{"scale": 1.0}, {"flip": 50}, {"rotation": -50}, {"rotation": float("nan")}, {"translation": -1}]
)
def test_augmentation_refuses_values_that_cannot_work(wrong):
    with pytest.raises(ConfigError, match=f"augment: .*{next(iter(wrong.values()))}"):
        Augmentation(**wrong)


# Photometric transforms


def test_augmentation_refuses_transforms_that_move_pixels():
    one_of = albumentations.OneOf([albumentations.OneOf([albumentations.Blur(), albumentations.HorizontalFlip()])])
    for transform in (albumentations.HorizontalFlip(), one_of):
        with pytest.raises(ConfigError, match="must not move pixels, found HorizontalFlip"):
            Augmentation(photometric=[transform])
    assert Augmentation(photometric=[albumentations.CoarseDropout()])


class Mark(albumentations.ImageOnlyTransform):
    """White out one channel, so that one sees which transforms fired."""

    def __init__(self, channel: int, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.channel = channel

    def apply(self, img: np.ndarray, **_: object) -> np.ndarray:
        marked = img.copy()
        marked[..., self.channel] = 255
        return marked


def fired(augmentation: Augmentation, generator: np.random.Generator) -> tuple[bool, ...]:
    painted = augmentation.apply_photometric(np.zeros((4, 4, 3), dtype=np.uint8), generator)
    return tuple((painted == 255).all((0, 1)).tolist())


def test_photometric_transforms_fire_independently():
    augmentation, table = Augmentation(photometric=[Mark(channel) for channel in range(3)]), []
    for i in range(DRAWS):
        generator = rng(i)
        matrix, flip = augmentation.draw(256, generator)
        table.append([*parts(matrix, 256)[:4], flip, *fired(augmentation, generator)])
    counts = Counter(tuple(row[-3:]) for row in table)
    assert len(counts) == 8  # with one stream for all there would be two: all or none
    assert chisquare(list(counts.values())).pvalue > 0.01
    correlation = np.corrcoef(np.array(table, dtype=float).T)[-3:, :-3]
    assert np.abs(correlation).max() < 4 / np.sqrt(DRAWS)  # nor does the geometry tell which fire


def recipe(config, name: str) -> Augmentation:
    return instantiate(config("train", f"augment={name}").augment)


@pytest.mark.parametrize(
    ("name", "untouched"), [("none", 1), ("paper", 0.8 * 0.8 * 0.7), ("modern", 0.5 * 0.9 * 0.8 * 0.8 * 0.7)]
)
def test_configured_transforms_leave_their_share_alone(config, name, untouched):
    augmentation, total = recipe(config, name), 150
    same = 0
    for i in range(total):
        painted = augmentation.apply_photometric(CROP, rng(i))
        assert painted.shape == CROP.shape
        assert painted.dtype == np.uint8
        same += np.array_equal(painted, CROP)
    assert binom.ppf(0.001, total, untouched) <= same <= binom.ppf(0.999, total, untouched)
