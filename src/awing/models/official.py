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
from awing.reading import dense, load_plain


def load_official(state_dict_or_path: Mapping[str, Any] | str | PathLike[str]) -> StackedHourglass:
    """Network with the weights of a checkpoint of the authors' released code.

    Stacks, landmarks, channels and depth are read off the checkpoint. The authors' channel called x varies
    along the rows and ours along the columns, so the weights of x and y, and of B_x and B_y, are exchanged in
    the stem and in each coordinate convolution. Their boundary gate is ``> 0.05`` where ours is ``>=``;
    otherwise the network is the same function. It comes in training mode: call ``eval()`` to predict.

    Args:
        state_dict_or_path: a state dict, or a file that ``torch.save`` wrote of one; either may hold it under
            ``state_dict``, and its keys may start with ``module.``.

    Returns:
        The network on the CPU, in float32, with tensors of its own.

    Raises:
        CheckpointError: the file cannot be read or holds something other than tensors, or the tensors are not
            those of the authors' network; missing, unknown and misshapen ones are named.

    Example:
        >>> load_official("no_such_file.pth")
        Traceback (most recent call last):
        ...
        awing.errors.CheckpointError: no_such_file.pth cannot be read: No such file or directory
    """
    if isinstance(state_dict_or_path, Mapping):
        source = "state dict"
        official = _tensors(state_dict_or_path, source)
    else:
        source = str(state_dict_or_path)
        official = _tensors(load_plain(Path(state_dict_or_path)), source)
        if not dense(official.values(), Path(state_dict_or_path)):
            raise CheckpointError(f"{source}: refused; its tensors claim more numbers than the file holds")
    network = _network_on_meta(official, source)
    names = _official_names(network)
    _check(official, {names[ours]: tensor for ours, tensor in network.state_dict().items()}, source)

    # Files of old PyTorch versions have no num_batches_tracked; every other tensor is there now.
    converted = {ours: official.get(theirs, torch.tensor(0)) for ours, theirs in names.items()}
    converted = _x_and_y_exchanged(converted, network)
    network.to_empty(device="cpu").load_state_dict(converted)
    return network


def to_official(network: StackedHourglass) -> dict[str, Tensor]:
    """State dict of a network in the layout of the authors' released code: what :func:`load_official` undoes.

    Args:
        network: With coordinates and boundary, and boundary coordinates where it has a second stack.

    Raises:
        CheckpointError: the layout has no place for a network without them.

    Example:
        >>> network = StackedHourglass(5, stacks=2, channels=16)
        >>> back = load_official(to_official(network)).state_dict()
        >>> all(torch.equal(back[key], value) for key, value in network.state_dict().items())
        True
    """
    maps, features = network.state_dict()["stacks.0.maps.weight"].shape[:2]
    like = StackedHourglass(maps - 1, len(network.stacks), features, network.depth)
    if {k: v.shape for k, v in like.state_dict().items()} != {k: v.shape for k, v in network.state_dict().items()}:
        raise CheckpointError(
            "the authors' layout holds networks with coordinates, boundary and boundary coordinates only "
            "(model.coord_conv, model.boundary and model.boundary_coords)"
        )
    names = _official_names(network)
    return {names[ours]: tensor.clone() for ours, tensor in _x_and_y_exchanged(network.state_dict(), network).items()}


def _tensors(content: Any, source: str) -> dict[str, Tensor]:
    """State dict in a file's content, without the prefix that DataParallel gives its keys."""
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{source}: expected a state dict (names to tensors) or one under 'state_dict', "
            f"found {type(content).__name__}"
        )
    others = [str(key) for key, value in content.items() if not (isinstance(key, str) and torch.is_tensor(value))]
    if others:
        raise CheckpointError(f"{source}: a state dict names tensors only, found others: {_listed(others)}")
    parallel = all(key.startswith("module.") for key in content)
    return {key.removeprefix("module.") if parallel else key: value for key, value in content.items()}


def _network_on_meta(official: Mapping[str, Tensor], source: str) -> StackedHourglass:
    """Network of the checkpoint's size, without memory for its tensors yet."""
    stacks = {match[1] for key in official if (match := re.match(r"m(\d+)\.", key))}
    levels = {match[1] for key in official if (match := re.match(r"m0\.b1_(\d+)\.", key))}
    maps = official.get("l0.weight")
    if not stacks or not levels or maps is None or maps.ndim != 4:
        raise CheckpointError(
            f"{source}: not the authors' layout, which has m0.b1_1.* and a 4-dimensional l0.weight; "
            f"found {len(official)} keys: {_listed(list(official))}"
        )
    try:
        with torch.device("meta"):
            return StackedHourglass(maps.shape[0] - 1, len(stacks), maps.shape[1], len(levels))
    except (ValueError, RuntimeError) as error:  # RuntimeError: a size that overflows
        raise CheckpointError(f"{source}: l0.weight has the impossible shape {tuple(maps.shape)}") from error


def _official_names(network: StackedHourglass) -> dict[str, str]:
    """Our name of each tensor to the authors'."""
    modules = {"stem.0": "conv1.conv", "stem.1": "bn1"}
    modules |= {"stem.3": "conv2", "stem.5": "conv3", "stem.6": "conv4"}
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
            in_block = re.sub(r"branch(\d)\.0", r"bn\1", key)
            in_block = re.sub(r"branch(\d)\.2", r"conv\1", in_block)
            names[f"{ours}.{key}"] = f"{theirs}.{in_block.replace('shortcut', 'downsample')}"
    return names


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Refuse a checkpoint whose names or shapes are not exactly the authors'."""
    missing = [key for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    unknown = [key for key in found if key not in expected]
    misshapen = [
        f"{key} {tuple(found[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    problems = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(problems.values()):
        named = "; ".join(f"{problem}: {_listed(keys)}" for problem, keys in problems.items() if keys)
        raise CheckpointError(f"{source}: expected exactly the tensors of the authors' network; {named}")


def _listed(keys: list[str], shown: int = 10) -> str:
    return ", ".join(keys[:shown]) + (f" and {len(keys) - shown} more" if len(keys) > shown else "")


def _x_and_y_exchanged(state: Mapping[str, Tensor], network: StackedHourglass) -> dict[str, Tensor]:
    """Weights with the inputs x and y, B_x and B_y exchanged: from the authors' order to ours, and back."""
    exchanged = {**state, "stem.0.weight": _exchange_columns(state["stem.0.weight"], 3, 4)}
    channels = state["stacks.0.maps.weight"].shape[1]
    for i in range(len(network.stacks)):
        key = f"stacks.{i}.coordinates.weight"
        exchanged[key] = _exchange_columns(exchanged[key], channels, channels + 1)
        if i > 0:  # B_x and B_y follow x, y, r
            exchanged[key] = _exchange_columns(exchanged[key], channels + 3, channels + 4)
    return exchanged


def _exchange_columns(weight: Tensor, first: int, second: int) -> Tensor:
    """Convolution weight with two input channels exchanged."""
    columns = list(range(weight.shape[1]))
    columns[first], columns[second] = second, first
    return weight[:, columns]
