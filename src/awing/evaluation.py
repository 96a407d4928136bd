"""What an evaluation leaves behind: metrics.json, per_image.csv, pictures, and a table for people."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer
from torch.utils.data import default_collate

from awing.arrays import Image
from awing.data import LandmarkDataset
from awing.drawing import grid, heatmaps, overlay
from awing.images import save_picture
from awing.plotting import save_ced
from awing.regressor import LandmarkRegressor

CED_LIMIT = 0.10


def write_results(output: Path, regressor: LandmarkRegressor, dataset: LandmarkDataset, about: dict[str, Any]) -> None:
    """Write the results of a finished ``trainer.test`` into a folder.

    Args:
        output: The folder; ``metrics.json``, ``per_image.csv``, ``ced.png``, ``worst.png``, ``overlay.png`` and
            ``heatmaps.png`` go there.
        regressor: Its ``results`` and per-image values are written.
        dataset: The samples that were tested.
        about: What the numbers depend on: data set, split, crop, checkpoint...; stands first in ``metrics.json``.
    """
    output.mkdir(parents=True, exist_ok=True)
    index, nmes, membership = (values.cpu() for values in regressor.per_image)
    names, subsets = regressor.test_nme.normalisers, regressor.test_nme.subsets
    with (output / "per_image.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "image", "subsets", *(f"nme_{name}" for name in names)])
        for i, errors, member in zip(index.tolist(), nmes.tolist(), membership.tolist(), strict=True):
            tags = ";".join(name for name, is_in in zip(subsets, member, strict=True) if is_in)
            writer.writerow([i, dataset.records[i].name, tags, *errors])
    primary = nmes[:, 0]
    curves = {"full": primary} | {name: primary[membership[:, j]] for j, name in enumerate(subsets)}
    curves = {name: scored for name, values in curves.items() if len(scored := values[~values.isnan()])}
    save_ced(output / "ced.png", curves, CED_LIMIT, f"{about['dataset']} {about['split']}, {names[0]}")
    worst = primary.nan_to_num(-1).argsort(descending=True)[:16]
    captions = [f"{100 * primary[i]:.2f} %" for i in worst]
    save_picture(output / "worst.png", draw_faces(regressor, dataset, index[worst].tolist(), captions)["overlay"])
    for name, picture in draw_faces(regressor, dataset, index[:8].tolist()).items():
        save_picture(output / f"{name}.png", picture)
    unfinished = output / "metrics.json.part"  # last and at once: with it, a run is finished
    unfinished.write_text(json.dumps({**about, "subsets": regressor.results}, indent=2) + "\n")
    unfinished.replace(output / "metrics.json")


@torch.no_grad()
def draw_faces(
    regressor: LandmarkRegressor, dataset: LandmarkDataset, index: Iterable[int], captions: Sequence[str] = ()
) -> dict[str, Image]:
    """Predict some faces of a data set and draw them: "overlay" and "heatmaps", a grid each."""
    samples = [dataset[(0, int(i))] for i in index]
    batch = default_collate(samples)
    training = regressor.training
    regressor.eval()
    maps = regressor(batch["image"].to(regressor.device))[-1].float()
    regressor.train(training)
    predicted = regressor.codec.decode(maps)[0].cpu().numpy()
    annotated = torch.where(batch["labelled"][..., None], batch["points"], torch.nan).numpy()
    crops = [np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy()) for sample in samples]
    captions = captions or [""] * len(crops)
    overlays = [
        overlay(crop, p, a, dataset.scheme.lines, caption=text)
        for crop, p, a, text in zip(crops, predicted, annotated, captions, strict=True)
    ]
    rows = [heatmaps(crop, m.cpu().numpy(), regressor.codec.boundary) for crop, m in zip(crops, maps, strict=True)]
    return {"overlay": grid(overlays), "heatmaps": grid(rows, columns=2)}


@torch.no_grad()
def frames_per_second(regressor: LandmarkRegressor, device: torch.device) -> float:
    """Crops a second, one at a time, from pixels on the device to points (paper 10.4.3, Table 12).

    Args:
        regressor: Its network and codec; left on ``device``.
        device: Where it runs.

    Returns:
        The inverse of the median time, over at least two seconds after a warm-up.
    """
    size = regressor.codec.input_size
    image = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)
    timer = Timer(
        "decode(model(image)[-1])",
        globals={"model": regressor.eval().to(device), "decode": regressor.codec.decode, "image": image},
        num_threads=torch.get_num_threads(),
    )
    return 1 / float(timer.blocked_autorange(min_run_time=2).median)


def print_results(about: dict[str, Any], results: dict[str, Any], output: Path) -> None:
    """Print one row per subset and normaliser, the PCK where there is one, and where everything lies."""
    title = f"{about['dataset']} {about['split']}: {results['full']['count']} {about['faces']}, crop {about['crop']}"
    title += ", visible points only" * about.get("visible_only", False)
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("subset", "faces", "normaliser", "NME %", "FR8 %", "FR10 %", "AUC8", "AUC10"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("subset", "normaliser") else "right")
    for subset, values in results.items():
        for name, nme in values["nme"].items():
            fr, auc = values["fr"][name], values["auc"][name]
            table.add_row(
                subset, str(values["count"]), name, f"{100 * nme:.2f}",
                f"{100 * fr['0.08']:.2f}", f"{100 * fr['0.10']:.2f}", f"{auc['0.08']:.4f}", f"{auc['0.10']:.4f}",
            )  # fmt: skip
    Console().print(table)
    if pck := results["full"].get("pck"):
        joints = Table(*pck, title="PCK %, within 0.2 of the torso")
        joints.add_row(*(f"{100 * share:.1f}" for share in pck.values()))
        Console().print(joints)
    if about["found"] != about["expected"]:
        print(f"partial data: {about['found']} of {about['expected']} faces are on disk")
    if "val_nme_last" in about:
        print(f"validation NME: best {100 * about['val_nme_best']:.3f} %, last {100 * about['val_nme_last']:.3f} %")
    if about.get("fps"):
        print(f"frames a second at batch 1: {about['fps']:.1f}")
    print(f"checkpoint: {about['checkpoint']}")
    for name in ("metrics.json", "overlay.png", "heatmaps.png"):
        print(f"{name.split('.')[0]:>10}: {output / name}")
