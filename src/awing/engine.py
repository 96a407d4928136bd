"""The composition root: a configuration becomes objects; fit and evaluate."""

import csv
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.loggers import CSVLogger

from awing.codec import HeatmapCodec
from awing.data import LandmarkDataModule
from awing.data.datamodule import per_device
from awing.errors import AwingError, CheckpointError, ConfigError
from awing.evaluation import print_results, write_results
from awing.regressor import CHECKPOINT_FORMAT, LandmarkRegressor

log = logging.getLogger(__name__)


def fit(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Train as configured, then evaluate the best checkpoint by validation once on the test faces.

    Args:
        cfg: Composed from ``conf/train.yaml``.
        output: The run's folder; gets ``config.yaml``, ``metrics.csv``, ``checkpoints/``, ``pictures/``, ``test/``.

    Returns:
        The test metrics, as in ``test/metrics.json``; {} with ``test=false``.

    Raises:
        ConfigError, DataError, CheckpointError: before training starts.
    """
    resume = _resume_from(cfg, output)
    with open_dict(cfg):
        cfg.output = str(output)  # in a sweep, the job's own folder
    pl.seed_everything(cfg.seed, workers=True)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    regressor = build_regressor(cfg)
    trainer = _build_trainer(cfg, output)
    per_device(cfg.data.batch_size, trainer.world_size)
    datamodule: LandmarkDataModule = build(cfg.dataset)
    regressor.config["dataset"]["crop_scale"] = datamodule.crop_scale
    output.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, output / "config.yaml", resolve=True)
    if resume:
        _keep_rows(trainer, output / "metrics.csv", _load(resume)["global_step"])
    for logger in trainer.loggers:
        if not isinstance(logger, CSVLogger):  # beside metrics.csv stands config.yaml
            logger.log_hyperparams(regressor.config)
    trainer.fit(regressor, datamodule=datamodule, ckpt_path=resume, weights_only=True)
    checkpoint = _best_or_last(output)
    log.info("checkpoints and metrics are in %s", output)
    if not cfg.test or trainer.interrupted:
        return {}
    load_weights(regressor, checkpoint)
    return _test(cfg, trainer, regressor, datamodule, checkpoint, output / "test")


def evaluate(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Evaluate a checkpoint on one split of one data set.

    Args:
        cfg: Composed from ``conf/evaluate.yaml``. A null ``dataset.crop`` or ``dataset.crop_scale`` means the
            checkpoint's.
        output: Where the results go; see :func:`awing.evaluation.write_results`.

    Raises:
        CheckpointError: the checkpoint is missing, broken, or of another landmark scheme.
    """
    if (output / "metrics.json").exists():
        raise ConfigError(f"{output} holds an evaluation already: choose another output")
    checkpoint = Path(cfg.checkpoint)
    trained = OmegaConf.create(_load(checkpoint)["awing"]["config"])
    if trained.dataset.scheme != cfg.dataset.scheme:
        raise CheckpointError(
            f"{checkpoint} predicts the scheme {trained.dataset.scheme}, but dataset {cfg.dataset.name} is annotated "
            f"with {cfg.dataset.scheme}; choose a data set of {trained.dataset.scheme} or another checkpoint"
        )
    if cfg.dataset.crop in (None, trained.dataset.crop) and cfg.dataset.crop_scale is None:
        cfg.dataset.crop_scale = trained.dataset.crop_scale
    for key in ("crop", "input_size", "val_fraction", "test_fraction", "split_seed"):
        if cfg.dataset[key] is None:
            cfg.dataset[key] = trained.dataset[key]
    trained.dataset = cfg.dataset
    if cfg.decoder is not None:
        trained.codec.decoder = cfg.decoder
    regressor = build_regressor(trained)
    load_weights(regressor, checkpoint)
    trainer: pl.Trainer = build(cfg.trainer, logger=False, default_root_dir=str(output), max_epochs=1)
    per_device(cfg.data.batch_size, trainer.world_size)
    return _test(cfg, trainer, regressor, build(cfg.dataset), checkpoint, output)


def build_regressor(cfg: DictConfig) -> LandmarkRegressor:
    """The LightningModule of a configuration.

    Raises:
        ConfigError: its parts do not fit together.
    """
    codec: HeatmapCodec = build(cfg.codec)
    scheme = codec.scheme
    if codec.stride != 4:
        raise ConfigError(
            f"codec.heatmap_size {codec.heatmap_size} does not fit codec.input_size {codec.input_size}: the network's "
            f"maps are a quarter of its input; set codec.heatmap_size={codec.input_size // 4}"
        )
    smallest = 4 * 2**cfg.model.depth
    if codec.input_size % smallest:
        raise ConfigError(
            f"codec.input_size {codec.input_size} must be a multiple of {smallest} for model.depth={cfg.model.depth}"
        )
    weights = cfg.training.stack_weights
    if weights is not None and len(weights) != cfg.model.stacks:
        raise ConfigError(f"training.stack_weights has {len(weights)} entries for model.stacks={cfg.model.stacks}")
    network = build(cfg.model, num_landmarks=scheme.num_landmarks)
    if cfg.training.compile:
        network.compile()
    config = {str(key): value for key, value in OmegaConf.to_object(cfg).items()}  # type: ignore[union-attr]
    return LandmarkRegressor(
        network=network,
        codec=codec,
        loss=build(cfg.loss),
        weight_map=build(cfg.weight_map),
        normalisers=list(cfg.dataset.normalisers),
        subsets=list(cfg.dataset.subsets),
        optimizer=build(cfg.optim.optimizer),
        scheduler=build(cfg.optim.scheduler),
        interval=cfg.optim.interval,
        stack_weights=None if weights is None else list(weights),
        boundary_weight=cfg.training.boundary_weight,
        config=config,
    )


def build(node: DictConfig | None, **kwargs: Any) -> Any:
    """Instantiate a node of the configuration; a value that its target refuses becomes a ConfigError.

    Raises:
        AwingError: what the target said.
    """
    try:
        return instantiate(node, **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, AwingError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(f"{node and node.get('_target_')}: {cause}") from None
        raise


def load_weights(regressor: LandmarkRegressor, checkpoint: Path) -> None:
    """Load the weights that a checkpoint would be used with: the average where the run kept one.

    Raises:
        CheckpointError: the file is missing, broken, or holds another network.
    """
    try:
        regressor.load_state_dict(_load(checkpoint)["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} holds the weights of another network: {error}") from None


def _load(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: expected a checkpoint file, found none")
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{checkpoint} cannot be read as a checkpoint: {type(error).__name__}: {error}") from None
    if not isinstance(state, dict) or "awing" not in state:
        raise CheckpointError(f"{checkpoint} is not a checkpoint that this project wrote")
    if state["awing"]["format"] != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {state['awing']['format']}; this version reads format {CHECKPOINT_FORMAT}"
        )
    return state


def _test(
    cfg: DictConfig,
    trainer: pl.Trainer,
    regressor: LandmarkRegressor,
    datamodule: LandmarkDataModule,
    checkpoint: Path,
    output: Path,
) -> dict[str, Any]:
    trainer.test(regressor, datamodule=datamodule, verbose=False)
    annotations = datamodule.annotations[datamodule.split]
    about = {
        "dataset": datamodule.name, "split": datamodule.split,
        "crop": datamodule.crop, "crop_scale": datamodule.crop_scale, "decoder": regressor.codec.decoder,
        "checkpoint": str(checkpoint), "seed": cfg.seed,
        "expected": annotations.expected, "found": len(annotations.records),
    }  # fmt: skip
    if trainer.is_global_zero:
        regressor.cpu()
        write_results(output, regressor, datamodule.dataset(datamodule.split), about)
        print_results(about, regressor.results)
        for label, file in (
            ("checkpoint", checkpoint),
            ("metrics", output / "metrics.json"),
            ("overlay", output / "overlay.png"),
            ("heatmaps", output / "heatmaps.png"),
        ):
            print(f"{label:>10}: {file}")
    return {**about, "subsets": regressor.results}


def _build_trainer(cfg: DictConfig, output: Path) -> pl.Trainer:
    callbacks = {name: callback for name, callback in cfg.callbacks.items() if callback}
    validation = {}
    if not cfg.dataset.val_fraction:  # nothing to rank by: the last checkpoint is the result
        callbacks = {name: callback for name, callback in callbacks.items() if name not in ("best", "pictures")}
        validation = {"limit_val_batches": 0}
    trainer: pl.Trainer = build(
        cfg.trainer,
        callbacks=[build(callback) for callback in callbacks.values()],
        logger=[build(logger) for logger in cfg.logger.values()],
        default_root_dir=str(output),
        **validation,
    )
    return trainer


def _resume_from(cfg: DictConfig, output: Path) -> Path | None:
    last = output / "checkpoints" / "last.ckpt"
    if cfg.resume == "auto":
        return last if last.is_file() else None
    if last.exists():
        raise ConfigError(f"{output} holds a run already: continue it with resume=auto, or choose another output")
    if cfg.resume is None:
        return None
    return Path(cfg.resume)


def _best_or_last(output: Path) -> Path:
    best = output / "checkpoints" / "best.ckpt"
    return best if best.is_file() else best.with_name("last.ckpt")


def _keep_rows(trainer: pl.Trainer, file: Path, step: int) -> None:
    """Give a resumed run its rows up to the checkpoint back: Lightning's CSV logger starts by deleting the file."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
    if not loggers or not file.is_file():
        return
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    experiment = loggers[0].experiment
    kept = [row for row in rows if int(row["step"]) < step]
    if kept:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
        experiment.metrics_keys = list(kept[0])
