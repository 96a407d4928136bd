"""Test a checkpoint on one split, and write the results: numbers, curves and pictures."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer
from torch.utils.data import default_collate

from awing.arrays import Image
from awing.checkpoint import Checkpoint
from awing.data.crops import BoxJitter
from awing.data.datamodule import LandmarkDataModule
from awing.data.images import read_image, save_picture
from awing.data.loading import LandmarkDataset
from awing.errors import ConfigError
from awing.losses import MSELoss
from awing.regressor import LandmarkRegressor
from awing.training.resume import flat, write_rows
from awing.visualization.overlays import grid, landmark_maps, overlay, pooled_maps
from awing.visualization.plots import save_box_jitter, save_ced


def run_test(
    trainer: pl.Trainer,
    datamodule: LandmarkDataModule,
    regressor: LandmarkRegressor,
    checkpoint: Checkpoint,
    output: Path,
    fps: bool = False,
    training: Mapping[str, Any] | None = None,
    faces: Sequence[int] = (),
    heatmaps: bool = False,
) -> dict[str, Any]:
    """Test a checkpoint's regressor on the split that the data module names; write and print the results.

    ``training`` holds results of a training that has just ended. ``faces`` are drawn (by default the first eight), with
    ``heatmaps`` also their maps one by one. Returns the content of ``metrics.json``.
    """
    datamodule.setup("test")  # which may need no training faces
    dataset = datamodule.dataset(datamodule.split)
    faces = faces or range(min(8, len(dataset)))
    if max(faces) >= len(dataset):
        raise ConfigError(f"faces={faces}: expected indices of the {len(dataset)} faces, from 0")
    trainer.test(regressor, datamodule=datamodule, verbose=False)
    annotations = datamodule.annotations[datamodule.split]
    about = {
        "dataset": datamodule.name, "split": datamodule.split, "faces": datamodule.origin(datamodule.split),
        "crop": datamodule.crop, "crop_scale": datamodule.crop_scale, "decoder": regressor.codec.decoder,
        "flip_test": regressor.flip_test, "precision": trainer.precision, "checkpoint": str(checkpoint.path),
        "seed": checkpoint.config["seed"], **datamodule.held_out, **(training or {}),
        "expected": annotations.expected, "found": len(annotations.records), "commit": _commit(),
    }  # fmt: skip
    if datamodule.mapping:
        about["landmarks"] = sum(i >= 0 for i in datamodule.mapping[1])
    if datamodule.left_out:
        about["left_out"] = datamodule.left_out
    if datamodule.visible_only is not None:
        about["visible_only"] = datamodule.visible_only
    if fps:
        about |= frames_per_second(regressor, trainer)
    if trainer.is_global_zero:
        pictures = draw_faces(regressor, dataset, faces)
        if heatmaps:
            pictures |= {f"heatmaps/{face}": draw_landmark_maps(regressor, dataset, face) for face in faces}
        for name, picture in pictures.items():
            save_picture(output / f"{name}.png", picture)
        write_results(output, regressor, dataset, about)
        log_results(trainer, regressor.results, output)
        print_results(about, regressor.results, output)
    return {**about, "subsets": regressor.results}


def run_jittered(
    jitters: Mapping[tuple[str, float], BoxJitter],
    trainer: pl.Trainer,
    datamodule: LandmarkDataModule,
    regressor: LandmarkRegressor,
    output: Path,
) -> None:
    """Test again with boxes that are moved or resized; write ``box_jitter.csv`` and ``box_jitter.png``."""
    rows = []
    for (kind, amount), jitter in jitters.items():
        datamodule.jitter = jitter
        trainer.test(regressor, datamodule=datamodule, verbose=False)
        rows.append({"kind": kind, "amount": amount, **regressor.results["full"]["nme"]})
    if trainer.is_global_zero:
        write_rows(output / "box_jitter.csv", list(rows[0]), rows)
        title = f"{datamodule.name} {datamodule.split}, crop {datamodule.crop}"
        save_box_jitter(output / "box_jitter.png", rows, title)
        print(f"box jitter: {output / 'box_jitter.csv'}, {output / 'box_jitter.png'}")


def regressor_from_checkpoint(
    checkpoint: Checkpoint, datamodule: LandmarkDataModule, decoder: str | None = None, flip_test: bool = False
) -> LandmarkRegressor:
    """The checkpoint's network with the metrics of a data set; if no decoder is named, that of the training is used."""
    return LandmarkRegressor(
        checkpoint.network(), checkpoint.codec(decoder), MSELoss(), torch.ones_like,  # a test computes no loss
        datamodule.normalisers, datamodule.subsets, flip_test=flip_test,
    )  # fmt: skip


