"""A network of random weights: its maps depend on every pixel, and no two are alike."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from awing.checkpoint import Checkpoint
from awing.data.images import read_image
from awing.data.readers import read_300w
from awing.data.records import Record
from awing.models import StackedHourglass
from awing.schemes import get_scheme


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = {"stacks": 1, "channels": 16, "depth": 2, "boundary_coords": False}
    codec = {"scheme": asdict(get_scheme("ibug68")), "input_size": 64, "heatmap_size": 16, "decoder": "refined"}
    return Checkpoint(
        path=Path("random.ckpt"),
        config={
            "codec": {"_target_": "awing.codec.HeatmapCodec", **codec},
            "model": {"_target_": "awing.models.StackedHourglass", **model},
            "dataset": {"name": "300w", "crop": "landmarks", "crop_scale": 1.25},
            "trainer": {"precision": "32-true"},
            "matmul_precision": "high",
            "seed": 0,
        },
        held_out={"val_fraction": 0.0, "test_fraction": 0.0, "split_seed": 0, "group": None},
        step=0,
        state_dict=StackedHourglass(68, **model).state_dict(),
    )


@pytest.fixture(scope="session")
def rendered_faces(rendered: Path) -> list[Record]:
    """Five rendered faces with 68 points."""
    return read_300w(rendered / "300w", "train", allow_partial=True).records[:5]


@pytest.fixture(scope="session")
def real_faces(real_data: Path) -> list[Record]:
    """A hundredth of 300-W's faces."""
    return read_300w(real_data / "300w", "train", allow_partial=True).records[::100]


@pytest.fixture(scope="session")
def picture(rendered_faces: list[Record]) -> np.ndarray:
    """A rendered face."""
    return read_image(rendered_faces[0].path)
