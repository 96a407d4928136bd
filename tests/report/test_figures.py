"""The paper's figures: drawn from a command, and right where a number can be known."""

import json
import math

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny import COUNTS, TINY

from awing.checkpoint import Checkpoint
from awing.data.images import read_image, save_picture
from awing.errors import CheckpointError, ConfigError
from awing.losses import AdaptiveWingLoss, L1Loss
from awing.report import figures
from awing.training.builders import build


@pytest.fixture(scope="module")
def networks(config, tmp_path_factory):
    """Checkpoints of two losses, and one of another crop."""
    folder, files = tmp_path_factory.mktemp("networks"), {}
    for name, words in {"awing": [], "mse": ["loss=mse"], "far": ["loss=mse", "dataset.crop_scale=1.5"]}.items():
        cfg = config("train", "dataset=synthetic", "dataset.crop_scale=1.25", *TINY, *words)
        weights = build(cfg.model, num_landmarks=98).state_dict()
        held_out = {"val_fraction": 0.1, "test_fraction": 0.0, "split_seed": 0, "group": None}
        files[name] = folder / f"{name}.safetensors"
        Checkpoint(files[name], OmegaConf.to_container(cfg, resolve=True), held_out, 0, weights).write(files[name])
    return files


def test_redraw_draws_all_that_checkpoints_and_evaluations_allow(config, rendered, networks, tmp_path):
    counts = {"cofw": 8, "synthetic": 2, "300w": 4}  # faces that were drawn
    for name, count in counts.items():
        overlay = np.full((320 * -(-count // 4), 320 * min(count, 4), 3), 10 * count, np.uint8)
        save_picture(tmp_path / name / "overlay.png", overlay)
        about = {"dataset": name, "split": "test", "crop": "landmarks", "subsets": {"full": {"nme": {"box": 0.05}}}}
        (tmp_path / name / "metrics.json").write_text(json.dumps(about))
    words = ["dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}", "faces=[1,5]"]
    words += [f"checkpoints=[{networks['awing']},{networks['mse']}]"]
    words += [f"evaluations=[{','.join(str(tmp_path / name) for name in counts)}]"]
    output = tmp_path / "out"
    files = figures.redraw(config("figures", *words), output)
    assert [file.name for file in files] == [f"figure{i}.png" for i in (1, 2, 3, 4, 5, 6, 8, 9, 10)]
    for file in files[:7]:
        height, width, _ = read_image(file).shape
        assert 300 < height < 2500
        assert 800 < width < 2500
    nine, ten = read_image(files[7]), read_image(files[8])
    assert nine.shape == (18 + 640 + 18 + 320, 1280, 3)  # COFW's two rows, then 300-W's one, each under a caption
    assert [nine[y, 0, 0] for y in (18, 657, 658, 676)] == [80, 80, 0, 40]
    assert [ten[18, x, 0] for x in (0, 639, 640)] == [20, 20, 0]
    with pytest.raises(ConfigError, match="choose another output"):
        figures.redraw(config("figures"), output)


def test_redraw_refuses_what_does_not_compare(config, networks, tmp_path):
    words = ["dataset=synthetic", *COUNTS]
    with pytest.raises(ConfigError, match=f"src/evaluate.py wrote, found {tmp_path}"):
        figures.redraw(config("figures", f"evaluations=[{tmp_path}]"), tmp_path)
    for pair, found in {
        ("mse", "mse"): "MSELoss, MSELoss",
        ("awing", "far"): r"1\.25.* and .*1\.5|1\.25.*, .*1\.5",
    }.items():
        both = f"checkpoints=[{','.join(str(networks[name]) for name in pair)}]"
        with pytest.raises(CheckpointError, match=found):
            figures.redraw(config("figures", *words, both), tmp_path)
    assert not list(tmp_path.glob("figure*"))


def test_influence_is_the_derivative_by_the_prediction():
    """At y = 1 the exponent is 1.1: the derivative of 14 ln(1 + d^1.1) is 15.4 d^0.1 / (1 + d^1.1)."""
    error = torch.tensor([-0.3, 0.0, 0.2], dtype=torch.float64)
    values, gradient = figures.influence(AdaptiveWingLoss(), error, torch.ones_like(error))
    assert values.tolist() == pytest.approx([14 * math.log1p(abs(d) ** 1.1) for d in error.tolist()])
    expected = [math.copysign(15.4 * abs(d) ** 0.1 / (1 + abs(d) ** 1.1), d) if d else 0 for d in error.tolist()]
    assert gradient.tolist() == pytest.approx(expected)
    assert figures.influence(L1Loss(), error, torch.ones_like(error))[1].tolist() == [-1, 0, 1]


def test_figure_1_counts_the_pixels_of_each_type():
    """A 7 x 7 Gaussian has 49 pixels of foreground, wherever between the pixels its centre is."""
    axes = figures.pixel_types().axes[3]
    foreground, difficult = (int(line.split()[-2]) for line in axes.get_xlabel().splitlines())
    types = np.asarray(axes.images[0].get_array())
    assert foreground == 49 == (types == 1).sum()
    assert 8 <= difficult == (types == 0.5).sum() <= 20


def test_figure_3_shows_the_shapes_of_the_network():
    texts = {text.get_text() for text in figures.overview().axes[0].texts}
    assert {"HG1", "HG2", "HG3", "HG4", "crop\n3 x 256 x 256", "heatmaps\n98 x 64 x 64"} <= texts
    assert {"CoordConv\n1 x 1\n259 → 256", "CoordConv\n1 x 1\n261 → 256"} <= texts  # x, y, r; then B_x, B_y too


def test_figure_8_gates_the_coordinates_by_the_boundary():
    x, y, mask, bx, by = (axes.images[0].get_array() for axes in figures.coordinates().axes[:5])
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(bx, x * mask)
    assert np.array_equal(by, y * mask)
    assert (x[0, 0], x[0, -1], y[0, 0], y[-1, 0]) == (-1, 1, -1, 1)


def test_drawing_leaves_the_figures_of_a_notebook_alone():
    matplotlib.pyplot.close("all")
    figures.losses()
    assert not matplotlib.pyplot.get_fignums()
