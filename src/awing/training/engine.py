"""The composition root: a configuration becomes objects; fit and evaluate."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.loggers import CSVLogger, Logger

from awing.checkpoint import Checkpoint
from awing.codec import HeatmapCodec
from awing.data import verify
from awing.data.datamodule import LandmarkDataModule
from awing.data.loading import per_device_batch_size
from awing.errors import AwingError, CheckpointError, ConfigError, check_choice
from awing.regressor import LandmarkRegressor
from awing.schemes import SCHEMES, get_scheme
from awing.training import loggers, slurm
from awing.training import resume as runs
from awing.training.evaluation import read_jitters, regressor_from_checkpoint, run_jittered, run_test

log = logging.getLogger(__name__)


@slurm.signals_given_back()
def fit(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Train as configured, then evaluate the best checkpoint by validation once on the test faces.

    Args:
        cfg: Composed from ``conf/train.yaml``.
        output: The run's folder; gets ``config.yaml``, ``metrics.csv``, ``checkpoints/``, ``pictures/``, ``test/``.

    Returns:
        The test metrics, as in ``test/metrics.json``; {} with ``test=false``. A run that is continued and was finished
        is not run again.

    Raises:
        ConfigError, DataError, CheckpointError: before training starts.
    """
    resume = runs.find_resume_checkpoint(cfg, output)
    if not isinstance(cfg.seed, int):
        raise ConfigError(f"seed is an integer, found {cfg.seed!r}")
    pl.seed_everything(cfg.seed, workers=True)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    _keep_scheme(cfg)
    datamodule: LandmarkDataModule = build(cfg.dataset)
    cfg.dataset.crop_scale, cfg.dataset.normalisers = datamodule.crop_scale, datamodule.normalisers
    with open_dict(cfg):
        cfg.output = str(output)  # in a sweep, the job's own folder
    regressor = build_regressor(cfg)
    if (results := runs.results_of(output, regressor.config)) is not None:
        return results
    if resume:
        runs.check_same_run(resume.path, resume.config, regressor.config)
        datamodule.prepare_data()
        datamodule.setup()
        datamodule.load_state_dict(resume.held_out)  # now: a run that is refused leaves everything as it is
        log.info("%s continues after step %d", resume.path, resume.step)
    if cfg.training.compile:
        regressor.network.compile()
    trainer = _build_trainer(cfg, output, resume)
    per_device_batch_size(cfg.data.batch_size, trainer.world_size)
    if trainer.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, output / "config.yaml", resolve=True)
        if resume:
            loggers.truncate_metrics(trainer, output / "metrics.csv", resume)
    if cfg.test and trainer.is_global_zero:  # faces that cannot be scored are named before hours of training
        datamodule.prepare_data()
        datamodule.dataset(datamodule.split)
    with loggers.finish_loggers(trainer.loggers):
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # beside metrics.csv stands config.yaml
                logger.log_hyperparams(regressor.config)
        with runs.resuming(trainer, resume):
            trainer.fit(regressor, datamodule=datamodule, ckpt_path=resume.path if resume else None, weights_only=True)
        if resume and trainer.global_step == resume.step:
            log.info("trained to its end before: %s", resume.path)
        log.info("checkpoints and metrics are in %s", output)
        if not cfg.test:
            return {}
        best = Checkpoint.read_run(runs.best_or_last(output))
        return run_test(trainer, datamodule, best, output / "test", fps=cfg.fps)


