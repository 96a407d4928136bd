"""Height of the peaks of trained networks' heatmaps, and the share of their mass that lies where the target's does.

    python benchmarks/heatmaps.py PHOTO.png PICTURE.png RUN [RUN ...]

The RUNs are trainings of one data set and crop, measured on their test faces: of every landmark's map (last stack) the
height of the peak and the share of mass in the pixels where the target is positive. PICTURE shows the maximum over the
maps of each RUN for the largest face that is found in PHOTO.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing import Aligner
from awing.arrays import Batch
from awing.data.images import read_image
from awing.training.engine import build


def main() -> None:
    photo, picture, *runs = sys.argv[1:]
    panels = {}
    print("| | peak: median | below 0.5 | mass in the window: median |\n|---|---|---|---|")
    for run in runs:
        aligner = Aligner.load(Path(run) / "checkpoints" / "best.ckpt", device="cpu", min_confidence=0)
        config = OmegaConf.create(aligner.checkpoint.config)
        name = f"{config.report.row}, seed {config.seed}"
        data = build(config.dataset)
        data.setup("test")
        peaks, shares = measure(aligner, data.test_dataloader())
        print(f"| {name} | {np.median(peaks):.2f} | {np.mean(peaks < 0.5):.0%} | {np.median(shares):.0%} |", flush=True)
        pixels, _ = aligner.prepare(read_image(Path(photo))).crops[0]
        panels["face"] = pixels
        panels[name] = aligner.stacks([pixels])[-1][0, : aligner.scheme.num_landmarks].amax(0)
    figure = Figure(figsize=(2.4 * len(panels), 2.7), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        shown = axes.imshow(np.asarray(values), "magma", vmin=0, vmax=1)
        axes.set(title=name, xticks=[], yticks=[])
    figure.colorbar(shown, ax=figure.axes, shrink=0.8, pad=0.01)
    figure.savefig(picture, dpi=120)


@torch.no_grad()
def measure(aligner: Aligner, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Of every labelled landmark of every face: the height of its map's peak, and the share of mass in the window."""
    peaks, shares = [], []
    for batch in batches:
        labelled, count = batch["labelled"], aligner.scheme.num_landmarks
        window = aligner.codec.encode(batch["points"], labelled)[:, :count] > 0
        maps = aligner.network(batch["image"].float() / 255)[-1][:, :count]
        mass = maps.clamp(min=0)
        share = (mass * window).sum((2, 3)) / mass.sum((2, 3)).clamp(min=1e-9)
        peaks.append(aligner.codec.decode(maps)[1][labelled])
        shares.append(share[labelled])
    return torch.cat(peaks).numpy(), torch.cat(shares).numpy()


if __name__ == "__main__":
    main()
