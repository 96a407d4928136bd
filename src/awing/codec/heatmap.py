"""Heatmap codec: landmarks -> Gaussian and boundary heatmaps, heatmaps -> landmarks."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from awing.codec.boundary import boundary_map
from awing.errors import ConfigError, check_choice
from awing.schemes import Scheme, get_scheme

Center = Literal["subpixel", "floor"]
Decoder = Literal["argmax", "quarter", "refined"]


class HeatmapCodec:
    """Encode landmarks as heatmaps and decode heatmaps to landmarks, batched, on the device of the input.

    A landmark's map is ``exp(-d^2 / (2 sigma^2))`` inside a ``support`` x ``support`` window around it (paper
    4.3: "the size of Gaussian of 7 x 7"); the boundary map is drawn along the scheme's lines (paper 5, 7.3).
    A landmark that is unlabelled or outside the crop has an empty map.

    Decoding an encoded landmark recovers it, in each axis, to within half a stride (``"argmax"``), a quarter of one
    (``"quarter"``) or 1e-4 of one (``"refined"``), unless its peak is on the map's border.

    Args:
        scheme: A landmark scheme, or an argument of :func:`awing.schemes.get_scheme`.
        input_size: Side of the crop, px.
        heatmap_size: Side of the maps, px; divides ``input_size``.
        boundary: Add the boundary map as the last channel.
        sigma: Standard deviation of the Gaussians, map px. The paper does not give it; the authors' is 1.75.
        support: Side of the window that a Gaussian fills, map px.
        center: ``"subpixel"`` centres a Gaussian on its landmark. ``"floor"`` follows the authors: centre
            at floor(crop / stride), decoded as (map + 0.5) * stride.
        boundary_sigma: Standard deviation across a boundary line, map px; the line is cut at three times that.
        decoder: ``"argmax"``; ``"quarter"``: moved a quarter pixel towards the higher neighbour in x and in y
            (paper 7.3); ``"refined"``: moved to the maximum of a parabola through the logarithm around the peak.

    Raises:
        ConfigError: a combination that cannot work.

    >>> codec = HeatmapCodec("ibug68", decoder="refined")
    >>> points = torch.full((1, 68, 2), 100.3)
    >>> maps = codec.encode(points, torch.ones(1, 68, dtype=torch.bool))
    >>> decoded, scores = codec.decode(maps)
    >>> maps.shape, bool((decoded - points).abs().max() < 1e-2)
    (torch.Size([1, 69, 64, 64]), True)
    """

    def __init__(
        self,
        scheme: Scheme | str | Mapping[str, Any],
        input_size: int = 256,
        heatmap_size: int = 64,
        boundary: bool = True,
        sigma: float = 1.75,
        support: int = 7,
        center: Center = "subpixel",
        boundary_sigma: float = 1.0,
        decoder: Decoder = "quarter",
    ) -> None:
        self.scheme = scheme if isinstance(scheme, Scheme) else get_scheme(scheme)
        if not 3 <= heatmap_size <= input_size or input_size % heatmap_size:
            raise ConfigError(f"heatmap_size {heatmap_size} must divide input_size {input_size} and be at least 3")
        if not (sigma > 0 and boundary_sigma > 0 and support >= 1):
            raise ConfigError(f"sigma {sigma}, boundary_sigma {boundary_sigma} and support {support} must be positive")
        check_choice("codec.center", center, get_args(Center))
        check_choice("codec.decoder", decoder, get_args(Decoder))
        if boundary and not self.scheme.lines:
            off = "model.boundary=false and model.boundary_coords=false"
            raise ConfigError(f"scheme {self.scheme.name} has no boundary lines: set {off}")
        self.input_size, self.heatmap_size, self.stride = input_size, heatmap_size, input_size // heatmap_size
        self.boundary, self.boundary_sigma = boundary, boundary_sigma
        self.sigma, self.support, self.center, self.decoder = sigma, support, center, decoder

    @torch.no_grad()
    def encode(self, points: Float[Tensor, "b k 2"], labelled: Bool[Tensor, "b k"]) -> Float[Tensor, "b c h w"]:
        """Target heatmaps of landmarks (paper 4.3, 5 and 7.3).

        Args:
            points: (B, K, 2) crop px. Coordinates of unlabelled points are never read, they may be NaN.
            labelled: (B, K). A boundary line with an unlabelled point is not drawn.

        Returns:
            (B, K + boundary, h, w) float32 in [0, 1], in memory as channels_last; the boundary is the last channel.

        Raises:
            ValueError: K is not the scheme's number of landmarks.

        >>> codec = HeatmapCodec("cofw29", input_size=128, heatmap_size=32)
        >>> points = torch.full((1, 29, 2), 9.5)  # crop px; (9.5 + 0.5) / 4 - 0.5 = 2 map px
        >>> codec.encode(points, torch.ones(1, 29, dtype=torch.bool))[0, 0, 2, :7]
        tensor([0.5205, 0.8494, 1.0000, 0.8494, 0.5205, 0.2301, 0.0000])
        """
        k = self.scheme.num_landmarks
        if points.shape[1] != k:
            raise ValueError(f"expected the {k} points of scheme {self.scheme.name}, found {points.shape[1]}")
        centers = self._to_map(torch.where(labelled[..., None], points.float(), 0.0))
        if not self.boundary:
            return self._gaussians(centers, labelled)
        # one more map, empty as that of an unlabelled point, in which the boundary is drawn
        maps = self._gaussians(F.pad(centers, (0, 0, 0, 1)), F.pad(labelled, (0, 1)))
        maps[:, -1] = boundary_map(centers, labelled, self.scheme.lines, self.heatmap_size, self.boundary_sigma)
        return maps

    def channel_mask(self, labelled: Bool[Tensor, "b k"]) -> Bool[Tensor, "b c"]:
        """Mask (B, K + boundary) of the channels that enter the loss: those whose target is known.

        These are the labelled landmarks, inside the crop or not, and the boundary if all its lines are drawn.

        >>> codec = HeatmapCodec("aflw19")
        >>> labelled = torch.ones(1, 19, dtype=torch.bool)
        >>> labelled[0, 13] = False  # the nose, on a boundary line
        >>> codec.channel_mask(labelled)[0, 13:]
        tensor([False,  True,  True,  True,  True,  True, False])
        """
        if not self.boundary:
            return labelled
        on_lines = sorted({i for line in self.scheme.lines for i in line})
        return torch.cat([labelled, labelled[:, on_lines].all(1, keepdim=True)], 1)

    @torch.no_grad()
    def decode(self, maps: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k 2"], Float[Tensor, "b k"]]:
        """Decode heatmaps to landmarks (paper 7.3).

        Args:
            maps: (B, K or K + 1, h, w), predicted or encoded; a boundary channel is ignored.

        Returns:
            (B, K, 2) points in crop px and (B, K) heights of their peaks, both float32.

        Raises:
            ValueError: another number of channels, or maps of another size.
        """
        k, size = self.scheme.num_landmarks, self.heatmap_size
        if maps.shape[1] not in (k, k + 1) or maps.shape[2:] != (size, size):
            raise ValueError(f"expected maps (B, {k} or {k + 1}, {size}, {size}), found {tuple(maps.shape)}")
        maps = maps[:, :k].float()
        pixel, score = heatmap_argmax(maps)
        if self.decoder == "argmax":
            return self._to_crop(pixel.float()), score
        shift = quarter_shift if self.decoder == "quarter" else refine_dark
        return self._to_crop(pixel + shift(maps, pixel)), score

    def flip_heatmaps(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Undo a horizontal flip of the crop: mirror the maps and exchange the channels of flip pairs.

        A boundary map stays the last channel.

        Raises:
            ConfigError: the codec floors centres.

        >>> codec = HeatmapCodec("ibug68")
        >>> maps = torch.zeros(1, 69, 64, 64)
        >>> maps[0, 36, 20, 10] = 1.0  # the outer corner of the eye that is on the left in the mirrored crop
        >>> codec.flip_heatmaps(maps)[0, 45, 20].argmax()
        tensor(53)
        """
        if self.center == "floor":
            raise ConfigError("codec.center=floor shifts maps, and a mirrored crop's too: leave flip_test=false")
        channels = torch.arange(maps.shape[1], device=maps.device)
        channels[: self.scheme.num_landmarks] = torch.from_numpy(self.scheme.flip_permutation).to(maps.device)
        return maps.flip(-1)[:, channels]

    def _to_map(self, points: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
        if self.center == "floor":
            return torch.floor(points / self.stride)
        return (points + 0.5) / self.stride - 0.5

    def _to_crop(self, points: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
        return (points + 0.5) * self.stride - (0.0 if self.center == "floor" else 0.5)

    def _gaussians(self, centers: Float[Tensor, "b k 2"], labelled: Bool[Tensor, "b k"]) -> Float[Tensor, "b k h w"]:
        inside = ((centers >= -0.5) & (centers <= self.heatmap_size - 0.5)).all(-1) & labelled
        centers = centers.mT.contiguous()  # landmarks last, in memory too: then the maps are channels_last
        offset = torch.arange(self.heatmap_size, device=centers.device)[:, None] - centers[:, :, None]  # (b, 2, h, k)
        # strict on both sides, so that a mirrored point gives the mirrored map
        profile = torch.exp(-offset.square() / (2 * self.sigma**2)) * (offset.abs() < self.support / 2)
        profile = profile * inside[:, None, None]
        return (profile[:, 1, :, None] * profile[:, 0, None]).movedim(-1, 1)


def heatmap_argmax(maps: Float[Tensor, "b k h w"]) -> tuple[Int[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """Position (x, y) in map px and value of the highest pixel of each map; of equally high pixels, one is taken.

    >>> maps = torch.zeros(1, 1, 3, 4)
    >>> maps[0, 0, 2, 1] = 0.8
    >>> heatmap_argmax(maps)
    (tensor([[[1, 2]]]), tensor([[0.8000]]))
    """
    pixels, width = maps.flatten(2), maps.shape[-1]
    index = pixels.argmax(-1)  # not max, so that it can be exported to ONNX opset 17
    score = pixels.gather(-1, index[..., None])[..., 0]
    return torch.stack([index % width, index // width], -1), score


def quarter_shift(maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
    """Shift of each peak towards the higher neighbour (paper 7.3), in x and in y separately, as the authors do.

    -0.25, 0 (equal neighbours) or 0.25 map px; 0 in both for a peak on the map's border.

    >>> maps = torch.tensor([[[[0.0, 0.5, 0.0], [0.2, 1.0, 0.4], [0.0, 0.1, 0.0]]]])
    >>> quarter_shift(maps, torch.tensor([[[1, 1]]]))
    tensor([[[ 0.2500, -0.2500]]])
    """
    around, inside = _neighbourhood(maps, pixel)
    slope = torch.stack([around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]], -1)
    return 0.25 * slope.sign() * inside.all(-1, keepdim=True)


def refine_dark(maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
    """Sub-pixel shift of DARK (Zhang et al., CVPR 2020), without its blur.

    Newton's step from each peak on the logarithm of the map (at least 1e-6), ``-H^-1 g`` by finite differences; exact
    for a Gaussian. At most half a map px; 0 without a maximum, and, for a peak on the map's border, across that border.

    >>> x = torch.arange(5.0)
    >>> maps = torch.exp(-((x - 1.7) ** 2) - (x[:, None] - 2.1) ** 2)[None, None]
    >>> refine_dark(maps, torch.tensor([[[2, 2]]]))
    tensor([[[-0.3000,  0.1000]]])
    """
    around, inside = _neighbourhood(maps, pixel)
    f = around.clamp_min(1e-6).log()
    gx, gy = (f[..., 1, 2] - f[..., 1, 0]) / 2, (f[..., 2, 1] - f[..., 0, 1]) / 2
    xx = f[..., 1, 2] - 2 * f[..., 1, 1] + f[..., 1, 0]
    yy = f[..., 2, 1] - 2 * f[..., 1, 1] + f[..., 0, 1]
    xy = (f[..., 2, 2] - f[..., 2, 0] - f[..., 0, 2] + f[..., 0, 0]) / 4
    det = xx * yy - xy * xy
    step = torch.stack([xy * gy - yy * gx, xy * gx - xx * gy], -1) / det[..., None]
    return torch.where(inside & (det > 0)[..., None], step, 0.0).clamp(-0.5, 0.5)


def _neighbourhood(
    maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]
) -> tuple[Float[Tensor, "b k 3 3"], Tensor]:
    """The 3 x 3 pixels around each peak, edges repeated, and whether the peak has both neighbours on each axis."""
    height, width = maps.shape[-2:]
    last = torch.tensor([width - 1, height - 1], device=maps.device)
    offset = torch.arange(-1, 2, device=maps.device)
    x = (pixel[..., 0, None] + offset).clamp(0, width - 1)
    y = (pixel[..., 1, None] + offset).clamp(0, height - 1)
    index = y[..., :, None] * width + x[..., None, :]
    around = maps.flatten(2).gather(-1, index.flatten(-2)).view(index.shape)
    return around, (pixel > 0) & (pixel < last)
