"""Build objects from nodes of the configuration, and initialise a network from another training."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from torch import nn

from awing.checkpoint import Checkpoint
from awing.codec import HeatmapCodec
from awing.errors import AwingError, CheckpointError, ConfigError
from awing.models import StackedHourglass
from awing.regressor import LandmarkRegressor
from awing.schemes import Scheme
from awing.training.resume import AtomicCheckpointIO

log = logging.getLogger(__name__)


def build(node: DictConfig | None, **kwargs: Any) -> Any:
    """Instantiate a node of the configuration; a value that its target rejects raises a ConfigError."""
    try:
        return instantiate(node, **kwargs)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, AwingError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(f"{node and node.get('_target_')}: {cause}") from None
        raise


def build_regressor(cfg: DictConfig, source: Checkpoint | None = None) -> LandmarkRegressor:
    """Build the LightningModule of a configuration, with those weights of ``source`` that fit.

    Raises:
        ConfigError: codec and network do not fit together, or a part is frozen that has no weights from ``source``.
        CheckpointError: the network of ``source`` has another width, so that no layer fits.
    """
    codec: HeatmapCodec = build(cfg.codec)
    multiple = 4 * 2**cfg.model.depth
    if codec.stride != 4 or codec.input_size % multiple:
        raise ConfigError(
            f"codec.input_size is a multiple of {multiple} for model.depth={cfg.model.depth}, and codec.heatmap_size a "
            f"quarter of it; found {codec.input_size} and {codec.heatmap_size}"
        )
    for own, other in (("codec.scheme", "dataset.scheme"), ("codec.boundary", "model.boundary")):
        if OmegaConf.select(cfg, own) != OmegaConf.select(cfg, other):
            raise ConfigError(f"{own} and {other} must be the same: set {other} alone")
    weights = cfg.training.stack_weights
    if weights is not None and len(weights) != cfg.model.stacks:
        raise ConfigError(f"training.stack_weights has {len(weights)} entries for model.stacks={cfg.model.stacks}")
    network = build(cfg.model, num_landmarks=codec.scheme.num_landmarks)
    taken = take_weights(network, codec.scheme, source) if source else set()
    freeze(network, cfg.training.frozen or [], taken)
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
        stack_weights=weights,
        boundary_weight=cfg.training.boundary_weight,
        taken=taken,
        taken_lr=cfg.training.taken_lr,
    )


@torch.no_grad()
def take_weights(network: StackedHourglass, scheme: Scheme, source: Checkpoint) -> set[str]:
    """Copy the tensors of a checkpoint that have the same name and shape in a network; return their names.

    In layers that make or read the maps, weights of landmarks with the same name, and of the boundary, are copied.
    """
    other, names = source.network(), source.codec().scheme.names
    weights, tensors = other.state_dict(), network.state_dict()
    width, theirs = (state["stacks.0.maps.weight"].shape[1] for state in (tensors, weights))
    if width != theirs:
        raise CheckpointError(f"no layer of init={source.path} fits model.channels={width}: it has {theirs}")
    shared = [(i, names.index(name)) for i, name in enumerate(scheme.names) if name in names]
    by_name = f"{len(shared)} of {scheme.num_landmarks} landmarks"
    if network.boundary and other.boundary:
        shared.append((scheme.num_landmarks, len(names)))
        by_name += " and the boundary"
    own, others = torch.tensor(shared, dtype=torch.long).reshape(-1, 2).T
    taken = set()
    for name in tensors.keys() & weights.keys():
        value, found = tensors[name], weights[name]
        axis = 0 if ".maps." in name else 1 if name.startswith("merge_maps") and value.ndim > 1 else None  # of the maps
        if axis is not None:
            value.index_copy_(axis, own, found.index_select(axis, others))
            complete = len(shared) == value.shape[axis]
        elif complete := found.shape == value.shape:
            value.copy_(found)
        taken |= {name} if complete else set()
    new = sorted({name.rpartition(".")[0] for name in tensors.keys() - taken})
    count = f"{len(taken)} of {len(tensors)} tensors"
    log.info("%s: %s taken, the maps of %s by name; new: %s", source.path, count, by_name, ", ".join(new) or "nothing")
    return taken


def freeze(network: nn.Module, parts: Sequence[str], taken: Collection[str]) -> None:
    """Freeze the parameters taken from a checkpoint in parts of a network (``stem``, ``stacks.0.hourglass``...)."""
    for part in parts:
        if not any(name.startswith(f"{part}.") for name in taken):
            known = ", ".join(name for name, _ in network.named_children())
            raise ConfigError(f"training.frozen: nothing of {part!r} was taken by init=; parts are {known} and theirs")
    for name, parameter in network.named_parameters():
        if name in taken and name.startswith(tuple(f"{part}." for part in parts)):
            parameter.requires_grad_(False)


def build_trainer(cfg: DictConfig, output: Path) -> pl.Trainer:
    """Build the trainer of a configuration, with callbacks and loggers."""
    callbacks = {name: build(node) for name, node in (cfg.get("callbacks") or {}).items() if node}
    loggers = [build(node) for node in (cfg.get("logger") or {}).values() if node]
    validated = cfg.dataset.val_fraction or OmegaConf.select(cfg, "dataset.reader.val")
    if not validated:  # nothing to rank by: the last checkpoint is the result
        callbacks = {name: made for name, made in callbacks.items() if name not in ("best", "pictures")}
    if not loggers:  # the LearningRateMonitor refuses to run without one
        callbacks.pop("learning_rate", None)
    trainer: pl.Trainer = build(
        cfg.trainer,
        callbacks=list(callbacks.values()),
        logger=loggers,
        enable_progress_bar="progress" in callbacks,  # Lightning would add one of its own
        default_root_dir=str(output),
        plugins=[AtomicCheckpointIO(), *slurm_plugins()],
        **({} if validated else {"limit_val_batches": 0}),
    )
    return trainer


def fastest_precision(accelerator: str) -> str:
    """``bf16-mixed`` if the GPU or CPU (by AVX512_BF16 or AMX) multiplies bfloat16 natively, else ``32-true``."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    cpu: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.10
    return "bf16-mixed" if cpu.get("avx512_bf16") or cpu.get("amx_bf16") else "32-true"


def slurm_plugins() -> list[SLURMEnvironment]:
    """Take ranks from SLURM in its jobs; SLURM or submitit does requeueing, since Lightning's saves mid-step."""
    ours = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()  # torchrun in a job sets its own ranks
    return [SLURMEnvironment(auto_requeue=False)] if ours else []
