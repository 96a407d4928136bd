"""Coordinate channels and the boundary gate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.models import append_coordinates, boundary_coordinates, coordinate_channels


@given(height=st.integers(2, 70), width=st.integers(2, 70))
@settings(max_examples=20, deadline=None)
def test_coordinate_channels_are_the_formula(height: int, width: int) -> None:
    x, y, r = coordinate_channels(height, width)
    columns = np.array([2 * i / (width - 1) - 1 for i in range(width)])
    rows = np.array([2 * j / (height - 1) - 1 for j in range(height)])
    radius = np.sqrt(columns[None] ** 2 + rows[:, None] ** 2)
    np.testing.assert_allclose(x.numpy(), np.tile(columns, (height, 1)), atol=1e-6)
    np.testing.assert_allclose(y.numpy(), np.tile(rows[:, None], (1, width)), atol=1e-6)
    np.testing.assert_allclose(r.numpy(), radius / radius.max(), atol=1e-6)
    turned = coordinate_channels(width, height)
    torch.testing.assert_close(torch.stack([y.T, x.T, r.T]), turned, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_boundary_coordinates_by_hand(dtype: torch.dtype) -> None:
    coordinates = torch.tensor([[[-1.0, -0.5, 0.5, 1.0]], [[-0.25, -0.25, 0.75, 0.75]]])
    faces = torch.tensor([[0.05, 0.0495, 0.0505, -3.0], [0.0, 1.0, 7.0, 0.05]], dtype=dtype)
    gated = boundary_coordinates(coordinates, faces[:, None, None])
    assert gated[:, 0, 0].tolist() == [[-1.0, 0.0, 0.5, 0.0], [0.0, -0.5, 0.5, 1.0]]
    assert gated[:, 1, 0].tolist() == [[-0.25, 0.0, 0.75, 0.0], [0.0, -0.25, 0.75, 0.75]]


def test_boundary_coordinates_pass_no_gradient() -> None:
    features = torch.rand(2, 4, 3, 5, requires_grad=True)
    boundary = torch.rand(2, 1, 3, 5, requires_grad=True)
    assert not boundary_coordinates(coordinate_channels(3, 5)[:2], boundary).requires_grad
    append_coordinates(features, boundary).square().sum().backward()
    assert boundary.grad is None
    torch.testing.assert_close(features.grad, 2 * features.detach())


def test_append_coordinates_order_of_channels() -> None:
    features = torch.rand(2, 4, 3, 5)
    boundary = torch.rand(2, 1, 3, 5) - 0.45
    x, y, r = coordinate_channels(3, 5)
    for appended in (append_coordinates(features), append_coordinates(features, boundary)):
        assert torch.equal(appended[:, :4], features)
        assert torch.equal(appended[:, 4:7], torch.stack([x, y, r]).expand(2, 3, 3, 5))
    for face in range(2):
        on_line = boundary[face, 0] >= 0.05
        assert 0 < on_line.sum() < 15
        assert torch.equal(appended[face, 7], x * on_line)
        assert torch.equal(appended[face, 8], y * on_line)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_append_coordinates_keeps_layout_and_dtype(layout: torch.memory_format, dtype: torch.dtype) -> None:
    features = torch.rand(2, 8, 4, 6).to(dtype).contiguous(memory_format=layout)
    maps = torch.rand(2, 3, 4, 6).to(dtype).contiguous(memory_format=layout)
    for appended in (append_coordinates(features), append_coordinates(features, maps[:, -1:])):
        assert appended.dtype == dtype
        assert appended.is_contiguous(memory_format=layout)
