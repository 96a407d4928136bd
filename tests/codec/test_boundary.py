"""The boundary map against SciPy's splines and exact distances to thousands of points on them."""

import numpy as np
import pytest
import torch
from faces import random_face
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import splev, splprep
from scipy.spatial import cKDTree

from awing.codec.boundary import boundary_map, spline
from awing.schemes import get_scheme

CUT = np.exp(-(3.0**2) / 2)  # what the map drops to 0 from at three sigma


def fitted(points):
    """SciPy's interpolating spline of the points, and the parameter of each point."""
    tck, u = splprep(points.T, k=min(4, len(points)) - 1, s=0)
    return tck, u


def dense(points):
    """4000 points on a line: on the spline, or on straight pieces where two points coincide."""
    if (np.diff(points, axis=0) == 0).all(-1).any():
        index = np.linspace(0, len(points) - 1, 4000)
        return np.stack([np.interp(index, np.arange(len(points)), column) for column in points.T], -1)
    return np.stack(splev(np.linspace(0, 1, 4000), fitted(points)[0]), -1)


def reference(points, lines, size, sigma=1.0):
    """exp(-d^2 / 2 sigma^2) of the distance to the nearest of thousands of points on the lines."""
    y, x = np.mgrid[:size, :size]
    on_lines = np.concatenate([dense(points[list(line)]) for line in lines])
    distance, _ = cKDTree(on_lines).query(np.stack([x, y], -1))
    return np.where(distance < 3 * sigma, np.exp(-(distance**2) / (2 * sigma**2)), 0)


def drawn(points, lines, size, sigma=1.0):
    batch = torch.as_tensor(points, dtype=torch.float32)[None]
    labelled = torch.ones(1, len(points), dtype=torch.bool)
    return boundary_map(batch, labelled, lines, size, sigma)[0].numpy()


def error(found, expected):
    """Largest difference; a pixel at three sigma may be cut in one of the maps and not in the other."""
    rim = (found == 0) != (expected == 0)
    assert np.maximum(found, expected)[rim].max(initial=0) < 1.1 * CUT
    return np.abs(found - expected)[~rim].max()


def curve(n, size, rng):
    """Points on an arc of up to 230 degrees, unevenly spaced, at most a quarter of the map apart."""
    middle, radius = rng.uniform(0.4, 0.6, 2) * size, rng.uniform(0.3, 0.45) * size
    steps = np.cumsum(rng.uniform(0.7, 1.3, n))
    angle = rng.uniform(0, 2 * np.pi) + min(4.0 / n, 0.4) * steps
    return middle + radius * np.stack([np.cos(angle), np.sin(angle)], -1)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 33])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), segments=st.integers(1, 9))
def test_spline_is_scipys(n, seed, segments):
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.normal((2, 1), 4, (n, 2)), 0)
    tck, u = fitted(points)
    fractions = np.arange((n - 1) * segments + 1) / segments
    expected = np.stack(splev(np.interp(fractions, np.arange(n), u), tck), -1)
    found = spline(torch.from_numpy(points)[None, None], segments)[0, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    single = spline(torch.from_numpy(points).float()[None, None], segments)[0, 0]
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 17, 33])
def test_boundary_map_of_one_line(n):
    rng = np.random.default_rng(n)
    for size in (32, 64):
        points, line = curve(n, size, rng), tuple(range(n))
        assert error(drawn(points, [line], size), reference(points, [line], size)) < 0.005
        np.testing.assert_allclose(drawn(points, [line], size), drawn(points, [line[::-1]], size), atol=1e-5)


@pytest.mark.parametrize("name", ["wflw98", "ibug68"])
def test_boundary_map_of_drawn_faces(name):
    lines = get_scheme(name).lines
    rng = np.random.default_rng(64)
    for _ in range(4):
        points = random_face(name, 64, rng)
        assert error(drawn(points, lines, 64), reference(points, lines, 64)) < 0.005


@pytest.mark.parametrize(("name", "size"), [("wflw98", 64), ("ibug68", 32)])
def test_boundary_map_of_real_faces(name, size, real_data):
    if name == "ibug68":
        files = sorted((real_data / "300w").rglob("*.pts"))[::140]
        faces = [np.loadtxt(file, skiprows=3, max_rows=68) for file in files]
    else:
        folder = real_data / "wflw/WFLW_annotations/list_98pt_rect_attr_train_test"
        rows = np.loadtxt(folder / "list_98pt_rect_attr_train.txt", usecols=range(196))
        faces = list(rows.reshape(-1, 98, 2)[::5])
    assert len(faces) > 10
    lines, errors = get_scheme(name).lines, []
    for points in faces:
        low, high = points.min(0), points.max(0)
        points = (points - (low + high) / 2) * size / (1.25 * (high - low).max()) + (size - 1) / 2
        errors.append(error(drawn(points, lines, size), reference(points, lines, size)))
    assert np.max(errors) < 0.03  # faces in profile, whose splines turn sharply between landmarks
    assert np.mean(errors) < 0.01


