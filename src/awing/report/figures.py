"""The paper's figures, redrawn: every curve and map is what the functions compute that train a network."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch, Polygon, Rectangle
from torch import Tensor, nn
from torch.utils.data import default_collate

from awing.arrays import Image
from awing.codec import HeatmapCodec
from awing.data.dataset import LandmarkDataset
from awing.data.synthetic.dataset import render_face
from awing.geometry import apply, crop_matrix, warp
from awing.losses import AdaptiveWingLoss, HeatmapLoss, L1Loss, MSELoss, WingLoss, dilated_weight_map, grey_dilation
from awing.models import StackedHourglass, append_coordinates, boundary_coordinates, coordinate_channels
from awing.regressor import LandmarkRegressor

PURPLE, GREEN, RED, YELLOW, GREY = "#7b3fa0", "#2a9d4e", "#d62728", "#e0a800", "#777777"


def rendered_face(index: int = 8, size: int = 256) -> tuple[Image, Float[Tensor, "1 98 2"]]:
    """A rendered test face, cropped by its landmarks, and the landmarks in crop px.

    >>> crop, points = rendered_face(size=128)
    >>> crop.shape, bool((points > 0).all() and (points < 127).all())
    ((128, 128, 3), True)
    """
    face = render_face(0, "test", index)
    matrix = crop_matrix(np.concatenate([face.points.min(0), face.points.max(0)]), size, 1.25)
    return warp(face.image, matrix, size), torch.from_numpy(apply(matrix, face.points))[None].float()


def influence(
    loss: HeatmapLoss, error: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The loss of each pixel that is predicted ``error`` too high, and its gradient by the prediction (paper 4.1).

    >>> influence(MSELoss(), torch.tensor([0.5, -0.1]), torch.tensor([0.0, 1.0]))
    (tensor([0.2500, 0.0100]), tensor([ 1.0000, -0.2000]))
    """
    predicted = (target + error).requires_grad_()
    values = loss.elementwise(predicted, target)
    (gradient,) = torch.autograd.grad(values.sum(), predicted)
    return values.detach(), gradient


def pixel_types(landmark: int = 6) -> Figure:
    """Figure 1: foreground is a positive target, difficult background the rest of the mask M (equation 4)."""
    codec = HeatmapCodec("wflw98")
    crop, points = rendered_face()
    maps = _landmark_maps(codec, points)
    target, mask = maps[0, landmark], dilated_weight_map(maps, weight=1)[0, landmark] > 1
    types = torch.where(target > 0, 2, mask.int())
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    whole, heat, kinds = figure.subplots(1, 3)
    _show_face(whole, crop, codec)
    pooled = maps[0].amax(0).numpy()
    whole.imshow(pooled, "magma", alpha=np.where(pooled > 0, 0.8, 0.0), vmin=0, vmax=1)
    x, y = (round(value) for value in ((points[0, landmark] + 0.5) / codec.stride - 0.5).tolist())
    window = {"xlim": (x - 7.5, x + 7.5), "ylim": (y + 7.5, y - 7.5)}
    whole.add_patch(Rectangle((x - 7.5, y - 7.5), 15, 15, fill=False, edgecolor="white", linewidth=1.5))
    shown = heat.imshow(target.numpy(), "magma", vmin=0, vmax=1)
    figure.colorbar(shown, ax=heat, shrink=0.8)
    names = ("background", "difficult background", "foreground")
    colors = ("#d9d9d9", YELLOW, GREEN)
    kinds.imshow(types.numpy(), ListedColormap(colors), vmin=0, vmax=2)
    labels = [f"{name}: {int((types == i).sum()):,} of {types.numel():,} px" for i, name in enumerate(names)]
    handles = [Patch(color=color, label=label) for color, label in zip(colors, labels, strict=True)]
    kinds.legend(handles=handles[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.02), frameon=False)
    for axes, title in ((whole, "(a) all landmarks' heatmaps"), (heat, "(b) one heatmap"), (kinds, "(c) pixel types")):
        axes.set(title=title, xticks=[], yticks=[], **({} if axes is whole else window))
    return figure


def heatmap_quality(networks: Mapping[str, LandmarkRegressor], dataset: LandmarkDataset, count: int = 3) -> Figure:
    """Figure 2: the maximum over the landmarks' maps, true and as each network predicts it, for the first faces."""
    batch = default_collate([dataset[0, i] for i in range(min(count, len(dataset)))])
    codec = next(iter(networks.values())).codec
    columns = {"truth": codec.encode(batch["points"], batch["labelled"])}
    with torch.no_grad():
        columns |= {name: network.eval()(batch["image"])[-1] for name, network in networks.items()}
    faces, panels = len(batch["image"]), len(columns) + 1
    figure = Figure(figsize=(2.4 * panels + 0.7, 2.45 * faces + 0.3), layout="constrained")
    grid = figure.subplots(faces, panels, squeeze=False)
    for row, image in enumerate(batch["image"]):
        grid[row, 0].imshow(image.permute(1, 2, 0).numpy())
        for axes, maps in zip(grid[row, 1:], columns.values(), strict=True):
            pooled = maps[row, : codec.scheme.num_landmarks].amax(0)
            shown = axes.imshow(pooled.numpy(), "magma", vmin=0, vmax=1)
    for axes, title in zip(grid[0], ("face", *columns), strict=True):
        axes.set_title(title)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=grid, shrink=0.6, pad=0.01)
    return figure