def evaluate(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Evaluate a checkpoint on one split of one data set.

    Args:
        cfg: Composed from ``conf/evaluate.yaml``. A null value means the checkpoint's.
        output: Where the results go; see :func:`awing.training.evaluation.write_results`.

    Raises:
        CheckpointError: the checkpoint is missing, broken, or of another landmark scheme.
        ConfigError: ``output`` holds results already, or faces that were trained on would count as held out.
    """
    if (output / "metrics.json").exists():
        raise ConfigError(f"{output} holds an evaluation already: choose another output")
    if OmegaConf.is_missing(cfg, "checkpoint"):
        raise ConfigError("expected a checkpoint: name it with checkpoint=runs/.../checkpoints/best.ckpt")
    checkpoint = Checkpoint.read(cfg.checkpoint)
    apply_checkpoint_defaults(cfg, checkpoint)
    if cfg.trainer.precision is None:
        cfg.trainer.precision = checkpoint.config["trainer"]["precision"]
    torch.set_float32_matmul_precision(checkpoint.config["matmul_precision"])
    trainer: pl.Trainer = build(
        cfg.trainer, logger=False, default_root_dir=str(output), max_epochs=1, plugins=slurm.plugins()
    )
    per_device_batch_size(cfg.data.batch_size, trainer.world_size)
    datamodule: LandmarkDataModule = build(cfg.dataset)
    jitters = read_jitters(cfg.box_jitter or {})
    if cfg.calibrate is not None and (datamodule.split != "val" or trainer.world_size > 1):
        raise ConfigError("calibrate fits a confidence to the validation faces, on one device: dataset.split=val")
    results = run_test(trainer, datamodule, checkpoint, output, cfg.decoder, cfg.flip_test, cfg.fps, cfg.calibrate)
    if jitters:
        run_jittered(
            jitters,
            regressor_from_checkpoint(checkpoint, datamodule, cfg.decoder, cfg.flip_test),
            trainer,
            datamodule,
            output,
        )
    return results


def prepare(cfg: DictConfig, output: Path) -> bool:
    """Verify, cache or show a data set.

    Args:
        cfg: Composed from ``conf/prepare.yaml``.
        output: Gets ``verify.json`` or the sheets.

    Returns:
        Whether the data set is sound, as far as it was looked at.

    Raises:
        ConfigError: an unknown action.
        DataError: the data set is incomplete or broken; "verify" reports it instead.
    """
    check_choice("action", cfg.action, ("verify", "cache", "show"))
    _keep_scheme(cfg)
    data: LandmarkDataModule = build(cfg.dataset)
    data.prepare_data()
    if cfg.action == "verify":
        return not verify.verify(data, output, cfg.workers)["problems"]
    if cfg.action == "cache":
        verify.cache(data, cfg.workers)
    else:
        verify.show(data, build(cfg.codec), output)
    return True


def build_regressor(cfg: DictConfig) -> LandmarkRegressor:
    """The LightningModule of a configuration.

    Raises:
        ConfigError: its parts do not fit together.
    """
    codec: HeatmapCodec = build(cfg.codec)
    _check_fit(cfg, codec)
    weights = cfg.training.stack_weights
    weight_map = build(cfg.weight_map)
    try:
        weight_map(torch.zeros(1, 1, 4, 4))  # it checks its constants when it is called
    except ValueError as error:
        raise ConfigError(f"weight_map: {error}") from None
    return LandmarkRegressor(
        network=build(cfg.model, num_landmarks=codec.scheme.num_landmarks),
        codec=codec,
        loss=build(cfg.loss),
        weight_map=weight_map,
        normalisers=list(cfg.dataset.normalisers),
        subsets=list(cfg.dataset.subsets),
        optimizer=build(cfg.optim.optimizer),
        scheduler=build(cfg.optim.scheduler),
        interval=cfg.optim.interval,
        stack_weights=None if weights is None else list(weights),
        boundary_weight=cfg.training.boundary_weight,
        config=OmegaConf.to_container(cfg, resolve=True),  # type: ignore[arg-type]  # a mapping of strings
    )


def apply_checkpoint_defaults(cfg: DictConfig, checkpoint: Checkpoint) -> None:
    """Fill what ``conf/evaluate.yaml`` or ``conf/figures.yaml`` leaves open with the checkpoint's values.

    Raises:
        CheckpointError: the data set has another landmark scheme.
        ConfigError: faces that were trained on would count as held out.
    """
    trained, scheme = checkpoint.config["dataset"], checkpoint.codec().scheme
    if OmegaConf.is_missing(cfg.dataset, "scheme"):
        cfg.dataset.scheme = asdict(scheme)
    annotated = get_scheme(cfg.dataset.scheme)
    if scheme.names != annotated.names:
        raise CheckpointError(
            f"{checkpoint.path} predicts the scheme {scheme.name}, but dataset {cfg.dataset.name} is annotated "
            f"with {annotated.name}; choose a data set of {scheme.name} or another checkpoint"
        )
    if cfg.dataset.crop in (None, trained["crop"]) and cfg.dataset.crop_scale is None:
        cfg.dataset.crop_scale = trained["crop_scale"]
    cfg.dataset.input_size = checkpoint.codec().input_size
    for key, value in {"crop": trained["crop"], **checkpoint.held_out}.items():
        if cfg.dataset[key] is None:
            cfg.dataset[key] = value
    cut = {key: cfg.dataset[key] for key in checkpoint.held_out}
    if cfg.dataset.name == trained["name"] and cut != checkpoint.held_out:
        raise ConfigError(
            f"{checkpoint.path} was trained on {trained['name']} with the cut {checkpoint.held_out}; with {cut}, faces "
            "that it was trained on would count as held out"
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


def _keep_scheme(cfg: DictConfig) -> None:
    """Put the content of a scheme's file into the configuration, and so into checkpoints.

    Raises:
        ConfigError: no scheme is named, or the file is none.
    """
    if OmegaConf.is_missing(cfg.dataset, "scheme"):
        raise ConfigError(
            f"expected a landmark scheme: dataset.scheme=FILE.yaml, or one of {', '.join(SCHEMES)} by its name"
        )
    if OmegaConf.is_config(cfg.dataset.scheme) or cfg.dataset.scheme not in SCHEMES:
        cfg.dataset.scheme = asdict(get_scheme(cfg.dataset.scheme))


def _check_fit(cfg: DictConfig, codec: HeatmapCodec) -> None:
    """Refuse parts that do not fit together.

    Raises:
        ConfigError: which parts, and what would fit.
    """
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
    for one, other in (
        ("codec.scheme", "dataset.scheme"),
        ("codec.input_size", "dataset.input_size"),
        ("codec.boundary", "model.boundary"),
    ):
        if OmegaConf.select(cfg, one) != OmegaConf.select(cfg, other):
            found = f"{OmegaConf.select(cfg, one)} and {OmegaConf.select(cfg, other)}"
            raise ConfigError(f"{one} and {other} must be the same, found {found}; set one and leave the other alone")
    weights = cfg.training.stack_weights
    if weights is not None and len(weights) != cfg.model.stacks:
        raise ConfigError(f"training.stack_weights has {len(weights)} entries for model.stacks={cfg.model.stacks}")
    check_choice("optim.interval", cfg.optim.interval, ("epoch", "step"))


def _build_trainer(cfg: DictConfig, output: Path, resume: Checkpoint | None) -> pl.Trainer:
    callbacks = {name: callback for name, callback in (cfg.get("callbacks") or {}).items() if callback}
    kept_by = [_build_logger(logger, resume) for logger in (cfg.get("logger") or {}).values() if logger]
    if not kept_by:  # it refuses to run without one
        callbacks.pop("learning_rate", None)
    validation = {}
    if not cfg.dataset.val_fraction:  # nothing to rank by: the last checkpoint is the result
        callbacks = {name: callback for name, callback in callbacks.items() if name not in ("best", "pictures")}
        validation = {"limit_val_batches": 0}
    trainer: pl.Trainer = build(
        cfg.trainer,
        callbacks=[build(callback) for callback in callbacks.values()],
        logger=kept_by,
        enable_progress_bar="progress" in callbacks,  # Lightning would add one of its own
        default_root_dir=str(output),
        plugins=[
            runs.WholeCheckpoints(good=resume is not None and resume.path.name == runs.LAST),
            *slurm.plugins(),
        ],
        **validation,
    )
    return trainer


def _build_logger(node: DictConfig, resume: Checkpoint | None) -> Logger:
    """A logger; TensorBoard is told to hide what it knows of steps that are made again."""
    first = {"purge_step": resume.step if resume else 0} if node._target_.endswith("TensorBoardLogger") else {}
    logger: Logger = build(node, **first)
    return logger
