"""The paper's figures, redrawn: every curve and map is computed by the functions that are used in training."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import default_collate

from awing.arrays import Image
from awing.checkpoint import Checkpoint
from awing.codec import HeatmapCodec
from awing.data.images import read_image, save_picture
from awing.data.loading import LandmarkDataset
from awing.data.synthetic import render_face
from awing.errors import CheckpointError, ConfigError
from awing.geometry import apply, crop_matrix, warp
from awing.losses import AdaptiveWingLoss, HeatmapLoss, L1Loss, MSELoss, WingLoss, dilated_weight_map, grey_dilation
from awing.models import StackedHourglass, boundary_coordinates, coordinate_channels
from awing.regressor import LandmarkRegressor
from awing.training.builders import build
from awing.training.engine import apply_checkpoint_defaults
from awing.training.evaluation import regressor_from_checkpoint
from awing.visualization.overlays import write_caption


def redraw(cfg: DictConfig, output: Path) -> list[Path]:
    """Redraw the paper's figures by ``conf/figures.yaml``; print and return the files: ``figure1.png`` and so on.

    Figures 1, 3 to 6 and 8 need no network; 2 needs two checkpoints with the same crop, 9 and 10 need evaluations.
    """
    if any(output.glob("figure*.png")):
        raise ConfigError(f"{output} holds figures already: choose another output")
    figures: dict[int, Figure | Image] = galleries([Path(folder) for folder in cfg.evaluations])  # type: ignore[assignment]
    if cfg.checkpoints:
        figures[2] = heatmap_quality(*_load(cfg), cfg.faces)
    figures |= {1: pixel_types(), 3: overview(), 4: losses(), 5: nonlinear_part(), 6: weight_mask(), 8: coordinates()}
    output.mkdir(parents=True, exist_ok=True)
    files = {output / f"figure{number}.png": figure for number, figure in sorted(figures.items())}
    for file, figure in files.items():
        if isinstance(figure, Figure):
            figure.savefig(file, dpi=150, bbox_inches="tight", facecolor="white")
        else:
            save_picture(file, figure)
    print(*files, sep="\n")
    if not cfg.checkpoints:
        print("left out: figure 2, which needs two trained networks (checkpoints=[PATH,PATH] dataset=NAME)")
    if not cfg.evaluations:
        print("left out: figures 9 and 10, which need evaluations (evaluations=[DIR,...])")
    return list(files)


def galleries(evaluations: Sequence[Path]) -> dict[int, Image]:
    """Figures 9 (AFLW, COFW, 300-W) and 10 (others): the faces that evaluations drew, a row for each evaluation."""
    figures: dict[int, list[Image]] = {}
    for folder in evaluations:
        if not (folder / "metrics.json").is_file():
            raise ConfigError(f"evaluations: expected folders that src/evaluate.py wrote, found {folder}")
        about, faces = json.loads((folder / "metrics.json").read_text()), read_image(folder / "overlay.png")
        row = cv2.copyMakeBorder(faces, 18, 0, 0, max(0, 1280 - faces.shape[1]), cv2.BORDER_CONSTANT)
        nmes = [f"{name} {100 * nme:.2f} %" for name, nme in about["subsets"]["full"]["nme"].items()]
        write_caption(row, f"{about['dataset']} {about['split']}, crop {about['crop']}, NME {', '.join(nmes)}")
        figures.setdefault(9 if about["dataset"] in ("aflw", "cofw", "300w") else 10, []).append(row)
    return {number: np.concatenate(rows) for number, rows in figures.items()}


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
    """Loss of pixels whose prediction is ``error`` too high, and its gradient by the prediction (paper 4.1).

    >>> influence(MSELoss(), torch.tensor([0.5, -0.1]), torch.tensor([0.0, 1.0]))
    (tensor([0.2500, 0.0100]), tensor([ 1.0000, -0.2000]))
    """
    predicted = (target + error).requires_grad_()
    values = loss.elementwise(predicted, target)
    (gradient,) = torch.autograd.grad(values.sum(), predicted)
    return values.detach(), gradient


def pixel_types(landmark: int = 6) -> Figure:
    """Figure 1: foreground is a positive target, difficult background the rest of the mask M (equation 4)."""
    crop, maps = _targets()
    maps = maps[:, :-1]
    target, mask = maps[0, landmark], dilated_weight_map(maps, weight=1)[0, landmark] > 1
    foreground, difficult = target > 0, mask & (target == 0)
    y, x = divmod(int(target.argmax()), target.shape[1])
    near = slice(y - 7, y + 8), slice(x - 7, x + 8)
    panels = [crop, maps[0].amax(0), target[near], (foreground + difficult / 2)[near]]
    figure = _image_grid([panels], ["face", "(a) all landmarks' heatmaps", "(b) one heatmap", "(c) pixel types"])
    counts = f"foreground (1): {foreground.sum()} px\ndifficult background (0.5): {difficult.sum()} px"
    figure.axes[3].set_xlabel(counts)
    return figure


@torch.no_grad()
def heatmap_quality(
    networks: Mapping[str, LandmarkRegressor], dataset: LandmarkDataset, faces: Sequence[int] = (0, 1, 2)
) -> Figure:
    """Figure 2: the maximum over the landmarks' maps, for the ground truth and each network's prediction."""
    batch = default_collate([dataset[0, i] for i in faces])
    codec = next(iter(networks.values())).codec
    columns = {"truth": codec.encode(batch["points"], batch["labelled"])}
    columns |= {name: network.eval()(batch["image"])[-1] for name, network in networks.items()}
    pooled = [maps[:, : codec.scheme.num_landmarks].amax(1) for maps in columns.values()]
    return _image_grid(list(zip(batch["image"].permute(0, 2, 3, 1), *pooled, strict=True)), ["face", *columns])


def overview() -> Figure:
    """Figure 3: the network, with the shapes of its tensors; targets are drawn in place of predicted maps."""
    with torch.device("meta"):  # shapes without arithmetic
        network, image = StackedHourglass(98), torch.empty(3, 256, 256)
    crop, (maps,) = _targets()
    figure = Figure(figsize=(15.2, 4.8))
    axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(0, 15.2), ylim=(0, 4.8), xticks=[], yticks=[], frame_on=False)
    box = {"boxstyle": "round,pad=0.8", "facecolor": "#fdf0d5"}

    def write(x: float, y: float, text: str, to: tuple[float, float] | None = None, **how: Any) -> None:
        arrow = {"arrowstyle": "-|>", "color": how.get("color", "k")} if to else None
        axes.annotate(text, to or (x, y), (x, y), ha="center", va="center", arrowprops=arrow, **how)

    def show(left: float, bottom: float, side: float, pixels: Any, name: str, tensor: Tensor) -> None:
        axes.imshow(np.asarray(pixels), "magma", vmin=0, vmax=1, extent=(left, left + side, bottom, bottom + side))
        write(left + side / 2, bottom - 0.25, f"{name}\n{' x '.join(map(str, tensor.shape))}")

    show(0.1, 2.85, 1.5, crop, "crop", image)
    write(1.6, 3.6, "", to=(1.85, 3.6))
    conv: Any = network.stem[0]
    write(2.42, 3.6, f"stem\nCoordConv\n{conv.in_channels} → {conv.out_channels}", to=(3.35, 3.6), bbox=box)
    for i, stack in enumerate(network.stacks):
        x, conv = 3.35 + 3 * i, stack.coordinates
        write(x + 0.48, 3.6, f"CoordConv\n1 x 1\n{conv.in_channels} → {conv.out_channels}", to=(x + 1.2, 3.6), bbox=box)
        waist = x + np.array([1.2, 1.8, 2.4])
        axes.fill_between(waist, [4.35, 3.8, 4.35], [2.85, 3.4, 2.85], facecolor="#dcefe0", edgecolor="k")
        write(x + 1.8, 4.5, f"HG{i + 1}", weight="bold")
        for left, name, shown in ((x + 0.72, "heatmaps", maps[:-1]), (x + 1.84, "boundary", maps[-1:])):
            show(left, 0.9, 1.0, shown.amax(0), name, shown)
            write(x + 1.8, 3.1, "", to=(left + 0.5, 1.95))
        if i < len(network.stacks) - 1:
            write(x + 2.4, 3.6, "", to=(x + 3, 3.6))
            write(x + 3.1, 1.5, "$B_x, B_y$", to=(x + 3.4, 3.2), color="red")
    axes.set_title("To each next input, 1 x 1 convolutions add the stack's features and maps. Drawn: targets.", y=0.02)
    return figure


def losses() -> Figure:
    """Figure 4: the losses and their gradients over the error, as they are and divided by the loss at an error of 1."""
    curves: dict[str, tuple[HeatmapLoss, float, str]] = {
        "AWing, y = 0": (AdaptiveWingLoss(), 0.0, "tab:purple"),
        "AWing, y = 1": (AdaptiveWingLoss(), 1.0, "tab:green"),
        "Wing (14, 1)": (WingLoss(omega=14, epsilon=1), 0.0, "tab:orange"),  # AWing's constants: alike except at zero
        "MSE": (MSELoss(), 0.0, "tab:red"),
        "L1": (L1Loss(), 0.0, "tab:gray"),
    }
    error = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, subplot_kw={"xlim": (-1, 1), "xlabel": r"error $\hat{y} - y$"}).ravel()
    for name, (loss, y, color) in curves.items():
        values, gradient = influence(loss, error, torch.full_like(error, y))
        for axes, line in zip(panels, (values, gradient, values / values[-1], gradient / values[-1]), strict=True):
            axes.plot(error, line, color, label=name, linewidth=2.5 if "AWing" in name else 1.5)
    titles = ("(a) loss", "(b) gradient", "(c) loss, 1 at an error of 1", "(d) gradient of (c)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title)
        axes.grid(alpha=0.3)
    panels[0].legend()
    return figure


def nonlinear_part() -> Figure:
    """Figure 5: the nonlinear part (error below theta) and its gradient, over the error and the target y."""
    loss = AdaptiveWingLoss()
    axis = torch.linspace(0, 1, 101, dtype=torch.float64)
    error, y = torch.meshgrid(loss.theta * axis[:-1], axis[::2], indexing="ij")
    figure = Figure(figsize=(11, 5))
    panels = figure.subplots(1, 2, subplot_kw={"projection": "3d", "elev": 25, "azim": -55})
    for axes, title, values in zip(panels, ("(a) loss", "(b) gradient"), influence(loss, error, y), strict=True):
        axes.plot_surface(y.numpy(), error.numpy(), values.numpy(), cmap="viridis", rcount=50, ccount=51)
        axes.set(xlabel="target $y$", ylabel=r"error $|\hat{y} - y|$")
        axes.set_title(title, y=0.95)
    figure.subplots_adjust(left=0.02, right=0.95, bottom=0.06, top=0.94, wspace=0.05)
    return figure


def weight_mask() -> Figure:
    """Figure 6: H, its 3x3 grey dilation H^d and the mask M (equation 4), each the maximum over the landmarks."""
    maps = _targets()[1][:, :-1]
    stages = (maps, grey_dilation(maps), dilated_weight_map(maps, weight=1) - 1)
    return _image_grid([[stage[0].amax(0) for stage in stages]], ["(a) $H$", "(b) $H^d$", "(c) $M$"])


def coordinates() -> Figure:
    """Figure 8: coordinate channels, and the same masked by a boundary map (equation 6, 10.1)."""
    boundary = _targets()[1][:, -1:]
    xy = coordinate_channels(*boundary.shape[2:])[:2]
    mask = boundary_coordinates(torch.ones_like(xy), boundary)[0, 0]
    titles = ["X coordinate", "Y coordinate", "boundary mask", "X boundary", "Y boundary"]
    return _image_grid([[*xy, mask, *boundary_coordinates(xy, boundary)[0]]], titles, "RdBu_r", -1)


def _load(cfg: DictConfig) -> tuple[dict[str, LandmarkRegressor], LandmarkDataset]:
    """Load the networks of Figure 2, by their row of Table 7 or their loss, and the test faces to run them on."""
    checkpoints = [Checkpoint.read(path) for path in cfg.checkpoints]
    for checkpoint in checkpoints:
        apply_checkpoint_defaults(cfg, checkpoint)
    rows = [of.config.get("report", {}).get("row") or of.config["loss"]["_target_"] for of in checkpoints]
    names = [row.split(".")[-1] for row in rows]
    crops = {f"{of.crop} of {of.codec().input_size} px" for of in checkpoints}
    if len(set(names)) < len(names) or len(crops) > 1:
        raise CheckpointError(f"expected two rows or losses and one crop, found {', '.join([*names, *sorted(crops)])}")
    datamodule = build(cfg.dataset)
    datamodule.setup("test")
    networks = [regressor_from_checkpoint(checkpoint, datamodule) for checkpoint in checkpoints]
    return dict(zip(names, networks, strict=True)), datamodule.dataset(datamodule.split)


def _targets() -> tuple[Image, Float[Tensor, "1 99 h w"]]:
    """A rendered face and its target maps, the boundary last."""
    crop, points = rendered_face()
    return crop, HeatmapCodec("wflw98").encode(points, torch.ones(points.shape[:2], dtype=torch.bool))


def _image_grid(rows: Sequence[Sequence[Any]], titles: Sequence[str], colors: str = "magma", low: float = 0) -> Figure:
    """Grid of RGB pictures and of maps, which are coloured from ``low`` to 1; the last one is a map."""
    figure = Figure(figsize=(2.4 * len(titles) + 0.7, 2.45 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for axes, values in zip(grid.flat, chain(*rows), strict=True):
        shown = axes.imshow(np.asarray(values), colors, vmin=low, vmax=1)
        axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    figure.colorbar(shown, ax=grid, shrink=0.8, pad=0.01)
    return figure