def overview() -> Figure:
    """Figure 3: the network, with the shapes of what passes through it; targets stand where its maps would be."""
    with torch.device("meta"):  # shapes without arithmetic
        network, image = StackedHourglass(98), torch.empty(1, 3, 256, 256)
        features, (first_maps, *_) = network.stem(append_coordinates(image)), network(image)
    codec = HeatmapCodec("wflw98")
    crop, points = rendered_face()
    maps = codec.encode(points, torch.ones(1, 98, dtype=torch.bool))[0]
    figure = Figure(figsize=(15.2, 4.8))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 15.2), ylim=(0, 4.8), aspect="equal")
    axes.axis("off")

    def size(tensor: Tensor) -> str:
        return " x ".join(map(str, tensor.shape[1:]))

    def box(x: float, width: float, height: float, text: str, color: str) -> None:
        shape = FancyBboxPatch((x, 3.6 - height / 2), width, height, "round,pad=0,rounding_size=0.08")
        shape.set(facecolor=color, edgecolor="#333333")
        axes.add_patch(shape)
        axes.text(x + width / 2, 3.6, text, ha="center", va="center", fontsize=9)

    def picture(image: Any, x: float, y: float, side: float, text: str) -> None:
        axes.imshow(image, "magma", vmin=0, vmax=1, extent=(x, x + side, y, y + side), interpolation="nearest")
        axes.text(x + side / 2, y - 0.08, text, ha="center", va="top", fontsize=8.5)

    def arrow(start: tuple[float, float], end: tuple[float, float], color: str = "#333333", **style: Any) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, **style})

    first = cast(nn.Conv2d, network.stem[0])
    picture(crop, 0.1, 2.85, 1.5, f"crop\n{size(image)}")
    arrow((1.6, 3.6), (1.9, 3.6))
    box(1.9, 1.1, 1.5, f"stem\nCoordConv\n{first.in_channels} → {first.out_channels}\nblocks", "#e8eef7")
    axes.text(2.45, 2.77, size(features), ha="center", va="top", fontsize=8.5)
    for i, stack in enumerate(network.stacks):
        x, convolution = 3.35 + 3 * i, cast(nn.Conv2d, stack.coordinates)
        arrow((x - 0.35 - 0.25 * (i > 0), 3.6), (x, 3.6))
        box(x, 0.95, 1.2, f"CoordConv\n1 x 1\n{convolution.in_channels} → {convolution.out_channels}", "#fdf0d5")
        arrow((x + 0.95, 3.6), (x + 1.2, 3.6))
        waist = [(x + 1.2, 4.35), (x + 1.8, 3.8), (x + 2.4, 4.35), (x + 2.4, 2.85), (x + 1.8, 3.4), (x + 1.2, 2.85)]
        axes.add_patch(Polygon(waist, facecolor="#dcefe0", edgecolor="#333333"))
        axes.text(x + 1.8, 4.45, f"HG{i + 1}", ha="center", va="bottom", fontsize=11, weight="bold")
        picture(maps[:-1].amax(0).numpy(), x + 0.72, 0.9, 1.0, f"heatmaps\n{size(first_maps[:, :-1])}")
        picture(maps[-1].numpy(), x + 1.84, 0.9, 1.0, f"boundary\n{size(first_maps[:, -1:])}")
        arrow((x + 1.8, 3.1), (x + 1.25, 1.95))
        arrow((x + 1.8, 3.1), (x + 2.35, 1.95))
        if i + 1 < len(network.stacks):
            arrow((x + 2.84, 1.5), (x + 3.3, 3.0), RED, connectionstyle="angle3,angleA=0,angleB=90")
            axes.text(x + 3.36, 2.3, "$B_x, B_y$", color=RED, ha="left", va="center", fontsize=10)
    said = "To each next input, 1 x 1 convolutions add the stack's features and maps. Drawn maps: targets."
    axes.text(7.6, 0.15, said, ha="center", fontsize=9, color=GREY)
    return figure


