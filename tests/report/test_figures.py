"""The paper's figures: drawn from a command, and right where a number can be known."""

import math

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from tiny import COUNTS, run

from awing.data.images import read_image
from awing.errors import CheckpointError, ConfigError
from awing.losses import AdaptiveWingLoss, L1Loss
from awing.report import figures
from awing.report.redrawing import redraw

FREE = [f"figure{i}.png" for i in (1, 3, 4, 5, 6, 8)]  # of any network


@pytest.fixture(scope="module")
def trained(config, rendered, tmp_path_factory):
    """A checkpoint of each of two losses."""
    folder = tmp_path_factory.mktemp("runs")
    for loss in ("awing", "mse"):
        run(config, rendered, folder / loss, f"loss={loss}", "trainer.max_epochs=1", "test=false")
    return [folder / loss / "checkpoints" / "best.ckpt" for loss in ("awing", "mse")]


def test_figures_of_no_network_are_drawn_and_never_overwritten(config, tmp_path):
    files = redraw(config("figures"), tmp_path)
    assert [file.name for file in files] == FREE
    for file in files:
        height, width, _ = read_image(file).shape
        assert 300 < height < 2500 and 800 < width < 2500
    with pytest.raises(ConfigError, match="choose another output"):
        redraw(config("figures"), tmp_path)


def test_two_networks_give_the_heatmaps_and_the_gallery(config, rendered, trained, tmp_path):
    ours, mse = trained
    words = f"checkpoint={ours}", "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}"
    files = redraw(config("figures", *words), tmp_path / "one")
    assert [file.name for file in files] == [*FREE, "figure10.png"]
    files = redraw(config("figures", *words, f"checkpoint_mse={mse}"), tmp_path / "two")
    assert [file.name for file in files] == [*FREE, "figure2.png", "figure10.png"]
    gallery = read_image(tmp_path / "two" / "figure10.png")
    assert gallery.shape == (640, 1280, 3)  # eight test faces of 320 px, in rows of four
    assert np.array_equal(gallery, read_image(tmp_path / "one" / "figure10.png"))


def test_checkpoints_that_cannot_be_compared_are_refused(config, rendered, trained, tmp_path):
    ours, mse = trained
    words = "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}"
    with pytest.raises(ConfigError, match="checkpoint=PATH"):
        redraw(config("figures", *words, f"checkpoint_mse={mse}"), tmp_path)
    with pytest.raises(CheckpointError, match="AdaptiveWingLoss and AdaptiveWingLoss"):
        redraw(config("figures", *words, f"checkpoint={ours}", f"checkpoint_mse={ours}"), tmp_path)
    with pytest.raises(CheckpointError, match="found none"):
        redraw(config("figures", *words, f"checkpoint={tmp_path / 'none.ckpt'}"), tmp_path)
    assert not list(tmp_path.iterdir())


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
    (_, _, kinds, *_) = figures.pixel_types().axes
    labels = [text.get_text() for text in kinds.get_legend().get_texts()]
    counts = {label.split(":")[0]: int(label.split(":")[1].split()[0].replace(",", "")) for label in labels}
    assert counts["foreground"] == 49 and sum(counts.values()) == 64 * 64
    assert 8 <= counts["difficult background"] <= 20


def test_figure_3_shows_the_shapes_of_the_network():
    texts = {text.get_text() for text in figures.overview().axes[0].texts}
    assert {"HG1", "HG2", "HG3", "HG4", "crop\n3 x 256 x 256", "heatmaps\n98 x 64 x 64"} <= texts
    assert {"CoordConv\n1 x 1\n259 → 256", "CoordConv\n1 x 1\n261 → 256"} <= texts  # x, y, r; then B_x, B_y too


def test_figure_8_gates_the_coordinates_by_the_boundary():
    x, y, mask, bx, by = (axes.images[0].get_array() for axes in figures.coordinates().axes[:5])
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(bx, x * mask) and np.array_equal(by, y * mask)
    assert (x[0, 0], x[0, -1], y[0, 0], y[-1, 0]) == (-1, 1, -1, 1)


def test_drawing_leaves_the_notebooks_own_figures_alone():
    matplotlib.pyplot.close("all")
    figures.losses()
    assert not matplotlib.pyplot.get_fignums()
