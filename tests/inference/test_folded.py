"""The folded network is the network, in float64."""

import pytest
import torch
from torch import nn

from awing.inference.export import FoldedNetwork
from awing.models import StackedHourglass


@pytest.mark.parametrize(
    ("coord_conv", "boundary", "boundary_coords"),
    [(True, True, True), (True, True, False), (True, False, False), (False, True, False), (False, False, False)],
)
def test_folded_network_is_the_network(coord_conv, boundary, boundary_coords):
    torch.manual_seed(0)
    network = StackedHourglass(5, 3, 16, 2, coord_conv, boundary, boundary_coords, 0.1).double().eval()
    for module in network.modules():  # else a norm of a fresh network does nothing
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.running_mean, -1, 1), (module.running_var, 0.5, 2), (module.bias, -1, 1)):
                nn.init.uniform_(values, low, high)
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = network(image)
        if boundary_coords:  # half of each gate is open, and no pixel at its edge
            for stack, maps in zip(network.stacks, expected, strict=True):
                stack.maps.bias[-1] += 0.1007 - maps[:, -1].median()
            expected = network(image)
            assert 0.1 < (expected[1][:, -1] >= 0.1).double().mean() < 0.9
        folded = FoldedNetwork(network, 32).double().eval()
        torch.testing.assert_close(folded(image), expected[-1], atol=1e-6, rtol=1e-6)  # coordinates are float32