def write_results(output: Path, regressor: LandmarkRegressor, dataset: LandmarkDataset, about: dict[str, Any]) -> None:
    """Write the results of a finished ``trainer.test``: numbers, errors of each face, CED, worst faces.

    ``metrics.json``, which begins with ``about``, is written last and atomically: it marks a run as finished.
    """
    output.mkdir(parents=True, exist_ok=True)
    index, nmes, membership = (values.cpu() for values in regressor.per_image)
    names, subsets = regressor.nme.normalisers, regressor.nme.subsets
    columns, rows = ["index", "image", "subsets", *(f"nme_{name}" for name in names)], []
    for i, errors, member in zip(index.tolist(), nmes.tolist(), membership.tolist(), strict=True):
        tags = ";".join(compress(subsets, member))
        rows.append(dict(zip(columns, [i, dataset.records[i].name, tags, *errors], strict=True)))
    write_rows(output / "per_image.csv", columns, rows)
    primary = nmes[:, 0]
    curves = {"full": primary} | {name: primary[membership[:, j]] for j, name in enumerate(subsets)}
    curves = {name: scored for name, values in curves.items() if len(scored := values[~values.isnan()])}
    save_ced(output / "ced.png", curves, f"{about['dataset']} {about['split']}, {names[0]}")
    worst = primary.nan_to_num(-1).argsort(descending=True)[:16]
    captions = [f"{index[i]}: {100 * primary[i]:.2f} %" for i in worst]
    save_picture(output / "worst.png", draw_faces(regressor, dataset, index[worst].tolist(), captions)["overlay"])
    part = output / "metrics.json.part"
    part.write_text(json.dumps({**about, "subsets": regressor.results}, indent=2) + "\n")
    part.replace(output / "metrics.json")


@torch.no_grad()
def draw_faces(
    regressor: LandmarkRegressor, dataset: LandmarkDataset, index: Iterable[int], captions: Sequence[str] = ()
) -> dict[str, Image]:
    """Predict some faces of a data set and draw them: "overlay" and "heatmaps", a grid each."""
    samples = [dataset[(0, int(i))] for i in index]
    batch = default_collate(samples)
    maps = regressor.predict(batch["image"].to(regressor.device))[-1].float()
    predicted = regressor.codec.decode(maps)[0].cpu().numpy()
    annotated = torch.where(batch["labelled"][..., None], batch["points"], torch.nan).numpy()
    crops = [np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy()) for sample in samples]
    overlays = [
        overlay(crop, p, a, dataset.scheme.lines, caption=text)
        for crop, p, a, text in zip(crops, predicted, annotated, captions or [""] * len(crops), strict=True)
    ]
    rows = [pooled_maps(crop, m.cpu().numpy(), regressor.codec.boundary) for crop, m in zip(crops, maps, strict=True)]
    return {"overlay": grid(overlays), "heatmaps": grid(rows, columns=2)}


@torch.no_grad()
def draw_landmark_maps(regressor: LandmarkRegressor, dataset: LandmarkDataset, index: int) -> Image:
    """Draw a face's maps one by one: the target and every stack's prediction of each landmark, the worst first.

    The captions are the landmark's number, error in percent of the first normaliser, and peak height.
    """
    batch = default_collate([dataset[0, index]])
    stacks = [maps.float() for maps in regressor.predict(batch["image"].to(regressor.device))]
    points, peaks = (values[0].cpu() for values in regressor.codec.decode(stacks[-1]))
    distance = batch["matrix"][0, :2, 0].norm() * batch["normalisers"][0, 0]  # in crop px
    errors = (points - batch["points"][0]).norm(dim=1) / distance
    order = errors.where(batch["labelled"][0], -1).argsort(descending=True).tolist()
    captions = {k: f"{k}  {100 * errors[k]:.1f} %  {peaks[k]:.2f}" for k in order}
    target = regressor.codec.encode(batch["points"], batch["labelled"])
    crop = np.ascontiguousarray(batch["image"][0].permute(1, 2, 0).numpy())
    return landmark_maps(crop, [maps[0].cpu().numpy() for maps in (target, *stacks)], captions)


