"""Composition root: objects are built from the configuration here, then trained, evaluated or prepared."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from awing.checkpoint import Checkpoint
from awing.data import verify
from awing.data.crops import BoxJitter
from awing.data.datamodule import LandmarkDataModule
from awing.data.importing import import_annotations
from awing.errors import CheckpointError, ConfigError, check_choice
from awing.schemes import SCHEMES, Scheme, get_scheme
from awing.schemes.file import maps_between, read_map
from awing.training import calibration
from awing.training.builders import build, build_regressor, build_trainer, fastest_precision, slurm_plugins
from awing.training.evaluation import regressor_from_checkpoint, run_jittered, run_test
from awing.training.resume import check_same_run, find_finished, find_resume_checkpoint, read_rows, truncate_metrics

log = logging.getLogger(__name__)


def fit(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Train as configured in ``conf/train.yaml``, then test the best checkpoint by validation once.

    The run's folder gets ``config.yaml``, ``metrics.csv``, ``checkpoints/``, ``pictures/`` and ``test/``. A finished
    run is not repeated; nor is, with ``reuse``, one that finished in that folder. Returns the content of
    ``test/metrics.json``; with ``test=false`` the validation scores.

    Raises:
        ConfigError, DataError, CheckpointError: before training starts.
    """
    path = find_resume_checkpoint(cfg.resume, output)
    resumed = Checkpoint.read(path) if path else None
    pl.seed_everything(cfg.seed, workers=True)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    datamodule = complete_config(cfg)
    with open_dict(cfg):
        name_run(cfg, output)
        cfg.output = str(output)  # each job of a sweep has its own folder
        if cfg.trainer.precision == "auto":
            fastest = fastest_precision(cfg.trainer.accelerator)
            cfg.trainer.precision = resumed.config["trainer"]["precision"] if resumed else fastest
            log.info("trainer.precision=auto: %s", cfg.trainer.precision)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if results := find_finished(output, cfg.reuse, config):
        log.info("finished before, not run again: %s", results)
        return dict(json.loads(results.read_text()))

    source = Checkpoint.read(cfg.init) if cfg.init else None
    regressor = build_regressor(cfg, source)
    regressor.save_hyperparameters(config)
    if cfg.training.compile:
        regressor.network.compile()
    trainer = build_trainer(cfg, output)
    datamodule.setup()
    if path and resumed:
        check_same_run(resumed.config, config, path)
        datamodule.load_state_dict(resumed.held_out | {"faces": resumed.faces})  # early: a refused run changes no file
        log.info("%s continues after step %d", path, resumed.step)
    if source:
        warn_of_seen_faces(source, datamodule)
    if cfg.test:
        datamodule.dataset(datamodule.split)  # before hours of training, report faces that cannot be scored
    if trainer.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, output / "config.yaml", resolve=True)
        truncate_metrics(output / "metrics.csv", resumed.step if resumed else 0)
    try:
        trainer.fit(regressor, datamodule=datamodule, ckpt_path=path, weights_only=True)
        log.info("checkpoints and metrics are in %s", output)
        training = validation_scores(output / "metrics.csv")
        if not cfg.test:
            return training
        best = output / "checkpoints" / "best.ckpt"
        checkpoint = Checkpoint.read(best if best.is_file() else best.with_name("last.ckpt"))
        tested = regressor_from_checkpoint(checkpoint, datamodule)
        faces = datamodule.annotations["train"]
        training["trained"] = {"steps": trainer.global_step, "found": len(faces.records), "expected": faces.expected}
        return run_test(trainer, datamodule, tested, checkpoint, output / "test", cfg.fps, training)
    finally:
        if "wandb" in sys.modules:  # the next job of a sweep, in the same process, is another W&B run
            sys.modules["wandb"].finish(exit_code=int(sys.exc_info()[0] is not None))


