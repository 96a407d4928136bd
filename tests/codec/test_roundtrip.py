"""Decoding what was encoded: the error of each decoder in crop px, against what theory says."""

import math

import pytest
import torch
from torch import Tensor

from awing.codec import HeatmapCodec
from awing.schemes import SCHEMES

SIZES = [(256, 64), (256, 32), (64, 64)]  # strides 4, 8 and 1
SLACK = 1e-4  # of float32 coordinates at a bound, px

# mean length of a uniformly drawn vector in a square of side 1 around the origin
UNIT_SQUARE_MEAN = (math.sqrt(2) + math.asinh(1)) / 6


def spread(scheme: str, input_size: int, margin: float, batch: int = 64) -> Tensor:
    """Uniform points, ``margin`` px or more inside a crop; each batch the same."""
    generator = torch.Generator().manual_seed(input_size)
    points = torch.rand(batch, SCHEMES[scheme].num_landmarks, 2, generator=generator)
    return (points * (input_size - 2 * margin) + margin - 0.5).clamp(-0.5, input_size - 0.5)


def roundtrip(codec: HeatmapCodec, points: Tensor) -> Tensor:
    """Decoded minus true position, px; every peak must be found."""
    maps = codec.encode(points, torch.ones(points.shape[:2], dtype=torch.bool))
    decoded, scores = codec.decode(maps)
    assert scores.min() > math.exp(-0.25 / 1.75**2) - 1e-5  # at most half a map px off in x and in y
    return decoded - points


@pytest.mark.parametrize(("input_size", "heatmap_size"), SIZES)
def test_decoders_keep_their_error_bounds(input_size: int, heatmap_size: int) -> None:
    scheme = "wflw98"
    stride = input_size / heatmap_size
    points = spread(scheme, input_size, margin=0.0, batch=16)
    nearest = ((points + 0.5) / stride - 0.5).round()
    interior = ((nearest > 0) & (nearest < heatmap_size - 1)).all(-1)
    errors = {
        decoder: roundtrip(
            HeatmapCodec(scheme, input_size, heatmap_size, boundary=False, decoder=decoder), points
        ).abs()
        for decoder in ("argmax", "quarter", "refined")
    }
    assert errors["argmax"].max() <= stride / 2 + SLACK
    assert errors["quarter"].max() <= stride / 2 + SLACK
    assert errors["quarter"][interior].max() <= stride / 4 + SLACK
    assert errors["refined"].max() <= stride / 2 + SLACK
    assert errors["refined"][interior].max() <= 1e-4 * stride + SLACK
    # the bounds are reached, not just kept
    assert errors["argmax"].max() > 0.95 * stride / 2
    assert errors["quarter"][interior].max() > 0.95 * stride / 4


@pytest.mark.parametrize(("input_size", "heatmap_size"), SIZES)
def test_decoders_reach_the_mean_of_uniform_errors(input_size: int, heatmap_size: int) -> None:
    """Within a map pixel the error is uniform: in a square of side ``stride``, after a quarter shift half."""
    stride = input_size / heatmap_size
    points = spread("wflw98", input_size, margin=stride)
    for decoder, side in (("argmax", stride), ("quarter", stride / 2)):
        errors = roundtrip(HeatmapCodec("wflw98", input_size, heatmap_size, boundary=False, decoder=decoder), points)
        standard_error = side / math.sqrt(12 * errors[..., 0].numel())  # of a mean of uniform errors
        assert errors.norm(dim=-1).mean() == pytest.approx(UNIT_SQUARE_MEAN * side, abs=4 * standard_error)
        assert errors.mean((0, 1)).abs().max() < 4 * standard_error


def test_floor_centre_costs_1_53_px() -> None:
    """Both means of the authors' targets: 4 and 2 px times 0.3826."""
    assert round(4 * UNIT_SQUARE_MEAN, 2) == 1.53
    assert round(2 * UNIT_SQUARE_MEAN, 2) == 0.77
    points = spread("wflw98", 256, margin=8.0)
    for decoder in ("argmax", "quarter", "refined"):  # a symmetric target gives nothing to shift by
        floor = HeatmapCodec("wflw98", boundary=False, center="floor", decoder=decoder)
        errors = roundtrip(floor, points)
        assert errors.abs().max() <= 2 + SLACK
        assert errors.norm(dim=-1).mean() == pytest.approx(1.53, abs=0.02)
        assert errors.mean((0, 1)).abs().max() < 0.06  # the decoder's half pixel undoes the floor's bias
    # A perfect quarter shift knows the half of the pixel. Maps of points half a px to the left know it.
    floor = HeatmapCodec("wflw98", boundary=False, center="floor", decoder="quarter")
    maps = HeatmapCodec("wflw98", boundary=False).encode(points - 0.5, torch.ones(64, 98, dtype=torch.bool))
    errors = floor.decode(maps)[0] - points
    assert errors.abs().max() <= 1 + SLACK
    assert errors.norm(dim=-1).mean() == pytest.approx(0.77, abs=0.01)
