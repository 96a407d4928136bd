"""Crops: which square of the image is taken, checked by hand and against what may and may not steer it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from awing.data.crops import landmark_box, record_matrix
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
    return [*corners.mean(0), side[0]]


# provided


@pytest.mark.parametrize(
    ("box", "scale", "expected"),
    [
        ((100, 200, 300, 360), 1.0, (200, 280, 200)),  # the longer side is the width
        ((100, 200, 300, 360), 1.1, (200, 280, 220)),
        ((0, 0, 30, 50), 1.1, (15, 25, 55)),
        ((-20, -40, 20, 0), 1, (0, -20, 40)),
    ],
)
@pytest.mark.parametrize("size", [128, 256])
def test_the_provided_crop_is_the_square_on_the_longer_side(box, scale, expected, size):
    matrix = record_matrix(record(spread(0, 0, 9, 9), box), "provided", scale, size)
    assert square(matrix, size) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(one=FACES, other=FACES, labelled=arrays(np.bool_, 98))
def test_the_provided_crop_never_depends_on_the_landmarks(one, other, labelled):
    faces = record(one), record(other, labelled=labelled)
    matrices = [record_matrix(face, "provided", 1.1, 256) for face in faces]
    np.testing.assert_array_equal(*matrices)


@pytest.mark.parametrize(
    ("dataset", "usual"),
    [
        ("wflw", {"provided": 1.1, "landmarks": 1.25, "official": 1.0}),
        ("300w", {"landmarks": 1.25, "provided": 1.0}),
        ("300w_private", {"landmarks": 1.25}),
        ("lsp", {"provided": 1.0, "landmarks": 1.25}),
    ],
)
def test_the_usual_scales(config, dataset, usual):
    cfg = config("train", f"dataset={dataset}").dataset
    assert cfg.crop_scales == usual
    assert cfg.crop == next(iter(usual)) and cfg.crop_scale is None


# landmarks


def test_the_landmark_crop_is_1_25_times_the_longer_side_of_the_tight_box():
    points = spread(110, 50, 190, 90)  # 80 x 40, so a square of 100 around (150, 70)
    matrix = record_matrix(record(points, box=None), "landmarks", 1.25, 200)
    assert square(matrix, 200) == pytest.approx([150, 70, 100])
    # 2 px of the crop per source px: the first point lies 40 left of and 20 above the centre, which is at 99.5
    np.testing.assert_allclose(apply(matrix, points[:1]), [[99.5 - 80, 99.5 - 40]])


def test_unlabelled_landmarks_do_not_count():
    labelled = np.arange(98) % 2 == 0
    points = spread(110, 50, 190, 90)
    points[~labelled] = 1e6
    np.testing.assert_allclose(landmark_box(record(points, None, labelled)), [*points[0], *points[96]])


@pytest.mark.parametrize(
    ("points", "labelled"),
    [
        (spread(1, 1, 9, 9), ~EVERY),
        (spread(1, 1, 9, 9), np.arange(98) == 3),
        (spread(5, 1, 5, 9), EVERY),  # a vertical line
        (spread(5, 5, 5, 5), EVERY),
    ],
    ids=["none labelled", "one labelled", "a line", "a point"],
)
def test_landmarks_that_span_no_box_are_refused_by_name(points, labelled):
    with pytest.raises(DataError, match=r"faces/a\.jpg: the labelled landmarks span no box"):
        record_matrix(record(points, labelled=labelled), "landmarks", 1.25, 256)


# official: box 100 x 100 -> grown to 105 x 105 -> a side of 0.8 * 210 = 168 for 450 px


def test_the_official_crop_takes_360_of_450_pixels_where_the_points_fit():
    face = record(spread(80, 80, 120, 120), (50, 50, 150, 150))
    assert square(record_matrix(face, "official", 1.0, 256), 256) == pytest.approx([100, 100, 168 * 360 / 450])


def test_the_official_crop_takes_all_with_a_border_where_a_point_leaves_the_centre():
    # 75 px left of the centre is 201 of 225 px: inside 10..440 of 450, but left of the 180 px of the centre's half
    face = record(spread(25, 80, 120, 120), (50, 50, 150, 150))
    assert square(record_matrix(face, "official", 1.0, 256), 256) == pytest.approx([100, 100, 168 * 650 / 450])


def test_the_official_crop_grows_until_the_points_are_inside():
    face = record(spread(0, 80, 120, 120), (50, 50, 150, 150))
    # 100 px left of the centre is outside 10..440 of 450 until the side is at least 100 / (224.5 - 10) * 450 = 209.8
    assert 168 * 1.05**4 < 100 / 214.5 * 450 < 168 * 1.05**5
    expected = [100, 100, 168 * 1.05**5 * 650 / 450]
    assert square(record_matrix(face, "official", 1.0, 256), 256) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(points=FACES, corner=arrays(np.float64, 2, elements=COORDINATES), side=st.floats(1, 3000))
def test_the_official_crop_holds_every_point(points, corner, side):
    face = record(points, [*corner, *(corner + side)])
    inside = apply(record_matrix(face, "official", 1.0, 256), points)
    assert inside.min() >= 5 and inside.max() <= 250


@settings(max_examples=25, deadline=None)
@given(points=FACES)
def test_the_official_crop_is_the_same_square_at_every_size(points):
    face = record(points)
    at_256, at_128 = (square(record_matrix(face, "official", 1.0, size), size) for size in (256, 128))
    assert at_256 == pytest.approx(at_128)


# What cannot be cropped


@pytest.mark.parametrize("crop", ["provided", "official"])
def test_a_record_without_a_box_cannot_be_cropped_by_it(crop):
    with pytest.raises(
        DataError, match=rf"faces/a\.jpg: crop={crop} needs a provided box .* use dataset\.crop=landmarks"
    ):
        record_matrix(record(spread(1, 1, 9, 9), box=None), crop, 1.0, 256)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_crop_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"provided.*landmarks.*official.*found 'tight'"):
        record_matrix(record(spread(1, 1, 9, 9)), "tight", 1.0, 256)


def test_the_official_crop_takes_no_scale():
    with pytest.raises(ConfigError, match=r"expected dataset.crop_scale=1, found 1\.1"):
        record_matrix(record(spread(1, 1, 9, 9)), "official", 1.1, 256)


@settings(max_examples=50, deadline=None)
@given(points=FACES, scale=st.floats(1, 2), crop=st.sampled_from(["provided", "landmarks", "official"]))
def test_every_crop_is_an_upright_square(points, scale, crop):
    assume((np.ptp(points, axis=0) > 1).all())
    matrix = record_matrix(record(points), crop, 1 if crop == "official" else scale, 256)
    assert matrix[0, 0] == matrix[1, 1] > 0
    np.testing.assert_array_equal(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]], [0, 0, 0, 0, 1])