def evaluate(cfg: DictConfig, output: Path) -> dict[str, Any]:
    """Evaluate a checkpoint on one split of one data set, as configured in ``conf/evaluate.yaml``.

    Raises:
        CheckpointError: the checkpoint is missing, broken, or of another landmark scheme.
        ConfigError: ``output`` holds results already, or faces that were trained on would count as held out.
    """
    if (output / "metrics.json").exists() or (output / "checkpoints").exists():
        raise ConfigError(f"{output} holds an evaluation or a training already: choose another output")
    kinds = cfg.box_jitter.items()
    jitters = {(kind, amount): BoxJitter(**{kind: amount}) for kind, amounts in kinds for amount in amounts}
    if OmegaConf.is_missing(cfg, "checkpoint"):
        raise ConfigError("expected a checkpoint: name it with checkpoint=runs/.../checkpoints/best.ckpt")
    checkpoint = Checkpoint.read(cfg.checkpoint)
    apply_checkpoint_defaults(cfg, checkpoint)
    precision = str(checkpoint.config["trainer"]["precision"])
    torch.set_float32_matmul_precision(str(checkpoint.config["matmul_precision"]))
    trainer: pl.Trainer = build(
        cfg.trainer, precision=cfg.trainer.precision or precision, logger=False, default_root_dir=str(output),
        max_epochs=1, plugins=slurm_plugins(),
    )  # fmt: skip
    datamodule: LandmarkDataModule = build(cfg.dataset)
    if cfg.calibrate is not None and (datamodule.split != "val" or trainer.world_size > 1):
        raise ConfigError("calibrate fits a confidence to the validation faces, on one device: dataset.split=val")
    regressor = regressor_from_checkpoint(checkpoint, datamodule, cfg.decoder, cfg.flip_test)
    results = run_test(
        trainer, datamodule, regressor, checkpoint, output, cfg.fps, faces=cfg.faces, heatmaps=cfg.heatmaps
    )
    if trainer.is_global_zero:
        OmegaConf.save(OmegaConf.create(checkpoint.config), output / "training.yaml")  # for src/report.py
    if trainer.world_size == 1:
        title = f"{datamodule.name} {datamodule.split}"
        calibration.write_confidence(regressor, checkpoint, cfg.calibrate, output, title)
    if jitters:
        run_jittered(jitters, trainer, datamodule, regressor, output)
    return results


def prepare(cfg: DictConfig, output: Path) -> bool:
    """Verify, cache, show or import a data set, as configured in ``conf/prepare.yaml``; False if it has problems."""
    check_choice("action", cfg.action, ("verify", "cache", "show", "import"))
    if cfg.action == "import":
        return import_annotations(cfg.source, output)
    data = complete_config(cfg)
    if cfg.action == "verify":
        return not verify.verify(data, output, cfg.workers)["problems"]
    if cfg.action == "cache":
        verify.cache(data, cfg.workers)
    else:
        verify.show(data, build(cfg.codec), output)
    return True


def warn_of_seen_faces(source: Checkpoint, datamodule: LandmarkDataModule) -> None:
    """Warn if the checkpoint may have been trained on faces that are held out now."""
    if source.config["dataset"]["name"] == datamodule.name and source.held_out != datamodule.held_out:
        log.warning(
            "init=%s was trained on %s with %s held out, now it is %s: what is scored may have been trained on",
            source.path, datamodule.name, source.held_out, datamodule.held_out,
        )  # fmt: skip


def validation_scores(metrics: Path) -> dict[str, Any]:
    """The best and the last validation NME in ``metrics.csv``; {} without validation."""
    nmes = [float(row["val/nme"]) for row in read_rows(metrics) if row.get("val/nme")]
    return {"val_nme_best": min(nmes), "val_nme_last": nmes[-1]} if nmes else {}


def name_run(cfg: DictConfig, output: Path) -> None:
    """Set the names of the run and of its group of runs in Weights & Biases, unless the configuration does."""
    if wandb := OmegaConf.select(cfg, "logger.wandb"):
        sweep = Path(cfg.output).resolve()  # for a single run, its own folder
        wandb.name = wandb.name or f"{cfg.name} {output.name}"
        wandb.group = wandb.group or cfg.report.table or (cfg.name if sweep == output.resolve() else sweep.name)


