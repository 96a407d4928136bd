"""Target maps: their values by hand, mirror images, unlabelled points, borders, precision and compilation."""

from typing import Any

import numpy as np
import pytest
import torch
from faces import random_face
from torch import Tensor

from awing.codec import HeatmapCodec
from awing.errors import ConfigError
from awing.schemes import SCHEMES, Scheme

TOY = Scheme("toy", tuple("abcdefg"), flip_pairs=(), lines=((0, 1, 2), (3, 4)))
CODECS = [HeatmapCodec("wflw98"), HeatmapCodec("ibug68", 128, 32), HeatmapCodec("lsp14", boundary=False)]


def uniform(codec: HeatmapCodec, batch: int, seed: int = 0) -> Tensor:
    """Points in and a little outside the crop."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, codec.scheme.num_landmarks, 2, generator=generator)
    return (1.2 * points - 0.1) * codec.input_size


def all_labelled(points: Tensor) -> Tensor:
    return torch.ones(points.shape[:2], dtype=torch.bool)


def single(codec: HeatmapCodec, x: float, y: float) -> Tensor:
    """The map of a landmark at (x, y) crop px."""
    points = torch.tensor([x, y]).expand(1, codec.scheme.num_landmarks, 2)
    return codec.encode(points, all_labelled(points))[0, 0]


@pytest.mark.parametrize(("x", "y"), [(100.0, 60.0), (103.9, 63.9)])
def test_floor_centre_draws_the_authors_gaussian(x: float, y: float) -> None:
    """Both points lie in one cell of 4 px: floor(l / 4) is (25, 15)."""
    found = single(HeatmapCodec("ibug68", center="floor"), x, y)
    assert torch.count_nonzero(found) == 49
    assert (found[12:19, 22:29] > 0).all()
    for line in (found[15, 25:29], found[15, 22:26].flip(0), found[15:19, 25], found[12:16, 25].flip(0)):
        assert [round(value, 3) for value in line.tolist()] == [1.0, 0.849, 0.520, 0.230]
    assert found[12, 22] == pytest.approx(0.230**2, rel=5e-3)


@pytest.mark.parametrize("x", [0.0, 5.0, 255.9])
def test_floor_centre_at_the_border_does_not_move(x: float) -> None:
    found = single(HeatmapCodec("ibug68", center="floor"), x, 128.0)
    assert found.argmax() == 32 * 64 + x // 4
    decoded, _ = HeatmapCodec("ibug68", center="floor").decode(found.expand(1, 68, 64, 64))
    assert decoded[0, 0].tolist() == [(x // 4 + 0.5) * 4, 130.0]


@pytest.mark.parametrize(("input_size", "heatmap_size"), [(256, 64), (192, 64), (96, 12)])
def test_encode_draws_the_formula(input_size: int, heatmap_size: int) -> None:
    codec = HeatmapCodec("ibug68", input_size, heatmap_size, sigma=1.3, support=5)
    stride, x, y = input_size / heatmap_size, 0.37 * input_size, 0.61 * input_size
    grid = (np.arange(heatmap_size) + 0.5) * stride - 0.5  # crop px of the map's pixel centres
    gx, gy = np.meshgrid((grid - x) / stride, (grid - y) / stride)
    expected = np.exp(-(gx**2 + gy**2) / (2 * 1.3**2)) * (np.abs(gx) < 2.5) * (np.abs(gy) < 2.5)
    np.testing.assert_allclose(single(codec, x, y), expected, atol=1e-5)


@pytest.mark.parametrize("name", SCHEMES)
def test_flip_heatmaps_undoes_a_flip_of_the_points(name: str) -> None:
    codec = HeatmapCodec(name, boundary=bool(SCHEMES[name].lines))
    rng = np.random.default_rng(0)
    if name in ("wflw98", "ibug68"):
        points = torch.from_numpy(np.stack([random_face(name, 256, rng) for _ in range(6)])).float()
    else:
        points = uniform(codec, 6)
    share = [[1.0], [1.0], [1.0], [0.95], [0.9], [0.5]]
    labelled = torch.from_numpy(rng.random((6, codec.scheme.num_landmarks)) < share)
    permutation = torch.from_numpy(codec.scheme.flip_permutation)
    mirrored = torch.stack([255 - points[..., 0], points[..., 1]], -1)[:, permutation]
    maps, found = codec.encode(points, labelled), codec.encode(mirrored, labelled[:, permutation])
    torch.testing.assert_close(codec.flip_heatmaps(found), maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(codec.flip_heatmaps(found[:, : len(permutation)]), maps[:, : len(permutation)])
    assert torch.equal(codec.channel_mask(labelled[:, permutation])[:, : len(permutation)], labelled[:, permutation])


@pytest.mark.parametrize("center", ["subpixel", "floor"])
def test_unlabelled_points_are_never_read(center: Any) -> None:
    codec = HeatmapCodec("ibug68", center=center)
    points = uniform(codec, 3)
    labelled = torch.rand(3, 68, generator=torch.Generator().manual_seed(1)) < 0.8
    expected = codec.encode(points, labelled)
    assert (expected[:, :68][~labelled] == 0).all()
    for value in (float("nan"), -float("inf"), 0.0):
        spoiled = torch.where(labelled[..., None], points, value)
        assert torch.equal(codec.encode(spoiled, labelled), expected)


def test_unlabelled_points_mask_the_boundary_channel() -> None:
    codec = HeatmapCodec(TOY, 128, 32)
    points = torch.tensor([[20.0, 30], [60, 20], [100, 30], [30, 90], [90, 90], [5, 5], [9, 120]])
    points = points.expand(4, 7, 2)
    labelled = all_labelled(points)
    labelled[1, 1] = labelled[2, 3] = labelled[3, 5] = False
    boundary = codec.encode(points, labelled)[:, -1]
    upper, lower = boundary[:, :14].amax((1, 2)) > 0.5, boundary[:, 18:].amax((1, 2)) > 0.5
    assert upper.tolist() == [True, False, True, True]
    assert lower.tolist() == [True, True, False, True]
    mask = codec.channel_mask(labelled)
    assert mask[:, -1].tolist() == [True, False, False, True]  # the sixth point is on no line
    assert torch.equal(mask[:, :-1], labelled)


def test_boundary_false_leaves_the_landmark_channels() -> None:
    codec = HeatmapCodec("ibug68", boundary=False)
    points, labelled = uniform(codec, 2), torch.arange(136).reshape(2, 68) % 3 > 0
    with_boundary = HeatmapCodec("ibug68")
    assert torch.equal(codec.encode(points, labelled), with_boundary.encode(points, labelled)[:, :68])
    assert torch.equal(codec.channel_mask(labelled), labelled)


def test_points_outside_the_crop_have_an_empty_map() -> None:
    codec = HeatmapCodec("ibug68")
    ends = {-0.51: False, -0.5: True, 255.5: True, 255.51: False}
    for value, inside in ends.items():
        for x, y in ((value, 100.0), (100.0, value)):
            assert (single(codec, x, y).max() > 0.9) == inside
            assert (single(codec, x, y).count_nonzero() > 0) == inside
    for x, y, corner in ((-0.5, -0.5, (0, 0)), (255.5, 255.5, (63, 63)), (-0.5, 255.5, (63, 0))):
        # half a map px off the centre of the corner's pixel in x and in y
        assert single(codec, x, y)[corner] == pytest.approx(np.exp(-(0.5**2 + 0.5**2) / (2 * 1.75**2)))
    assert codec.channel_mask(torch.ones(1, 68, dtype=torch.bool)).all()


def test_points_outside_the_crop_shape_the_boundary() -> None:
    codec = HeatmapCodec(TOY, 128, 32)
    points = torch.tensor([[10.0, 64], [-30, 64], [10, 100], [20, 20], [160, 20], [0, 0], [0, 0]])[None]
    maps = codec.encode(points, all_labelled(points))[0]
    assert maps[1].max() == maps[4].max() == 0
    # the line of the fourth and fifth point runs along y = 20 crop px = 4.625 map px to the right border
    assert maps[-1][5, 31] == pytest.approx(np.exp(-(0.375**2) / 2), abs=1e-4)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.scheme.name)
def test_encode_and_decode_of_a_batch_are_its_samples(codec: HeatmapCodec) -> None:
    points = uniform(codec, 5)
    labelled = torch.rand(points.shape[:2], generator=torch.Generator().manual_seed(1)) < 0.95
    maps = codec.encode(points, labelled)
    assert maps.shape == (5, codec.scheme.num_landmarks + codec.boundary, codec.heatmap_size, codec.heatmap_size)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= maps.min() < 0.9 < maps.max() <= 1
    singles = [codec.encode(points[i : i + 1], labelled[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(maps, torch.cat(singles), atol=1e-5, rtol=0)
    decoded, scores = codec.decode(maps)
    alone = [codec.decode(map_) for map_ in singles]
    torch.testing.assert_close(decoded, torch.cat([points for points, _ in alone]))
    torch.testing.assert_close(scores, torch.cat([scores for _, scores in alone]))


@pytest.mark.parametrize("decoder", ["argmax", "quarter", "refined"])
def test_decode_ignores_the_boundary(decoder: Any) -> None:
    codec = HeatmapCodec("aflw19", 128, 32, decoder=decoder)
    maps = torch.rand(2, 20, 32, 32, generator=torch.Generator().manual_seed(0))
    points, scores = codec.decode(maps[:, :19])
    assert torch.equal(scores, maps[:, :19].amax((2, 3)))
    maps[:, 19] = 1e9
    assert torch.equal(codec.decode(maps)[0], points)
    assert torch.equal(codec.decode(maps)[1], scores)


@pytest.mark.parametrize("decoder", ["argmax", "quarter", "refined"])
def test_decode_of_empty_maps_is_finite(decoder: Any) -> None:
    points, scores = HeatmapCodec("ibug68", decoder=decoder).decode(torch.zeros(2, 69, 64, 64))
    assert ((points >= -0.5) & (points <= 255.5)).all()
    assert (scores == 0).all()


def test_compiles_into_one_graph(unchecked: None) -> None:
    codec = HeatmapCodec("ibug68", 128, 32, decoder="refined")
    torch.compiler.reset()
    encode = torch.compile(codec.encode, fullgraph=True, backend="eager")
    decode = torch.compile(codec.decode, fullgraph=True, backend="eager")
    for seed in (0, 1):
        points = uniform(codec, 2, seed)
        maps = codec.encode(points, all_labelled(points))
        torch.testing.assert_close(encode(points, all_labelled(points)), maps)
        torch.testing.assert_close(decode(maps), codec.decode(maps))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 250}, "heatmap_size 64 must divide input_size 250"),
        ({"heatmap_size": 2}, "heatmap_size 2 must divide input_size 256 and be at least 3"),
        ({"sigma": 0}, "must be positive"),
        ({"boundary_sigma": -1.0}, "must be positive"),
        ({"support": 0}, "must be positive"),
        ({"scheme": "lsp14"}, "scheme lsp14 has no boundary lines: set model.boundary=false"),
        ({"scheme": "wflw"}, "Did you mean 'wflw98'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeatmapCodec(**{"scheme": "ibug68"} | options)


def test_unknown_choices_and_other_shapes_are_refused(unchecked: None) -> None:
    with pytest.raises(ConfigError, match=r"codec.decoder is one of argmax, quarter, refined; found 'softmax'"):
        HeatmapCodec("ibug68", decoder="softmax")  # type: ignore[arg-type]
    codec = HeatmapCodec("aflw19", 128, 32)
    with pytest.raises(ValueError, match="expected the 19 points of scheme aflw19, found 68"):
        codec.encode(torch.zeros(1, 68, 2), torch.ones(1, 68, dtype=torch.bool))
    for shape in ((2, 18, 32, 32), (2, 21, 32, 32), (2, 19, 32, 64)):
        with pytest.raises(ValueError, match=r"expected maps \(B, 19 or 20, 32, 32\), found"):
            codec.decode(torch.zeros(shape))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_the_same() -> None:
    codec = HeatmapCodec("wflw98", decoder="refined")
    points = uniform(codec, 4)
    maps = codec.encode(points.cuda(), all_labelled(points).cuda())
    torch.testing.assert_close(maps.cpu(), codec.encode(points, all_labelled(points)), atol=1e-4, rtol=0)
    for found, expected in zip(codec.decode(maps), codec.decode(maps.cpu()), strict=True):
        torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=0)


def test_flip_heatmaps_refuses_floored_centres() -> None:
    """127.9 and 255 - 127.9 both lie in the cell of 124 to 128: the mirrored cell is another."""
    codec = HeatmapCodec("ibug68", center="floor")
    maps = single(codec, 127.9, 100.0), single(codec, 255 - 127.9, 100.0)
    assert (maps[0].argmax() % 64, maps[1].flip(-1).argmax() % 64) == (31, 32)
    with pytest.raises(ConfigError, match="leave flip_test=false"):
        codec.flip_heatmaps(torch.zeros(1, 69, 64, 64))