def losses() -> Figure:
    """Figure 4: the losses over the error and their gradients, as they are and divided by the loss of an error of 1."""
    curves: list[tuple[str, HeatmapLoss, float, dict[str, Any]]] = [
        ("AWing, y = 0", AdaptiveWingLoss(), 0.0, {"color": PURPLE, "linewidth": 2.5}),
        ("AWing, y = 1", AdaptiveWingLoss(), 1.0, {"color": GREEN, "linewidth": 2.5}),
        ("Wing", WingLoss(), 0.0, {"color": YELLOW}),
        ("MSE", MSELoss(), 0.0, {"color": RED}),
        ("L1", L1Loss(), 0.0, {"color": GREY, "linestyle": "--"}),
    ]
    error = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for name, loss, y, style in curves:
        values, gradient = influence(loss, error, torch.full_like(error, y))
        for row, divisor in zip(panels, (1.0, float(values[-1])), strict=True):
            row[0].plot(error, values / divisor, label=name, **style)
            row[1].plot(error, gradient / divisor, label=name, **style)
    titles = ("(a) loss", "(b) gradient", "(c) loss, 1 at an error of 1", "(d) gradient of (c)")
    for axes, title in zip(panels.flat, titles, strict=True):
        axes.set(title=title, xlim=(-1, 1))
        axes.grid(alpha=0.3)
    for axes in panels[1]:
        axes.set_xlabel(r"error $\hat{y} - y$")
    panels[0, 0].legend()
    return figure


def nonlinear_part() -> Figure:
    """Figure 5: the nonlinear part (error below theta) and its gradient, over the error and the target y."""
    loss = AdaptiveWingLoss()
    error, y = torch.meshgrid(
        torch.linspace(0, loss.theta, 101, dtype=torch.float64)[:-1],
        torch.linspace(0, 1, 41, dtype=torch.float64),
        indexing="ij",
    )
    figure = Figure(figsize=(11, 5))
    titles = ("(a) AWing loss", "(b) gradient of AWing")
    for i, (title, values) in enumerate(zip(titles, influence(loss, error, y), strict=True)):
        axes: Any = figure.add_subplot(1, 2, i + 1, projection="3d")
        axes.plot_surface(y.numpy(), error.numpy(), values.numpy(), cmap="viridis", rcount=50, ccount=41)
        axes.set(xlabel="target $y$", ylabel=r"error $|\hat{y} - y|$")
        axes.set_title(title, y=0.95)
        axes.view_init(elev=25, azim=-55)
    figure.subplots_adjust(left=0.02, right=0.95, bottom=0.06, top=0.94, wspace=0.05)
    return figure


def weight_mask() -> Figure:
    """Figure 6: H, its 3x3 grey dilation H^d and the mask M (equation 4), each the maximum over the landmarks."""
    maps = _landmark_maps(HeatmapCodec("wflw98"), rendered_face()[1])
    mask = dilated_weight_map(maps, weight=1) - 1
    stages = {"(a) $H$": maps, "(b) $H^d$": grey_dilation(maps), "(c) $M$": mask}
    return _row({title: stage[0].amax(0) for title, stage in stages.items()}, "magma", 0)


def coordinates() -> Figure:
    """Figure 8: coordinate channels, and what of them a boundary map lets through (equation 6, 10.1)."""
    codec = HeatmapCodec("wflw98")
    points = rendered_face()[1]
    boundary = codec.encode(points, torch.ones(1, 98, dtype=torch.bool))[:, -1:]
    xy = coordinate_channels(codec.heatmap_size, codec.heatmap_size)[:2]
    (x, y), (bx, by) = xy, boundary_coordinates(xy, boundary)[0]
    mask = boundary_coordinates(torch.ones_like(xy), boundary)[0, 0]
    panels = {"X coordinate": x, "Y coordinate": y, "boundary mask": mask, "X boundary": bx, "Y boundary": by}
    return _row(panels, "RdBu_r", -1)


def _row(panels: Mapping[str, Float[Tensor, "h w"]], colors: str, low: float) -> Figure:
    figure = Figure(figsize=(2.4 * len(panels) + 0.7, 2.7), layout="constrained")
    row: Sequence[Axes] = figure.subplots(1, len(panels))
    for axes, (title, values) in zip(row, panels.items(), strict=True):
        shown = axes.imshow(values.numpy(), colors, vmin=low, vmax=1)
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=row, shrink=0.85, pad=0.01)
    return figure


def _landmark_maps(codec: HeatmapCodec, points: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k h w"]:
    return codec.encode(points, torch.ones(points.shape[:2], dtype=torch.bool))[:, : points.shape[1]]


def _show_face(axes: Axes, crop: Image, codec: HeatmapCodec) -> None:
    """Under maps: in map px, whose pixel i covers i - 0.5 to i + 0.5."""
    side = codec.heatmap_size - 0.5
    axes.imshow(crop, extent=(-0.5, side, side, -0.5))
