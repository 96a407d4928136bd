"""Plots: what a picture says where it has nothing to draw."""

import matplotlib
import pytest
import torch

from awing.visualization.plots import save_ced


@pytest.mark.parametrize(("lowest", "said"), [(0.1234, True), (0.0999, False)])
def test_ced_names_the_lowest_error_beyond_its_axis(tmp_path, lowest, said):
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text stays text
        save_ced(tmp_path / "ced.svg", {"full": torch.tensor([0.5, lowest])}, "of a test")
    assert ("every NME is above 10 %; the lowest is 12.34 %" in (tmp_path / "ced.svg").read_text()) == said
