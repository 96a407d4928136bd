"""Peaks and their sub-pixel shifts: by hand, and exactly on Gaussians."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.codec.heatmap import heatmap_argmax, quarter_shift, refine_dark

MIDDLE = torch.tensor([[[1, 1]]])
SHIFTS = [quarter_shift, refine_dark]


def one(rows):
    """A single map from its rows."""
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def gaussian(center, covariance, shape):
    """exp(-(p - c)' S^-1 (p - c) / 2) at every pixel, in float64."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    offset = np.stack([x, y], -1) - np.asarray(center)
    return np.exp(-np.einsum("...i,ij,...j", offset, np.linalg.inv(covariance), offset) / 2)


def test_argmax_of_every_map_of_a_batch():
    maps = np.random.default_rng(0).random((3, 5, 4, 7)).astype(np.float32)
    pixel, score = heatmap_argmax(torch.from_numpy(maps))
    for b in range(3):
        for k in range(5):
            y, x = np.unravel_index(maps[b, k].argmax(), (4, 7))
            assert pixel[b, k].tolist() == [x, y]
            assert score[b, k] == maps[b, k, y, x]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0, 0.3, 0], [0.2, 1, 0.4], [0, 0.1, 0]], [0.25, -0.25]),
        ([[0, 0.1, 0], [0.4, 1, 0.2], [0, 0.3, 0]], [-0.25, 0.25]),
        ([[0, 0.3, 0], [0.4, 1, 0.4], [0, 0.1, 0]], [0.0, -0.25]),  # equal neighbours
        ([[0, 0.3, 0], [0.4, 1, 0.5], [0, 0.3, 0]], [0.25, 0.0]),
        ([[9, 0.3, 9], [0.4, 1, 0.4], [0, 0.3, 9]], [0.0, 0.0]),  # diagonal neighbours have no say
        ([[-5, -3, -5], [-2, -1, -4], [-5, -9, -5]], [-0.25, -0.25]),
    ],
)
def test_quarter_shift_by_hand(rows, expected):
    assert quarter_shift(one(rows), MIDDLE)[0, 0].tolist() == expected


def test_quarter_shift_needs_all_four_neighbours():
    maps = torch.arange(30.0).reshape(1, 1, 5, 6)  # rises to the right and downwards
    for y in range(5):
        for x in range(6):
            expected = [0.25, 0.25] if 0 < x < 5 and 0 < y < 4 else [0.0, 0.0]
            assert quarter_shift(maps, torch.tensor([[[x, y]]]))[0, 0].tolist() == expected


@settings(max_examples=50, deadline=None)
@given(
    offset=st.tuples(*[st.floats(-0.499, 0.499)] * 2),
    widths=st.tuples(*[st.floats(0.8, 3)] * 2),
    turn=st.floats(0, np.pi),
    height=st.floats(0.05, 20),
)
def test_refine_dark_is_exact_on_a_gaussian(offset, widths, turn, height):
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    covariance = axes @ np.diag(np.square(widths)) @ axes.T
    maps = one(height * gaussian(np.array([3, 2]) + offset, covariance, (5, 7)))
    np.testing.assert_allclose(refine_dark(maps, torch.tensor([[[3, 2]]]))[0, 0], offset, atol=2e-4)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*[st.integers(3, 8)] * 2),
    scale=st.sampled_from([1e-8, 1e-3, 1.0, 1e6]),
    power=st.sampled_from([1, 3, 30]),
)
def test_shifts_stay_within_the_pixel_and_the_map(seed, shape, scale, power):
    maps = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (2, 3, *shape)) ** power * scale).float()
    pixel, _ = heatmap_argmax(maps)
    assert (quarter_shift(maps, pixel).abs() <= 0.25).all()
    found = refine_dark(maps, pixel)
    assert (found.abs() <= 0.5).all()
    last = torch.tensor([shape[1] - 1, shape[0] - 1])
    assert (found[(pixel == 0) | (pixel == last)] == 0).all()


@pytest.mark.parametrize("shift", SHIFTS)
def test_shift_without_a_clear_maximum_is_zero(shift):
    spike = one([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    ridge = one([[0.5, 1, 0.5], [0.5, 1, 0.5], [0.5, 1, 0.5]])  # no maximum along y
    saddle = one([[0.2, 0.9, 0.2], [0.1, 0.5, 0.1], [0.2, 0.9, 0.2]])
    for maps in (spike, ridge, saddle):
        assert shift(maps, MIDDLE)[0, 0].tolist() == [0.0, 0.0]
    slanted = one([[0.99, 0.9, 0.1], [0.95, 1, 0.8], [0.1, 0.9, 0.99]])  # a ridge from corner to corner
    assert refine_dark(slanted, MIDDLE)[0, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("transpose", [False, True])
def test_refine_dark_on_a_border_runs_along_it(transpose):
    maps = one(gaussian([-0.4, 2.3], np.eye(2) * 1.75**2, (6, 6)))
    pixel, expected = torch.tensor([[[0, 2]]]), [0.0, 0.3]
    if transpose:
        maps, pixel, expected = maps.mT, pixel.flip(-1), expected[::-1]
    np.testing.assert_allclose(refine_dark(maps, pixel)[0, 0], expected, atol=1e-4)
    assert quarter_shift(maps, pixel)[0, 0].tolist() == [0.0, 0.0]
