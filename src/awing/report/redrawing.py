"""The paper's figures as files, those of trained networks included."""

from pathlib import Path

from omegaconf import DictConfig

from awing.checkpoint import Checkpoint
from awing.data.datamodule import LandmarkDataModule
from awing.data.dataset import LandmarkDataset
from awing.data.images import save_picture
from awing.errors import CheckpointError, ConfigError
from awing.regressor import LandmarkRegressor
from awing.report import figures
from awing.training.builders import build
from awing.training.engine import apply_checkpoint_defaults
from awing.training.evaluation import draw_faces, regressor_from_checkpoint

IN_FIGURE_9 = ("aflw", "cofw", "300w")  # Figure 10 has the others


def redraw(cfg: DictConfig, output: Path) -> list[Path]:
    """Redraw the paper's figures: 1, 3 to 6 and 8, with a checkpoint 9 or 10, with two checkpoints 2.

    Args:
        cfg: Composed from ``conf/figures.yaml``.
        output: Gets ``figure1.png`` and so on.

    Returns:
        The files.

    Raises:
        CheckpointError: a checkpoint is missing, broken, or of another landmark scheme or crop.
        ConfigError: ``output`` holds figures already, or ``checkpoint_mse`` stands alone.
        DataError: the test faces are missing.
    """
    if any(output.glob("figure*.png")):
        raise ConfigError(f"{output} holds figures already: choose another output")
    if cfg.checkpoint_mse and not cfg.checkpoint:
        raise ConfigError("checkpoint_mse is drawn beside another network: name that one with checkpoint=PATH")
    trained = _trained(cfg) if cfg.checkpoint else None
    drawn = {
        1: figures.pixel_types(), 3: figures.overview(), 4: figures.losses(), 5: figures.nonlinear_part(),
        6: figures.weight_mask(), 8: figures.coordinates(),
    }  # fmt: skip
    if trained and cfg.checkpoint_mse:
        drawn[2] = figures.heatmap_quality(*trained)
    output.mkdir(parents=True, exist_ok=True)
    files = [output / f"figure{number}.png" for number in drawn]
    for file, figure in zip(files, drawn.values(), strict=True):
        figure.savefig(file, dpi=150, bbox_inches="tight", facecolor="white")
    if trained:
        networks, faces = trained
        files.append(output / f"figure{9 if cfg.dataset.name in IN_FIGURE_9 else 10}.png")
        save_picture(files[-1], draw_faces(next(iter(networks.values())), faces, range(min(16, len(faces))))["overlay"])
    return files


def _trained(cfg: DictConfig) -> tuple[dict[str, LandmarkRegressor], LandmarkDataset]:
    """The networks by the name of their loss, and the test faces that they are tried on."""
    checkpoints = [Checkpoint.read(path) for path in (cfg.checkpoint, cfg.checkpoint_mse) if path]
    losses = [
        checkpoint.config.get("loss", {"_target_": "unknown"})["_target_"].split(".")[-1] for checkpoint in checkpoints
    ]
    crops = [
        f"{c.config['dataset']['crop']} x {c.config['dataset']['crop_scale']}, {c.codec().input_size} px"
        for c in checkpoints
    ]
    if len(set(losses)) < len(losses) or len(set(crops)) > 1:
        raise CheckpointError(
            f"expected networks of two losses and one crop, found {' and '.join(losses)}, crops {' and '.join(crops)}"
        )
    for checkpoint in checkpoints:
        apply_checkpoint_defaults(cfg, checkpoint)
    datamodule: LandmarkDataModule = build(cfg.dataset)
    datamodule.prepare_data()
    networks = [regressor_from_checkpoint(checkpoint, datamodule) for checkpoint in checkpoints]
    return dict(zip(losses, networks, strict=True)), datamodule.dataset("test")
