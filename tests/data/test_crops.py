"""Crops: which square of the image is taken, checked by hand and against what may and may not steer it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from awing.data.crops import BoxJitter, box_matrix, landmark_box, record_matrix
from awing.data.records import Record
from awing.errors import ConfigError, DataError
from awing.geometry import apply

EVERY = np.ones(98, dtype=bool)
COORDINATES = st.floats(-2000, 5000, allow_subnormal=False)
FACES = arrays(np.float64, (98, 2), elements=COORDINATES)


def record(points, box=(100, 200, 300, 360), labelled=EVERY) -> Record:
    return Record(Path("faces/a.jpg"), points, labelled, None if box is None else np.array(box, dtype=float))


def spread(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """98 points on the diagonal of a box."""
    return np.linspace((x0, y0), (x1, y1), 98)


def square(matrix: np.ndarray, size: int) -> list[float]:
    """Centre x, centre y and side in source px of the square that a matrix takes, by solving for its corners."""
    first, last = -0.5, size - 0.5  # outer borders of the crop's pixels
    corners = np.linalg.solve(matrix, np.array([[first, first, 1], [last, last, 1]]).T)[:2].T
    side = corners[1] - corners[0]
    assert side[0] == pytest.approx(side[1])
    assert matrix[0, 0] == matrix[1, 1] > 0 == matrix[0, 1] == matrix[1, 0]
    return [*corners.mean(0), side[0]]


@pytest.mark.parametrize(
    ("box", "scale", "expected"),
    [
        ((100, 200, 300, 360), 1.1, (200, 280, 220)),  # the longer side is the width
        ((0, 0, 30, 50), 1.1, (15, 25, 55)),
        ((-20, -40, 20, 0), 1, (0, -20, 40)),
    ],
)
def test_provided_crop_is_the_square_on_the_longer_side(box, scale, expected):
    matrix = record_matrix(record(spread(0, 0, 9, 9), box), "provided", scale, 128)
    assert square(matrix, 128) == pytest.approx(expected)


def test_provided_crop_never_depends_on_the_landmarks():
    faces = record(spread(0, 0, 9, 9)), record(spread(-500, 70, 2000, 90), labelled=~EVERY)
    np.testing.assert_array_equal(*(record_matrix(face, "provided", 1.1, 256) for face in faces))


def test_landmark_crop_is_a_square_on_the_tight_box():
    points = spread(110, 50, 190, 90)  # 80 x 40, so a square of 100 around (150, 70)
    matrix = record_matrix(record(points, box=None), "landmarks", 1.25, 200)
    assert square(matrix, 200) == pytest.approx([150, 70, 100])
    # 2 px of the crop per source px: the first point lies 40 left of and 20 above the centre, which is at 99.5
    np.testing.assert_allclose(apply(matrix, points[:1]), [[99.5 - 80, 99.5 - 40]])


def test_landmark_crop_ignores_unlabelled_points():
    labelled = np.arange(98) % 2 == 0
    points = spread(110, 50, 190, 90)
    points[~labelled] = 1e6
    np.testing.assert_allclose(landmark_box(record(points, None, labelled)), [*points[0], *points[96]])


@pytest.mark.parametrize(
    ("points", "labelled"), [(spread(1, 1, 9, 9), ~EVERY), (spread(5, 1, 5, 1), EVERY)], ids=["none labelled", "a spot"]
)
def test_landmark_crop_refuses_points_that_span_no_box(points, labelled):
    with pytest.raises(DataError, match=r"faces/a\.jpg: the labelled landmarks span no box"):
        record_matrix(record(points, labelled=labelled), "landmarks", 1.25, 256)


def test_landmark_crop_of_a_line_is_as_wide_as_the_line():
    """Two labelled eyes on one height."""
    crops = [record_matrix(record(spread(5, y, 25, 40)), "landmarks", 1.25, 256) for y in (39.999999, 40)]
    np.testing.assert_allclose(*crops, atol=1e-4)


@pytest.mark.parametrize(
    ("left", "expected"),  # of a box of 100 x 100, grown to 105 x 105 -> a side of 0.8 * 210 = 168 for 450 px
    [
        (80, 168 * 360 / 450),  # all points fit into the centre of 360 px
        # 75 px left of the centre is 201 of 225 px: inside 10..440 of 450, but left of the 180 px of the centre's half
        (25, 168 * 650 / 450),
        # 100 px is outside 10..440 of 450 until the side is at least 100 / (224.5 - 10) * 450 = 209.8
        (0, 168 * 1.05**5 * 650 / 450),
    ],
    ids=["centre", "border", "grown"],
)
@pytest.mark.parametrize("size", [128, 256])
def test_official_crop_is_the_authors_square(left, expected, size):
    assert 168 * 1.05**4 < 100 / 214.5 * 450 < 168 * 1.05**5
    face = record(spread(left, 80, 120, 120), (50, 50, 150, 150))
    assert square(record_matrix(face, "official", 1.0, size), size) == pytest.approx([100, 100, expected])


def test_official_crop_without_ground_truth_is_the_centre():
    box = np.array([50.0, 50.0, 150.0, 150.0])
    assert square(box_matrix(box, "official", 1.0, 256), 256) == pytest.approx([100, 100, 168 * 360 / 450])


@settings(max_examples=25, deadline=None)
@given(points=FACES, corner=arrays(np.float64, 2, elements=COORDINATES), side=st.floats(1, 3000))
def test_official_crop_holds_every_point(points, corner, side):
    inside = apply(record_matrix(record(points, [*corner, *(corner + side)]), "official", 1.0, 256), points)
    assert inside.min() >= 5
    assert inside.max() <= 250


@pytest.mark.parametrize(
    ("box", "crop", "scale", "error", "message"),
    [
        (None, "provided", 1.0, DataError, r"faces/a\.jpg: crop=provided needs a .* use dataset\.crop=landmarks"),
        (None, "official", 1.0, DataError, r"faces/a\.jpg: crop=official needs a provided box"),
        ((0, 0, 9, 9), "official", 1.1, ConfigError, r"expected dataset.crop_scale=1, found 1\.1"),
    ],
)
def test_record_matrix_refuses_what_cannot_be_cropped(box, crop, scale, error, message):
    with pytest.raises(error, match=message):
        record_matrix(record(spread(1, 1, 9, 9), box), crop, scale, 256)


def test_box_jitter_moves_and_resizes_the_square():
    face = record(spread(0, 0, 9, 9), (100, 200, 300, 360))  # its square: 200 px around (200, 280)
    matrix = record_matrix(face, "provided", 1.0, 128)
    larger = square(BoxJitter(scale=1.5)(matrix, 128, 128, 0), 128)
    assert larger == pytest.approx([200, 280, 300])
    moved = np.array([square(BoxJitter(shift=0.1)(matrix, 128, 128, i), 128) for i in range(20)])
    np.testing.assert_allclose(np.hypot(*(moved[:, :2] - (200, 280)).T), 20)
    np.testing.assert_allclose(moved[:, 2], 200)
    assert len(np.unique(moved[:, 0].round(6))) == 20  # a direction for each face
