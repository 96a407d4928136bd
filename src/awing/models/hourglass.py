"""Stacked hourglass with coordinate convolution and a boundary channel (paper sections 3, 5 and 6)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

BOUNDARY_THRESHOLD = 0.05  # 10.1 and equation 6


class StackedHourglass(nn.Module):
    """The paper's network: a stem that divides the resolution by 4, then hourglasses, each refining the last.

    Every hourglass predicts all maps: one per landmark and, last, the boundary. Its input, its head's
    features and its maps, added up, are the next one's input. With coordinates, the stem's first convolution
    sees [R, G, B, x, y, r], and a 1x1 convolution before each hourglass sees [features, x, y, r] and, in all
    but the first, the boundary coordinates B_x, B_y of the previous boundary map (equation 6).

    The modules of the paper's Table 7 are the switches: all three off is its baseline, ``boundary`` adds B,
    ``coord_conv`` C and ``boundary_coords`` CB. The initial parameters are PyTorch's: the paper names no other way.

    Args:
        num_landmarks: number of landmark maps, K.
        stacks: number of hourglasses.
        channels: width of the features, a multiple of 8; the stem's widths are a quarter and a half of it.
        depth: number of times that an hourglass halves the resolution.
        coord_conv: append coordinates x, y, r; without it the 1x1 convolution of each hourglass goes too.
        boundary: predict the boundary as one more map.
        boundary_coords: append B_x, B_y; needs ``coord_conv`` and ``boundary``.
        boundary_threshold: smallest value of a boundary map at which B_x and B_y hold the coordinates.

    Raises:
        ValueError: an argument is out of range, or ``boundary_coords`` without what it needs.

    >>> network = StackedHourglass(num_landmarks=5, stacks=2, channels=16, depth=2)
    >>> [maps.shape for maps in network(torch.rand(1, 3, 32, 48))]
    [torch.Size([1, 6, 8, 12]), torch.Size([1, 6, 8, 12])]
    """

    def __init__(
        self,
        num_landmarks: int,
        stacks: int = 4,
        channels: int = 256,
        depth: int = 4,
        coord_conv: bool = True,
        boundary: bool = True,
        boundary_coords: bool = True,
        boundary_threshold: float = BOUNDARY_THRESHOLD,
    ) -> None:
        super().__init__()
        if min(num_landmarks, stacks, depth) < 1:
            raise ValueError(f"expected at least 1, found {num_landmarks=}, {stacks=}, {depth=}")
        if channels < 8 or channels % 8:
            raise ValueError(f"channels must be a positive multiple of 8, found {channels}")
        if boundary_coords and not (boundary and coord_conv):
            found = f"found {boundary=}, {coord_conv=}; set boundary_coords=False"
            raise ValueError(f"boundary_coords needs boundary=True, its gate, and coord_conv=True, its layer; {found}")
        self.coord_conv, self.boundary, self.boundary_coords = coord_conv, boundary, boundary_coords
        self.depth, maps = depth, num_landmarks + boundary

        self.stem = nn.Sequential(
            nn.Conv2d(6 if coord_conv else 3, channels // 4, 7, stride=2, padding=3),
            nn.BatchNorm2d(channels // 4),
            nn.ReLU(inplace=True),
            Block(channels // 4, channels // 2),
            nn.AvgPool2d(2),
            Block(channels // 2, channels // 2),
            Block(channels // 2, channels),
        )
        self.stacks = nn.ModuleList(
            _Stack(channels, depth, maps, 3 * coord_conv + 2 * (boundary_coords and i > 0), boundary_threshold)
            for i in range(stacks)
        )
        self.merge_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1))
        self.merge_maps = nn.ModuleList(nn.Conv2d(maps, channels, 1) for _ in range(stacks - 1))

    def forward(self, image: Float[Tensor, "b 3 height width"]) -> list[Float[Tensor, "b maps height//4 width//4"]]:
        """Maps of every hourglass, K landmark maps then the boundary map, unbounded; the last one's are the prediction.

        ``image`` is RGB in [0, 1], not standardised; its sides are multiples of 4 * 2**depth.
        """
        multiple = 4 * 2**self.depth
        if image.shape[1] != 3 or image.shape[2] % multiple or image.shape[3] % multiple:
            expected = f"RGB images (B, 3, H, W) with H and W multiples of {multiple} (4 * 2**depth)"
            raise ValueError(f"expected {expected}, found {tuple(image.shape)}; resize or pad them")
        features = self.stem(append_coordinates(image) if self.coord_conv else image)
        outputs: list[Tensor] = []
        for i, stack in enumerate(self.stacks):
            boundary = outputs[-1][:, -1:] if self.boundary_coords and outputs else None
            head, maps = stack(features, boundary)
            outputs.append(maps)
            if i < len(self.merge_maps):
                features = features + self.merge_features[i](head) + self.merge_maps[i](maps)
        return outputs


class Hourglass(nn.Module):
    """One hourglass: at each level a branch that keeps the resolution plus one at half of it (paper section 3).

    ``skip(x) + upsample(after(inner(before(average_pool(x)))))``, where ``inner`` is the next level's hourglass, at the
    last level a block. ``channels`` is a multiple of 4, height and width of 2**depth; none of them changes.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = Block(channels, channels)
        self.before = Block(channels, channels)
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else Block(channels, channels)
        self.after = Block(channels, channels)

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels h w"]:
        full: Tensor = self.skip(x)
        half = self.after(self.inner(self.before(F.avg_pool2d(x, 2))))
        return full + F.interpolate(half, scale_factor=2, mode="nearest")


