"""The authors' released weights, converted to :class:`StackedHourglass`."""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from awing.errors import CheckpointError
from awing.models.hourglass import StackedHourglass


def load_official(state_dict_or_path: Mapping[str, Any] | str | PathLike[str]) -> StackedHourglass:
    """Network with the weights of a checkpoint of the authors' released code.

    Stacks, landmarks, channels and depth are read off the checkpoint. The authors' channel called x varies along the
    rows and ours along the columns, so the weights of x and y, and of B_x and B_y, are exchanged in the stem and in
    each coordinate convolution. The function is the same, except for the boundary gate: ``> 0.05`` there, ``>=`` here.

    Args:
        state_dict_or_path: a state dict, or a file of one, written by ``torch.save``; either may hold it under
            ``state_dict``, and its keys may start with ``module.``.

    Returns:
        The network on the CPU, in float32 and training mode, with tensors of its own.

    Raises:
        CheckpointError: the file cannot be read, or its tensors are not those of the authors' network.

    >>> load_official("no_such_file.pth")
    Traceback (most recent call last):
    ...
    awing.errors.CheckpointError: no_such_file.pth cannot be read: No such file or directory
    """
    if isinstance(state_dict_or_path, Mapping):
        source, content = "state dict", state_dict_or_path
    else:
        source, content = str(state_dict_or_path), _read(Path(state_dict_or_path))
    try:
        official = {key.removeprefix("module."): value for key, value in content.get("state_dict", content).items()}
        network = _network_on_meta(official)
    except (AttributeError, KeyError, ValueError) as error:  # no mapping of names to tensors, or of another network
        raise CheckpointError(f"{source}: expected a state dict of the authors' network (m0.*, l0.*, ...)") from error
    names = _official_names(network)
    expected = {names[ours]: tensor.shape for ours, tensor in network.state_dict().items()}
    # files of old PyTorch versions have no num_batches_tracked
    found = {key: shape for key, shape in expected.items() if key.endswith("num_batches_tracked")}
    found |= {key: getattr(value, "shape", None) for key, value in official.items()}
    if wrong := [key for key in expected | found if expected.get(key) != found.get(key)]:
        problem = f"{len(wrong)} are missing, unknown or of another shape"
        listed = ", ".join(wrong[:5]) + ", ..." * (len(wrong) > 5)
        raise CheckpointError(f"{source}: not exactly the tensors of the authors' network; {problem}: {listed}")
    converted = {ours: official.get(theirs, torch.tensor(0)) for ours, theirs in names.items()}
    network.to_empty(device="cpu").load_state_dict(_exchange_x_and_y(converted, network))
    return network


def to_official(network: StackedHourglass) -> dict[str, Tensor]:
    """State dict of a network in the layout of the authors' released code: the inverse of :func:`load_official`.

    Raises:
        CheckpointError: the network has no coordinates, no boundary, or two stacks and no boundary coordinates.

    >>> network = StackedHourglass(5, stacks=2, channels=16)
    >>> back = load_official(to_official(network)).state_dict()
    >>> all(torch.equal(back[key], value) for key, value in network.state_dict().items())
    True
    """
    if not (network.coord_conv and network.boundary and (network.boundary_coords or len(network.stacks) == 1)):
        needed = "model.coord_conv, model.boundary and model.boundary_coords"
        raise CheckpointError(f"the authors' layout holds networks with all modules only ({needed})")
    names = _official_names(network)
    return {names[ours]: tensor.clone() for ours, tensor in _exchange_x_and_y(network.state_dict(), network).items()}


def _read(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from None
    except Exception as error:  # the unpickler may raise any exception if a file is no checkpoint
        why = f"damaged, not of torch.save, or more than tensors ({type(error).__name__})"
        raise CheckpointError(f"{file} cannot be read as a checkpoint: it is {why}") from error


def _network_on_meta(official: Mapping[str, Tensor]) -> StackedHourglass:
    """Network of the checkpoint's size, without memory for its tensors (on the meta device)."""
    stacks = {match[1] for key in official if (match := re.match(r"m(\d+)\.", key))}
    levels = {match[1] for key in official if (match := re.match(r"m0\.b1_(\d+)\.", key))}
    maps, channels, _, _ = official["l0.weight"].shape
    with torch.device("meta"):
        return StackedHourglass(maps - 1, len(stacks), channels, len(levels))


def _official_names(network: StackedHourglass) -> dict[str, str]:
    """Map our name of each tensor to the authors' name."""
    modules = {"stem.0": "conv1.conv", "stem.1": "bn1", "stem.3": "conv2", "stem.5": "conv3", "stem.6": "conv4"}
    for i in range(len(network.stacks)):
        modules[f"stacks.{i}.coordinates"] = f"m{i}.coordconv.conv"
        level_path = f"stacks.{i}.hourglass"
        for level in range(network.depth, 0, -1):
            modules[f"{level_path}.skip"] = f"m{i}.b1_{level}"
            modules[f"{level_path}.before"] = f"m{i}.b2_{level}"
            modules[f"{level_path}.after"] = f"m{i}.b3_{level}"
            level_path += ".inner"
        modules[level_path] = f"m{i}.b2_plus_1"
        modules[f"stacks.{i}.head.0"] = f"top_m_{i}"
        modules[f"stacks.{i}.head.1"] = f"conv_last{i}"
        modules[f"stacks.{i}.head.2"] = f"bn_end{i}"
        modules[f"stacks.{i}.maps"] = f"l{i}"
    for i in range(len(network.merge_maps)):
        modules[f"merge_features.{i}"] = f"bl{i}"
        modules[f"merge_maps.{i}"] = f"al{i}"

    names = {}
    for ours, theirs in modules.items():
        for key in network.get_submodule(ours).state_dict():
            in_block = re.sub(r"branch(\d)\.2", r"conv\1", re.sub(r"branch(\d)\.0", r"bn\1", key))
            names[f"{ours}.{key}"] = f"{theirs}.{in_block.replace('shortcut', 'downsample')}"
    return names


def _exchange_x_and_y(state: Mapping[str, Tensor], network: StackedHourglass) -> dict[str, Tensor]:
    """Exchange the input channels x and y, B_x and B_y: from the authors' order to ours, and back."""
    channels = state["stacks.0.maps.weight"].shape[1]
    inputs = {"stem.0.weight": [3]}  # index of the channel x; y follows
    for i in range(len(network.stacks)):  # features, x, y, r and, except in the first stack, B_x, B_y
        inputs[f"stacks.{i}.coordinates.weight"] = [channels, channels + 3] if i else [channels]
    exchanged = dict(state)
    for key, firsts in inputs.items():
        order = list(range(state[key].shape[1]))
        for x in firsts:
            order[x], order[x + 1] = x + 1, x
        exchanged[key] = state[key][:, order]
    return exchanged