def complete_config(cfg: DictConfig) -> LandmarkDataModule:
    """Fill in open values, and the content of a scheme file, in the configuration; return its data module."""
    if OmegaConf.is_missing(cfg.dataset, "scheme"):
        raise ConfigError(f"expected a landmark scheme: dataset.scheme=FILE.yaml or one of {', '.join(SCHEMES)}")
    scheme = get_scheme(cfg.dataset.scheme)
    if OmegaConf.is_config(cfg.dataset.scheme) or cfg.dataset.scheme not in SCHEMES:
        cfg.dataset.scheme = asdict(scheme)
    if not scheme.lines and cfg.get("model") and cfg.model.boundary:
        log.info("%s has no boundary lines: no boundary channel", scheme.name)
        cfg.model.boundary = cfg.model.boundary_coords = False
    datamodule: LandmarkDataModule = build(cfg.dataset)
    with open_dict(cfg):
        cfg.dataset.crop_scale, cfg.dataset.normalisers = datamodule.crop_scale, datamodule.normalisers
    return datamodule


def settle_map(cfg: DictConfig, annotated: Scheme, predicted: Scheme, checkpoint: Checkpoint) -> None:
    """If the schemes differ, put the map of their common landmarks into the configuration of the data set."""
    if predicted.names == annotated.names:
        cfg.dataset.map = None
    elif cfg.dataset.map:
        landmarks = read_map(cfg.dataset.map, annotated, predicted)
        log.info("%d landmarks are scored: %s", sum(i >= 0 for i in landmarks), cfg.dataset.map)
        cfg.dataset.map = {"scheme": asdict(predicted), "landmarks": landmarks}
    else:
        names = {s.name: [name for name in s.names if name not in o.names]
                 for s, o in ((predicted, annotated), (annotated, predicted))}  # fmt: skip
        alone = [f"{s} alone has {shorten(', '.join(n), 200, placeholder=' ...')}" for s, n in names.items() if n]
        known = " or ".join(maps_between(annotated, predicted)) or "FILE.yaml, whose lists name what is the same"
        raise CheckpointError(
            f"{checkpoint.path} predicts the scheme {predicted.name}, but dataset {cfg.dataset.name} is annotated with "
            f"{annotated.name} ({'; '.join(alone) or 'in another order'}); choose a data set of {predicted.name}, "
            f"another checkpoint, or dataset.map={known}"
        )


def apply_checkpoint_defaults(cfg: DictConfig, checkpoint: Checkpoint) -> None:
    """Fill in values that ``conf/evaluate.yaml`` or ``conf/figures.yaml`` leaves open, from the checkpoint."""
    codec, (crop, crop_scale), name = checkpoint.codec(), checkpoint.crop, checkpoint.config["dataset"]["name"]
    if OmegaConf.is_missing(cfg.dataset, "scheme"):
        cfg.dataset.scheme = asdict(codec.scheme)
    settle_map(cfg, get_scheme(cfg.dataset.scheme), codec.scheme, checkpoint)
    if cfg.dataset.crop in (None, crop) and OmegaConf.is_config(cfg.dataset.crop_scale):  # no number was given
        cfg.dataset.crop_scale = crop_scale
    cfg.dataset.loader.input_size = codec.input_size
    upright = cfg.dataset.name == name and checkpoint.config["dataset"].get("upright", False)
    for key, value in {"crop": crop, "bits": checkpoint.bits, "upright": upright, **checkpoint.held_out}.items():
        if cfg.dataset[key] is None:
            cfg.dataset[key] = value
    held_out = {key: cfg.dataset[key] for key in checkpoint.held_out}
    if cfg.dataset.name == name and held_out != checkpoint.held_out:
        raise ConfigError(
            f"{checkpoint.path} was trained on {name} with {checkpoint.held_out} held out; with {held_out}, faces that "
            "it was trained on would count as held out (another data set needs another dataset.name)"
        )
