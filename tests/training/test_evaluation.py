"""What an evaluation measures beside the scores."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tiny import COUNTS, TINY

from awing.codec import HeatmapCodec
from awing.losses import MSELoss
from awing.models import StackedHourglass
from awing.regressor import LandmarkRegressor
from awing.training.builders import build
from awing.training.evaluation import draw_landmark_maps, frames_per_second


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


def test_landmark_maps_begin_with_the_worst(config, rendered):
    data = build(config("train", *TINY, "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}").dataset)
    data.setup()
    faces, codec = data.dataset("test"), HeatmapCodec("wflw98", 64, 16)
    found = faces[0, 2]["points"][None].clone()
    truth, found[0, 54] = found[0, 54].clone(), found[0, 54] + 12  # px of 64: the tip of the nose

    class Found(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> list[torch.Tensor]:
            return [codec.encode(found, torch.ones(1, 98, dtype=torch.bool))]

    regressor = LandmarkRegressor(Found(), codec, MSELoss(), torch.ones_like, ["inter_ocular"], [])
    first = draw_landmark_maps(regressor, faces, 2)[18:114]  # below the caption
    for panel, point in ((first[:, :96], truth), (first[:, 96:192], found[0, 54])):
        row, column = np.unravel_index(panel.sum(2).argmax(), (96, 96))
        assert np.array([column, row]) == pytest.approx(96 / 64 * point.numpy(), abs=9)  # a map px has 6