class Block(nn.Module):
    """Hierarchical, parallel and multi-scale residual block, pre-activated (the paper's reference [7]).

    Three 3x3 convolutions in a row, of 1/2, 1/4 and 1/4 of the output's width (a multiple of 4); their results are
    concatenated and added to the input, which passes a 1x1 convolution where the width changes.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch1 = _activated_conv(in_channels, out_channels // 2, 3)
        self.branch2 = _activated_conv(out_channels // 2, out_channels // 4, 3)
        self.branch3 = _activated_conv(out_channels // 4, out_channels // 4, 3)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else _activated_conv(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "b in_channels h w"]) -> Float[Tensor, "b out_channels h w"]:
        out1 = self.branch1(x)
        out2 = self.branch2(out1)
        out3 = self.branch3(out2)
        shortcut: Tensor = self.shortcut(x)
        return torch.cat([out1, out2, out3], dim=1) + shortcut


class _Stack(nn.Module):
    """One stack: a coordinate convolution (if there are coordinates), an hourglass, a head and its maps."""

    def __init__(self, channels: int, depth: int, maps: int, coordinates: int, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.coordinates = nn.Conv2d(channels + coordinates, channels, 1) if coordinates else None
        self.hourglass = Hourglass(channels, depth)
        self.head = nn.Sequential(
            Block(channels, channels),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.maps = nn.Conv2d(channels, maps, 1)

    def forward(
        self, features: Float[Tensor, "b channels h w"], boundary: Float[Tensor, "b 1 h w"] | None
    ) -> tuple[Float[Tensor, "b channels h w"], Float[Tensor, "b maps h w"]]:
        """The head's features, and the maps computed from them."""
        if self.coordinates is not None:
            features = self.coordinates(append_coordinates(features, boundary, self.threshold))
        head = self.head(self.hourglass(features))
        return head, self.maps(head)


def _activated_conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
    )


def coordinate_channels(
    height: int, width: int, device: torch.device | str | None = None
) -> Float[Tensor, "3 height width"]:
    """Coordinates x, y and radius r of every pixel of a feature map of at least 2 x 2 (paper section 6).

    ``x = 2 i / (width - 1) - 1`` in column i, growing to the right; ``y = 2 j / (height - 1) - 1`` in row j,
    growing downwards; ``r = sqrt(x^2 + y^2) / max``, where the maximum, in the corners, is sqrt(2). So x and y are in
    [-1, 1], r in [0, 1], all float32.

    >>> x, y, r = coordinate_channels(2, 3)
    >>> x
    tensor([[-1.,  0.,  1.],
            [-1.,  0.,  1.]])
    >>> y[:, 0]
    tensor([-1.,  1.])
    >>> r[0]
    tensor([1.0000, 0.7071, 1.0000])
    """
    x = torch.linspace(-1, 1, width, device=device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=device)[:, None].expand(height, width)
    return torch.stack([x, y, ((x**2 + y**2) / 2).sqrt()])


def boundary_coordinates(
    coordinates: Float[Tensor, "2 height width"],
    boundary: Float[Tensor, "b 1 height width"],
    threshold: float = BOUNDARY_THRESHOLD,
) -> Float[Tensor, "b 2 height width"]:
    """Coordinates on the predicted boundary, zero elsewhere (paper equation 6).

    ``B_x = C_x where B >= threshold, else 0``, and the same for y, where B is the boundary map of the previous
    hourglass. No gradient passes through the gate. The authors' code has ``>`` for ``>=``.

    >>> xy = coordinate_channels(2, 2)[:2]
    >>> boundary_coordinates(xy, torch.tensor([[[[0.9, 0.05], [0.04, -1.0]]]]))[0, 0]
    tensor([[-1.,  1.],
            [ 0.,  0.]])
    """
    return torch.where(boundary >= threshold, coordinates, 0.0)


def append_coordinates(
    features: Float[Tensor, "b channels height width"],
    boundary: Float[Tensor, "b 1 height width"] | None = None,
    threshold: float = BOUNDARY_THRESHOLD,
) -> Float[Tensor, "b more_channels height width"]:
    """Input of a coordinate convolution: features, x, y, r and, where a boundary map is given, B_x, B_y.

    The data type, device and memory format of the features are kept.
    """
    height, width = features.shape[2:]
    coordinates = coordinate_channels(height, width, features.device)
    added = coordinates + 0 * features[:, :1].detach()  # not expand, which OpenCV cannot read from an ONNX file
    if boundary is not None:
        added = torch.cat([added, boundary_coordinates(coordinates[:2], boundary, threshold)], dim=1)
    # `cat` falls back to the contiguous format unless every input has the same one.
    channels_last = features.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.cat([features, added.to(features.dtype).contiguous(memory_format=layout)], dim=1)
