"""Matrices by hand, and that points and pixels go the same way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.geometry import apply, augmentation_matrix, crop_matrix, shift, warp

STILL = {"angle": 0, "zoom": 1, "dx": 0, "dy": 0, "flip": False}
POINTS = np.array([[0.0, 0.0], [10.0, 0.0], [3.0, 7.0]])


def box(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def blobs(size: int, centers: np.ndarray, sigma: float = 3.0) -> np.ndarray:
    """An RGB image with one Gaussian blob a channel."""
    y, x = np.mgrid[:size, :size]
    squared = (x[..., None] - centers[:, 0]) ** 2 + (y[..., None] - centers[:, 1]) ** 2
    return np.round(250 * np.exp(-squared / (2 * sigma**2))).astype(np.uint8)


def centroids(image: np.ndarray) -> np.ndarray:
    """(3, 2) centre of mass of each channel."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    mass = image.astype(float).reshape(-1, 3)
    return np.stack([x.ravel() @ mass, y.ravel() @ mass], -1) / mass.sum(0)[:, None]


@settings(max_examples=30, deadline=None)
@given(
    corner=st.tuples(*[st.floats(-500, 500)] * 2),
    sides=st.tuples(*[st.floats(1, 800)] * 2),
    size=st.integers(2, 512),
    scale=st.floats(0.5, 3),
)
def test_crop_matrix_is_a_square_around_the_box(
    corner: tuple[float, float], sides: tuple[float, float], size: int, scale: float
) -> None:
    low, high = np.array(corner), np.array(corner) + sides
    matrix = crop_matrix(np.concatenate([low, high]), size, scale)
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == matrix[1, 0] == 0
    half = scale * max(high - low) / 2
    square = (low + high) / 2 + np.array([[0.0, 0.0], [-half, -half], [half, half]])
    expected = [[(size - 1) / 2] * 2, [-0.5] * 2, [size - 0.5] * 2]
    np.testing.assert_allclose(apply(matrix, square), expected, atol=1e-8)


def test_crop_matrix_refuses_what_is_no_box() -> None:
    for empty in [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (float("nan"), 0, 1, 1)]:
        with pytest.raises(ValueError, match="a box needs x1 > x0 and y1 > y0, found"):
            crop_matrix(box(*empty), 64)


@pytest.mark.parametrize(
    ("change", "expected"),
    [  # in a crop of 11 px, whose centre is (5, 5)
        ({"angle": 90}, [[10, 0], [10, 10], [3, 3]]),  # the top left corner goes to the top right
        ({"angle": -90}, [[0, 10], [0, 0], [7, 7]]),
        ({"angle": 180}, [[10, 10], [0, 10], [7, 3]]),
        ({"zoom": 2}, [[-5, -5], [15, -5], [1, 9]]),
        ({"dx": 2.5, "dy": -1}, [[2.5, -1], [12.5, -1], [5.5, 6]]),
        ({"flip": True}, [[10, 0], [0, 0], [7, 7]]),
        ({"flip": True, "angle": 90}, [[10, 10], [10, 0], [3, 7]]),  # mirrored first
        ({"angle": 90, "zoom": 2, "dx": 1}, [[16, -5], [16, 15], [2, 1]]),  # shifted last
    ],
)
def test_augmentation_matrix_by_hand(change: dict[str, float], expected: list[list[float]]) -> None:
    matrix = augmentation_matrix(11, **STILL | change)
    np.testing.assert_allclose(apply(matrix, POINTS), expected, atol=1e-12)


def test_warp_moves_whole_pixels_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp(image, np.eye(3), 40), image)
    np.testing.assert_array_equal(warp(image, augmentation_matrix(40, **STILL | {"flip": True}), 40), image[:, ::-1])
    turned = warp(image, augmentation_matrix(40, **STILL | {"angle": 90}), 40)
    np.testing.assert_array_equal(turned, np.rot90(image, -1))
    moved = warp(image, shift(3, 5), 40)
    np.testing.assert_array_equal(moved[5:, 3:], image[:-5, :-3])
    assert (moved[:5] == 0).all()
    assert (moved[:, :3] == 0).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    angle=st.floats(-180, 180),
    zoom=st.floats(0.8, 1.25),
    move=st.tuples(*[st.floats(-10, 10)] * 2),
    flip=st.booleans(),
    scale=st.floats(1, 1.3),
)
def test_warp_moves_pixels_as_apply_moves_points(
    seed: int, angle: float, zoom: float, move: tuple[float, float], flip: bool, scale: float
) -> None:
    centers = np.random.default_rng(seed).uniform(70, 110, (3, 2))
    crop = crop_matrix(box(45, 50, 140, 130), 128, scale)
    matrix = augmentation_matrix(128, angle=angle, zoom=zoom, dx=move[0], dy=move[1], flip=flip) @ crop
    warped = warp(blobs(180, centers), matrix, 128)
    np.testing.assert_allclose(centroids(warped), apply(matrix, centers), atol=0.05)
