"""Starting from the weights of another training: what a network takes of them, and what of it stays frozen."""

import logging
from collections.abc import Collection, Sequence

import torch
from torch import nn

from awing.checkpoint import Checkpoint
from awing.data.datamodule import LandmarkDataModule
from awing.errors import CheckpointError, ConfigError
from awing.models import StackedHourglass
from awing.schemes import Scheme

log = logging.getLogger(__name__)


@torch.no_grad()
def take_weights(network: StackedHourglass, scheme: Scheme, source: Checkpoint) -> set[str]:
    """Copy every tensor of a checkpoint that has its name and shape in a network, and log what is new.

    In the layers that make and read the maps, those of landmarks with the same name are copied, and the boundary's.
    Returns the names of the tensors that were taken whole.

    Raises:
        CheckpointError: the networks differ in width, so that no layer fits.
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
    to, of = torch.tensor(shared, dtype=torch.long).reshape(-1, 2).T
    taken = set()
    for name, value in tensors.items():
        found = weights.get(name)
        axis = 1 if name.startswith("merge_maps") and value.ndim > 1 else 0 if ".maps." in name else None  # of the maps
        if found is not None and axis is not None:
            value.index_copy_(axis, to, found.index_select(axis, of))
            fits = len(shared) == value.shape[axis]
        elif fits := found is not None and found.shape == value.shape:
            value.copy_(found)
        taken |= {name} if fits else set()
    new = sorted({name.rpartition(".")[0] for name in tensors.keys() - taken})
    count = f"{len(taken)} of {len(tensors)} tensors"
    log.info("%s: %s taken, the maps of %s by name; new: %s", source.path, count, by_name, ", ".join(new) or "nothing")
    return taken


def freeze(network: nn.Module, parts: Sequence[str], taken: Collection[str]) -> None:
    """Freeze what was taken of some parts of a network (``stem``, ``stacks.0.hourglass``...).

    Raises:
        ConfigError: nothing was taken of a part.
    """
    for part in parts:
        if not any(name.startswith(f"{part}.") for name in taken):
            known = ", ".join(name for name, _ in network.named_children())
            raise ConfigError(f"training.frozen: nothing of {part!r} was taken by init=; parts are {known} and theirs")
    for name, parameter in network.named_parameters():
        if name in taken and name.startswith(tuple(f"{part}." for part in parts)):
            parameter.requires_grad_(False)


def warn_of_seen_faces(source: Checkpoint, datamodule: LandmarkDataModule) -> None:
    """Warn where the checkpoint may have been trained on faces that are held out now."""
    cut, name = datamodule.held_out, datamodule.name
    if source.config["dataset"]["name"] == name and source.held_out != cut:
        log.warning(
            "init=%s was trained on %s with %s held out, now it is %s: what is scored may have been trained on",
            source.path, name, source.held_out, cut,
        )  # fmt: skip