@pytest.mark.parametrize(
    "ends",
    [
        [[-40.0, -40.0], [100.0, 100.0]],  # corner to corner and far beyond, the longest piece there is
        [[5.3, 60.1], [60.2, 2.4]],
        [[-2.1, 20.2], [-2.1, 50.3]],  # outside, within reach of the border
        [[64.5, -9.0], [66.0, 80.0]],
    ],
)
def test_boundary_map_beyond_the_border(ends):
    points = np.array(ends)
    a, b = points
    y, x = np.mgrid[:64, :64]
    pixels = np.stack([x, y], -1)
    along = np.clip((pixels - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    distance = np.linalg.norm(pixels - a - along[..., None] * (b - a), axis=-1)
    expected = np.where(distance < 3, np.exp(-(distance**2) / 2), 0)
    assert expected.max() > 0.1
    np.testing.assert_allclose(drawn(points, [(0, 1)], 64), expected, atol=1e-4)


def test_boundary_map_is_cut_at_three_sigma():
    found = drawn(np.array([[3.0, 8.0], [12.0, 8.0]]), [(0, 1)], 16)[:, 7]
    expected = [0, 0, 0, 0, 0, 0, np.exp(-2), np.exp(-0.5), 1, np.exp(-0.5), np.exp(-2), 0, 0, 0, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert drawn(np.array([[3.0, 8.01], [12.0, 8.01]]), [(0, 1)], 16)[11, 7] == pytest.approx(CUT, rel=0.05)


def test_boundary_map_is_the_maximum_of_its_lines():
    rng = np.random.default_rng(2)
    points = np.concatenate([curve(n, 32, rng) for n in (2, 3, 5, 5)])
    lines = [(0, 1), (2, 3, 4), (5, 6, 7, 8, 9), (10, 11, 12, 13, 14)]
    singles = [drawn(points, [line], 32) for line in lines]
    np.testing.assert_allclose(drawn(points, lines, 32), np.max(singles, 0), atol=1e-6)
    np.testing.assert_array_equal(drawn(points, lines[::-1], 32), drawn(points, lines, 32))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_coincident_landmarks_draw_a_dot(n):
    y, x = np.mgrid[:16, :16]
    squared = (x - 7.25) ** 2 + (y - 4.5) ** 2
    found = drawn(np.tile([7.25, 4.5], (n, 1)), [tuple(range(n))], 16)
    np.testing.assert_allclose(found, np.where(squared < 9, np.exp(-squared / 2), 0), atol=1e-5)


@pytest.mark.parametrize(("n", "twin", "times"), [(3, 0, 1), (4, 1, 2), (5, -1, 1), (17, 1, 2)])
def test_coincident_landmarks_make_straight_pieces(n, twin, times):
    points = curve(n, 48, np.random.default_rng(n))
    points = np.insert(points, [twin] * times, points[twin], axis=0)
    line = tuple(range(n + times))
    assert error(drawn(points, [line], 48), reference(points, [line], 48)) < 0.005


def test_lines_with_unlabelled_points_are_not_drawn():
    rng = np.random.default_rng(4)
    faces = [np.concatenate([curve(5, 32, rng), curve(3, 32, rng)]) for _ in range(3)]
    points = torch.from_numpy(np.stack(faces))
    labelled = torch.ones(3, 8, dtype=torch.bool)
    labelled[1, 2] = labelled[2, 6] = False
    lines = [(0, 1, 2, 3, 4), (5, 6, 7)]
    found = boundary_map(points, labelled, lines, 32)
    everything = torch.ones_like(labelled)
    torch.testing.assert_close(found[0], boundary_map(points, everything, lines, 32)[0])
    torch.testing.assert_close(found[1], boundary_map(points, everything, lines[1:], 32)[1])
    torch.testing.assert_close(found[2], boundary_map(points, everything, lines[:1], 32)[2])
    assert (found.amax((1, 2)) > 0.5).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(3, 40), spread=st.floats(0, 300), sigma=st.floats(0.2, 3))
def test_boundary_map_stays_between_0_and_1(seed, size, spread, sigma):
    rng = np.random.default_rng(seed)
    points = rng.normal(size / 2, spread, (11, 2)).round(int(rng.integers(0, 3)))  # some coincide
    found = drawn(points, [(0, 1), (2, 3, 4), (5, 6, 7, 8, 9, 10)], size, sigma)
    assert found.shape == (size, size)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    assert (found <= 1).all()
