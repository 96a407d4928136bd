"""The network: size, configurations, shapes, gradients, memory formats and compilation."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from awing.models import StackedHourglass

# The rows of the paper's Table 7 that differ in the network.
BASELINE = {"coord_conv": False, "boundary": False, "boundary_coords": False}
B = {"coord_conv": False, "boundary": True, "boundary_coords": False}
C = {"coord_conv": True, "boundary": False, "boundary_coords": False}
B_C = {"coord_conv": True, "boundary": True, "boundary_coords": False}
B_C_CB = {"coord_conv": True, "boundary": True, "boundary_coords": True}
CONFIGURATIONS = [BASELINE, B, C, B_C, B_C_CB]


def tiny(seed: int = 0, **options: Any) -> StackedHourglass:
    torch.manual_seed(seed)
    return StackedHourglass(**{"num_landmarks": 5, "stacks": 2, "channels": 16, "depth": 2} | options)


def parameters(*args: Any, **options: Any) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in StackedHourglass(*args, **options).parameters())


@pytest.mark.parametrize(
    ("landmarks", "stacks", "millions"),
    [(98, 1, 6.334), (98, 2, 12.273), (98, 3, 18.213), (98, 4, 24.153), (68, 4, 24.099), (29, 4, 24.029)],
)
def test_number_of_parameters_is_the_published_one(landmarks: int, stacks: int, millions: float) -> None:
    assert round(parameters(landmarks, stacks) / 1e6, 3) == millions


def test_number_of_multiplications_is_the_published_one() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        StackedHourglass(98)(torch.empty(1, 3, 256, 256))
    assert round(counter.get_total_flops() / 2e9, 2) == 26.71


def test_number_of_parameters_of_each_module_of_table_7() -> None:
    baseline, b, c, b_c, b_c_cb = (parameters(98, **configuration) for configuration in CONFIGURATIONS)
    assert round(baseline / 1e6, 3) == 23.874
    # B: one more map out of 256 channels and a bias in 4 stacks, and back into 256 channels between them.
    assert b - baseline == 4 * (256 + 1) + 3 * 256
    # C: three more inputs of the 7x7 stem of 64 channels, and a 1x1 from 259 to 256 with bias in 4 stacks.
    assert c - baseline == 3 * 64 * 49 + 4 * (259 * 256 + 256)
    assert b_c - b == c - baseline
    # CB: two more inputs of the 1x1 in stacks 2, 3 and 4.
    assert b_c_cb - b_c == 3 * 2 * 256


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_channels_of_each_configuration(configuration: dict[str, bool]) -> None:
    network = tiny(stacks=3, **configuration)
    stem = [weight.shape[1] for name, weight in network.named_parameters() if name == "stem.0.weight"]
    assert stem == [6 if configuration["coord_conv"] else 3]
    coordinates = [weight.shape[1] for name, weight in network.named_parameters() if "coordinates.weight" in name]
    later = 16 + (5 if configuration["boundary_coords"] else 3)
    assert coordinates == ([16 + 3, later, later] if configuration["coord_conv"] else [])
    maps = network(torch.rand(2, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 5 + configuration["boundary"], 8, 8)] * 3


@pytest.mark.parametrize(
    ("stacks", "depth", "channels", "rows", "columns"), [(1, 1, 24, 1, 1), (2, 3, 16, 2, 3), (4, 2, 8, 3, 1)]
)
def test_sizes_that_the_hourglass_can_halve(stacks: int, depth: int, channels: int, rows: int, columns: int) -> None:
    unit = 4 * 2**depth
    network = tiny(stacks=stacks, depth=depth, channels=channels)
    maps = network(torch.rand(2, 3, rows * unit, columns * unit))
    assert [tuple(m.shape) for m in maps] == [(2, 6, rows * unit // 4, columns * unit // 4)] * stacks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stacks": 0}, "expected at least 1, found .*stacks=0"),
        ({"channels": 20}, "multiple of 8, found 20"),
        ({"boundary": False}, "boundary_coords needs boundary=True"),
        ({"coord_conv": False}, "boundary_coords needs .* coord_conv=True"),
    ],
)
def test_arguments_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)


@pytest.mark.parametrize("shape", [(1, 3, 24, 32), (1, 3, 32, 24), (1, 4, 32, 32)])
def test_other_images_are_refused(shape: tuple[int, ...], unchecked: None) -> None:
    with pytest.raises(ValueError, match=rf"RGB .* multiples of 16 .* found {re.escape(str(shape))}"):
        tiny()(torch.rand(shape))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_last_output_trains_every_parameter(configuration: dict[str, bool]) -> None:
    # Without batch statistics, which cancel the biases in front of them.
    network = tiny(stacks=3, **configuration).eval()
    network(torch.rand(2, 3, 32, 32))[-1].square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_boundary_map_gates_the_next_stack() -> None:
    """Only through B_x and B_y can a boundary map reach the next stack once the merge ignores it."""
    network = tiny().eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        network.merge_maps[0].weight[:, -1] = 0
        boundary_bias = network.stacks[0].maps.bias
        results = {}
        for bias in (-100.0, 100.0, 200.0):
            boundary_bias[-1] = bias
            results[bias] = network(image)[1]
    assert torch.equal(results[100.0], results[200.0])
    assert not torch.allclose(results[-100.0], results[100.0])


def test_channels_last_is_kept_and_changes_nothing() -> None:
    network = tiny(stacks=3).eval()
    image = torch.rand(2, 3, 32, 48)
    expected = network(image)
    assert all(maps.is_contiguous() for maps in expected)

    formats: list[bool] = []

    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        formats.append(all(t.is_contiguous(memory_format=torch.channels_last) for t in (args[0], output)))

    network.to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(record)
    found = network(image.contiguous(memory_format=torch.channels_last))
    assert len(formats) > 100
    assert all(formats)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_bfloat16_autocast_stays_close_to_float32() -> None:
    # Without the gate, which is a step: rounding may put a pixel on its other side.
    network = tiny(boundary_coords=False).eval()
    image = torch.rand(2, 3, 32, 32)
    expected = network(image)[-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(image)[-1]
    assert found.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits (0.4 %); a few dozen layers add that up.
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()


def test_compiles_and_exports_with_any_batch(unchecked: None) -> None:
    network = StackedHourglass(5, stacks=2, channels=8, depth=1).eval()
    image, larger = torch.rand(2, 3, 16, 24), torch.rand(5, 3, 16, 24)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")  # a break of the graph is an error
    torch.testing.assert_close(compiled(image), network(image))
    batch = {"image": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(network, (image,), dynamic_shapes=batch).module()
    torch.testing.assert_close(exported(larger), network(larger))
