"""Conversion of the authors' weights, against a second network with their names and row-wise x."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from awing.errors import CheckpointError
from awing.models import StackedHourglass, load_official, to_official

StateDict = dict[str, Tensor]


def conv(name: str, inputs: int, outputs: int, size: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    weight = {f"{name}.weight": (outputs, inputs, size, size)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    vectors = {f"{name}.{key}": (width,) for key in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{name}.num_batches_tracked": ()}


def block(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    widths = [inputs, outputs // 2, outputs // 4, outputs // 4]
    shapes = {}
    for i in (1, 2, 3):
        shapes |= norm(f"{name}.bn{i}", widths[i - 1])
        shapes |= conv(f"{name}.conv{i}", widths[i - 1], widths[i], 3, bias=False)
    if inputs != outputs:
        shapes |= norm(f"{name}.downsample.0", inputs) | conv(f"{name}.downsample.2", inputs, outputs, 1, bias=False)
    return shapes


def official_shapes(stacks: int, maps: int = 6, channels: int = 16, depth: int = 4) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' tensors."""
    c = channels
    shapes = conv("conv1.conv", 6, c // 4, 7) | norm("bn1", c // 4)
    shapes |= block("conv2", c // 4, c // 2) | block("conv3", c // 2, c // 2) | block("conv4", c // 2, c)
    for i in range(stacks):
        shapes |= conv(f"m{i}.coordconv.conv", c + (5 if i else 3), c, 1)
        for level in range(1, depth + 1):
            for branch in ("b1", "b2", "b3"):
                shapes |= block(f"m{i}.{branch}_{level}", c, c)
        shapes |= block(f"m{i}.b2_plus_1", c, c) | block(f"top_m_{i}", c, c)
        shapes |= conv(f"conv_last{i}", c, c, 1) | norm(f"bn_end{i}", c) | conv(f"l{i}", c, maps, 1)
        if i < stacks - 1:
            shapes |= conv(f"bl{i}", c, c, 1) | conv(f"al{i}", maps, c, 1)
    return shapes


def official_state_dict(stacks: int, **sizes: int) -> StateDict:
    """Random weights under the authors' names."""
    generator = torch.Generator().manual_seed(stacks)
    state: StateDict = {}
    for name, shape in official_shapes(stacks, **sizes).items():
        draw = 2 * torch.rand(shape, generator=generator) - 1
        if len(shape) == 4:
            state[name] = draw * (3 / draw[0].numel()) ** 0.5
        elif not shape:
            state[name] = torch.tensor(1000 + len(state))
        else:  # scales and variances lie around 1, biases and means around 0
            state[name] = 1 + draw / 2 if name.endswith(("weight", "running_var")) else draw / 5
    return state


class OfficialNetwork:
    """The authors' network in evaluation mode, written from its description."""

    def __init__(self, state: StateDict, stacks: int, depth: int) -> None:
        self.state, self.stacks, self.depth = state, stacks, depth

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding=weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance, scale, shift = (
            self.state[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / torch.sqrt(variance + 1e-5) * scale + shift).relu()

    def block(self, name: str, x: Tensor) -> Tensor:
        parts = [x]
        for i in (1, 2, 3):
            parts.append(self.conv(f"{name}.conv{i}", self.norm(f"{name}.bn{i}", parts[-1])))
        if f"{name}.downsample.2.weight" in self.state:
            x = self.conv(f"{name}.downsample.2", self.norm(f"{name}.downsample.0", x))
        return torch.cat(parts[1:], dim=1) + x

    def with_coordinates(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        rows, columns = x.shape[2:]
        down = (2 * torch.arange(rows).double() / (rows - 1) - 1)[:, None].repeat(1, columns)
        right = (2 * torch.arange(columns).double() / (columns - 1) - 1)[None].repeat(rows, 1)
        radius = (down**2 + right**2).sqrt()
        added = [down, right, radius / radius.max()]  # what they call x comes first and runs down the rows
        batch = [torch.stack(added).expand(len(x), -1, -1, -1)]
        if maps is not None:
            line = maps[:, -1:].clamp(0, 1) > 0.05
            batch.append(torch.cat([down * line, right * line], dim=1))
        return torch.cat([x, *batch], dim=1)

    def hourglass(self, name: str, level: int, x: Tensor) -> Tensor:
        low = self.block(f"{name}.b2_{level}", F.avg_pool2d(x, 2))
        low = self.hourglass(name, level - 1, low) if level > 1 else self.block(f"{name}.b2_plus_1", low)
        low = self.block(f"{name}.b3_{level}", low)
        return self.block(f"{name}.b1_{level}", x) + low.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def __call__(self, image: Tensor) -> list[Tensor]:
        x = self.norm("bn1", self.conv("conv1.conv", self.with_coordinates(image), stride=2))
        x = self.block("conv4", self.block("conv3", F.avg_pool2d(self.block("conv2", x), 2)))
        outputs: list[Tensor] = []
        for i in range(self.stacks):
            entry = self.conv(f"m{i}.coordconv.conv", self.with_coordinates(x, outputs[-1] if outputs else None))
            head = self.block(f"top_m_{i}", self.hourglass(f"m{i}", self.depth, entry))
            head = self.norm(f"bn_end{i}", self.conv(f"conv_last{i}", head))
            outputs.append(self.conv(f"l{i}", head))
            if i < self.stacks - 1:
                x = x + self.conv(f"bl{i}", head) + self.conv(f"al{i}", outputs[-1])
        return outputs


@pytest.mark.parametrize(("stacks", "channels", "depth"), [(1, 16, 4), (4, 16, 4), (2, 24, 2)])
def test_load_official_is_the_authors_function(stacks: int, channels: int, depth: int) -> None:
    state = official_state_dict(stacks, channels=channels, depth=depth)
    image = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for i in range(stacks):  # shift each boundary map so that about half of it opens the gate
        expected = OfficialNetwork({k: v.double() for k, v in state.items()}, stacks, depth)(image)
        state[f"l{i}.bias"][-1] += 0.0507 - expected[i][:, -1].median()
    expected = OfficialNetwork({k: v.double() for k, v in state.items()}, stacks, depth)(image)
    assert all(0.4 < (maps[:, -1] > 0.05).double().mean() < 0.6 for maps in expected)
    with torch.no_grad():
        found = load_official(state).eval().double()(image)
    # Float32 coordinates (6e-8), amplified by the layers, are the difference that remains.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_load_official_takes_every_kind_of_file(tmp_path: Path) -> None:
    state = official_state_dict(1)
    expected = load_official(state).state_dict()
    parallel = {f"module.{key}": value for key, value in state.items()}
    for i, content in enumerate([state, {"state_dict": state, "epoch": 3}, parallel, {"state_dict": parallel}]):
        path = tmp_path / f"{i}.pth"
        torch.save(content, path)
        for source in (content, path, str(path)):
            found = load_official(source).state_dict()
            assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("key", ["conv1.conv.bias", "m1.b2_plus_1.bn2.running_var", "l1.bias"])
def test_load_official_names_wrong_tensors(key: str) -> None:
    state = official_state_dict(2)
    with pytest.raises(CheckpointError, match=f"1 are missing, unknown or of another shape: {re.escape(key)}$"):
        load_official({k: v for k, v in state.items() if k != key})
    with pytest.raises(CheckpointError, match=f"2 are missing.* {re.escape(key)}, other.{re.escape(key)}$"):
        load_official({"other." + k if k == key else k: v for k, v in state.items()})
    with pytest.raises(CheckpointError, match=f"1 are missing.* {re.escape(key)}$"):
        load_official(state | {key: torch.zeros(3, 1)})
    # 4 levels of 3 convolutions and 3 norms of 4 tensors (step counts may be absent)
    with pytest.raises(CheckpointError, match=rf"{4 * (3 + 3 * 4)} are .* m1.b3_1.bn1.weight, .*, \.\.\.$"):
        load_official({k: v for k, v in state.items() if not k.startswith("m1.b3")})


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"weight": torch.zeros(2)},
        official_state_dict(1) | {"l0.weight": torch.zeros(6, 16)},
        official_state_dict(1) | {"l0.weight": torch.zeros(6, 12, 1, 1)},
        {"state_dict": [1, 2]},
        {1: torch.zeros(2)},
        [torch.zeros(2)],
    ],
)
def test_load_official_refuses_other_contents(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: expected a state dict of the authors' network"):
        load_official(tmp_path / "other.pth")


@pytest.mark.parametrize("without", ["boundary", "coord_conv", "boundary_coords"])
def test_to_official_refuses_other_networks(without: str) -> None:
    network = StackedHourglass(5, stacks=2, channels=16, **{"boundary_coords": False, without: False})
    with pytest.raises(CheckpointError, match="authors' layout holds networks with"):
        to_official(network)
