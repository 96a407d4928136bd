"""Weight maps against a brute-force dilation and the counts of one drawn landmark."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.codec import HeatmapCodec
from awing.losses import base_weight_map, dilated_weight_map


def dilated(image):
    """3x3 grey dilation, pixel by pixel: the maximum over the neighbours inside the image."""
    height, width = image.shape
    result = np.empty_like(image)
    for i in range(height):
        for j in range(width):
            result[i, j] = max(
                image[a, b]
                for a in range(max(i - 1, 0), min(i + 2, height))
                for b in range(max(j - 1, 0), min(j + 2, width))
            )
    return result


@pytest.fixture
def landmark():
    """One landmark at pixel (32, 32) as the authors draw it: a Gaussian of sigma 1.75 cut to 7x7 pixels."""
    y, x = np.mgrid[-32:32, -32:32]
    gaussian = np.exp(-(x**2 + y**2) / (2 * 1.75**2))
    return np.where((np.abs(x) <= 3) & (np.abs(y) <= 3), gaussian, 0.0)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 9)] * 2),
    seed=st.integers(0, 2**31),
    weight=st.floats(0.0, 50.0),
    threshold=st.floats(0.01, 1.0),
)
def test_dilated_map_is_the_thresholded_dilation(size, seed, weight, threshold):
    maps = np.random.default_rng(seed).random((2, 3, *size)) ** 4
    found = dilated_weight_map(torch.from_numpy(maps), weight=weight, threshold=threshold)
    expected = [[weight * (dilated(channel) >= threshold) + 1 for channel in sample] for sample in maps]
    np.testing.assert_array_equal(found, expected)


def test_dilated_map_of_one_landmark_has_61_pixels(landmark):
    assert np.count_nonzero(landmark) == 49
    assert np.count_nonzero(landmark >= 0.2) == 29
    found = dilated_weight_map(torch.from_numpy(landmark)[None, None])
    assert found.unique().tolist() == [1.0, 11.0]
    assert int((found == 11).sum()) == 61
    # the mask is the 29 pixels grown by one in all eight directions
    np.testing.assert_array_equal(found[0, 0] == 11, dilated((landmark >= 0.2).astype(int)) == 1)


def test_dilated_map_misses_corners_of_subpixel_gaussians():
    """Over all places of a centre in its pixel, 1.3 % of the foreground; none where it is on a pixel."""
    steps = (torch.arange(68) + 0.5) / 17  # 4 px of the crop are a pixel of the map
    points = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1) + 31.5
    for places, share in ((points, 0.0134), (points.round().floor_divide(4) * 4 + 1.5, 0.0)):
        maps = HeatmapCodec("ibug68", 64, 16, boundary=False).encode(places, torch.ones(68, 68, dtype=torch.bool))
        outside = (maps > 0) & (dilated_weight_map(maps) == 1)
        assert (outside.sum() / (maps > 0).sum()).item() == pytest.approx(share, abs=2e-4)
        assert maps[outside].max().item() < 0.035 if share else not outside.any()


def test_dilated_map_includes_the_threshold():
    target = torch.zeros(1, 1, 5, 5)
    target[0, 0, 2, 2] = 0.25
    assert int((dilated_weight_map(target, threshold=0.25) == 11).sum()) == 9
    assert int((dilated_weight_map(target, threshold=0.26) == 11).sum()) == 0


def test_base_map_is_the_formula(landmark):
    maps = torch.from_numpy(landmark)[None, None]
    np.testing.assert_allclose(base_weight_map(maps, weight=7.0)[0, 0], 7.0 * landmark + 1.0, rtol=1e-15)
    assert base_weight_map(maps).max() == 11


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weight_maps_keep_the_dtype(dtype, landmark):
    target = torch.from_numpy(landmark)[None, None].to(dtype)
    assert dilated_weight_map(target).dtype == base_weight_map(target).dtype == dtype
    assert int((dilated_weight_map(target) == 11).sum()) == 61


@pytest.mark.parametrize("bad", [-1.0, float("inf"), float("nan")])
def test_arguments_out_of_range_are_refused(bad):
    target = torch.zeros(1, 1, 4, 4)
    for weight_map in (dilated_weight_map, base_weight_map):
        with pytest.raises(ValueError, match="weight must be finite and at least 0"):
            weight_map(target, weight=bad)
    with pytest.raises(ValueError, match="threshold must lie above 0"):
        dilated_weight_map(target, threshold=bad)


def test_dilated_weight_map_refuses_what_has_not_four_axes(unchecked):
    with pytest.raises(ValueError, match=r"expected heatmaps \(batch, channels, height, width\), found \(3, 8, 8\)"):
        dilated_weight_map(torch.zeros(3, 8, 8))
