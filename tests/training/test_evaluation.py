"""What an evaluation measures beside the scores."""

import pytest
import pytorch_lightning as pl
import torch

from awing.codec import HeatmapCodec
from awing.losses import MSELoss
from awing.models import StackedHourglass
from awing.regressor import LandmarkRegressor
from awing.training.evaluation import frames_per_second


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_frames_per_second_are_of_the_precision_beside_them(precision, dtype):
    network = StackedHourglass(68, stacks=1, channels=8, depth=2, boundary_coords=False)
    found = set()
    network.stacks[0].maps.register_forward_hook(lambda module, inputs, output: found.add(output.dtype))
    regressor = LandmarkRegressor(network, HeatmapCodec("ibug68", 64, 16), MSELoss(), torch.ones_like, ["box"], [])
    trainer = pl.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    about = frames_per_second(regressor, trainer)
    assert found == {dtype}
    assert about.pop("fps") > 1
    assert about == {"fps_device": "cpu", "fps_threads": torch.get_num_threads(), "fps_precision": precision}