def log_picture(trainer: pl.Trainer, name: str, picture: Image) -> None:
    """Log a picture to the loggers that support pictures."""
    step = trainer.global_step - 1  # the last step that was made, as for metrics
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")


def log_results(trainer: pl.Trainer, results: Mapping[str, Any], output: Path) -> None:
    """Log all metrics and pictures of a test to the loggers that support pictures; for the others there are files."""
    metrics = {f"test/{key}": value for key, value in flat(results, separator="/").items()}
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger | TensorBoardLogger):
            logger.log_metrics(metrics, step=trainer.global_step - 1)
    for name in ("ced", "overlay", "heatmaps", "worst"):
        log_picture(trainer, f"test/{name}", read_image(output / f"{name}.png"))


@torch.no_grad()
def frames_per_second(regressor: LandmarkRegressor, trainer: pl.Trainer) -> dict[str, Any]:
    """Crops per second at batch 1, from pixels to points: the inverse of the median time (Table 12); and the device."""
    device, size, threads = trainer.strategy.root_device, regressor.codec.input_size, torch.get_num_threads()
    image = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)
    regressor.to(device)

    def points() -> None:
        with trainer.precision_plugin.forward_context():  # each time: autocast keeps converted weights till its end
            maps = regressor.predict(image)[-1]
        regressor.codec.decode(maps)

    timer = Timer("points()", globals={"points": points}, num_threads=threads)
    rate = 1 / float(timer.blocked_autorange(min_run_time=2).median)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"fps": rate, "fps_device": name, "fps_threads": threads, "fps_precision": trainer.precision}


def print_results(about: dict[str, Any], results: dict[str, Any], output: Path) -> None:
    """Print one row per subset and normaliser, the PCK if there is one, and the paths of the results."""
    title = f"{about['dataset']} {about['split']}: {results['full']['count']} {about['faces']}, crop {about['crop']}"
    title += ", averaged with the mirrored crop" * about["flip_test"]
    title += ", visible points only" * about.get("visible_only", False)
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("subset", "faces", "normaliser", "NME %", "FR8 %", "FR10 %", "AUC8", "AUC10"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("subset", "normaliser") else "right")
    for subset, values in results.items():
        for name, nme in values["nme"].items():
            percent = [f"{100 * share:.2f}" for share in (nme, *values["fr"][name].values())]
            areas = [f"{area:.4f}" for area in values["auc"][name].values()]
            table.add_row(subset, str(values["count"]), name, *percent, *areas)
    Console().print(table)
    if pck := results["full"].get("pck"):
        print("PCK %, within 0.2 of the torso: " + ", ".join(f"{name} {100 * x:.1f}" for name, x in pck.items()))
    found, expected, unscored = about["found"], about["expected"], about["found"] - results["full"]["count"]
    notes = {
        f"partial data: {found} of {expected} faces are on disk": found != expected,
        f"not scored: {unscored} faces, whose {' or '.join(results['full']['nme'])} is not labelled": unscored,
        f"left out: {about.get('left_out')} annotated faces of the data set that cannot be used": "left_out" in about,
        "no best.ckpt by validation: last.ckpt is tested": "trained" in about and "last.ckpt" in about["checkpoint"],
    }
    print(*(f"{note}\n" for note, holds in notes.items() if holds), sep="", end="")
    if validated := [name for name in ("best", "last") if f"val_nme_{name}" in about]:
        print("validation NME: " + ", ".join(f"{name} {100 * about[f'val_nme_{name}']:.3f} %" for name in validated))
    if "fps" in about:
        print(f"frames a second at batch 1: {about['fps']:.1f} ({about['fps_device']}, {about['fps_precision']})")
    print(f"checkpoint: {about['checkpoint']}")
    for name in ("metrics.json", "overlay.png", "heatmaps.png"):
        print(f"{name.split('.')[0]:>10}: {output / name}")


def _commit() -> str | None:
    """The commit of this code, with "-dirty" if it has changed since; None outside a clone."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
