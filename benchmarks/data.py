"""How fast training samples are made, one thread, beside a floor and beside a plain pipeline, all in one run.

    python benchmarks/data.py --data DIR [--faces 200] [--rounds 5]

DIR holds 300w/. Three sources of the same faces: the files of 300-W; photographs of about 4 megapixels (those files
enlarged, written to a temporary folder); the cache of these photographs.

* floor: the fastest decode that the crop permits, and one warp.
* ours: rotation, translation, scale and flip as in the paper (7.3), points and collation; then with photometric
  augmentation; then also with the target maps, which training draws on the device, here in batches on this thread.
* plain: what much public code does per sample: decode all of the picture, cut out the face, resize it, rotate it,
  draw each landmark's Gaussian and each boundary line's distance transform.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy.interpolate import make_interp_spline
from torch.utils.data import default_collate

from awing.codec import HeatmapCodec
from awing.data.augment import Augmentation
from awing.data.cache import CropCache
from awing.data.crops import landmark_box
from awing.data.dataset import LandmarkDataset
from awing.data.images import read_crop, read_image, reduced_to_source, reduction_for
from awing.data.readers import read_300w
from awing.data.records import Record
from awing.schemes import get_scheme

SCHEME, SIZE, MAP, BATCH = get_scheme("ibug68"), 256, 64, 16
CONF = Path(__file__).resolve().parents[1] / "conf"


def photographs(records: list[Record], folder: Path) -> list[Record]:
    """The same faces in pictures of about 4 megapixels."""
    enlarged = []
    for i, record in enumerate(records):
        image = read_image(record.path)
        factor = (4e6 / (image.shape[0] * image.shape[1])) ** 0.5
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        path = folder / f"{i}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(large, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
        enlarged.append(Record(path, (record.points + 0.5) * factor - 0.5, record.labelled))
    return enlarged


def plain_sample(record: Record, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One sample as a loop over its landmarks and lines makes it."""
    image = cv2.cvtColor(cv2.imread(str(record.path)), cv2.COLOR_BGR2RGB)
    box = landmark_box(record)
    side = 1.25 * max(box[2:] - box[:2])
    x, y = ((box[:2] + box[2:]) / 2 - side / 2).round().astype(int)
    pad, side = round(side), round(side)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    crop = cv2.resize(padded[y + pad : y + pad + side, x + pad : x + pad + side], (SIZE, SIZE))
    points = (record.points - (x, y)) * SIZE / side
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-50, 50), rng.uniform(0.85, 1.15))
    turn[:, 2] += rng.uniform(-25, 25, 2)
    crop = cv2.warpAffine(crop, turn, (SIZE, SIZE))
    points = (points @ turn[:, :2].T + turn[:, 2]) * MAP / SIZE
    ys, xs = np.mgrid[:MAP, :MAP]
    maps = [np.exp(-((xs - px) ** 2 + (ys - py) ** 2) / (2 * 1.75**2)) for px, py in points]
    lines = []
    for line in SCHEME.lines:
        spline = make_interp_spline(np.arange(len(line)), points[list(line)], k=min(3, len(line) - 1))
        path = spline(np.linspace(0, len(line) - 1, 200))
        canvas = np.full((MAP, MAP), 255, np.uint8)
        cv2.polylines(canvas, [path.round().astype(np.int32)], False, 0)
        distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)
        lines.append(np.where(distance < 3, np.exp(-(np.minimum(distance, 3) ** 2) / 2), 0))
    image_floats = crop.astype(np.float32).transpose(2, 0, 1) / 255
    return image_floats, np.stack([*maps, np.max(lines, 0)]).astype(np.float32)


def speeds(tasks: dict[str, Callable[[], None]], count: int, rounds: int) -> dict[str, float]:
    """Samples a second of each task: the median over rounds in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return {name: count / statistics.median(values) for name, values in seconds.items()}


def decode(record: Record, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture as small as its crop permits, and its px -> crop px."""
    factor = reduction_for(matrix)
    return read_image(record.path, record.entry, factor), matrix @ reduced_to_source(factor)


def measure(records: list[Record], cache: CropCache | None, augment: Augmentation, rounds: int) -> dict[str, float]:
    """Samples a second of every way and every stage for one source of pictures."""
    geometry = Augmentation(augment.rotation, augment.translation, augment.scale, augment.flip)
    common = (records, SCHEME, SIZE, "landmarks", 1.25, ["inter_ocular"], [])
    ours, painted = LandmarkDataset(*common, geometry, 0, cache), LandmarkDataset(*common, augment, 0, cache)
    codec = HeatmapCodec(SCHEME)
    rng = np.random.default_rng(0)
    pictures = [(picture, matrix @ view) for (picture, view), matrix in zip(ours.pictures, ours.matrices, strict=True)]
    decoded = [decode(picture, matrix) for picture, matrix in pictures]
    crops = [read_crop(picture, matrix, SIZE) for picture, matrix in pictures]
    samples = [ours[0, i] for i in range(len(ours))]

    def batches(dataset: LandmarkDataset, encode: bool = False) -> None:
        for first in range(0, len(dataset), BATCH):
            batch = default_collate([dataset[0, i] for i in range(first, min(first + BATCH, len(dataset)))])
            if encode:
                codec.encode(batch["points"], batch["labelled"])

    def floor() -> None:
        for picture, matrix in pictures:
            image, to_crop = decode(picture, matrix)
            cv2.warpAffine(image, to_crop[:2], (SIZE, SIZE))

    def plain() -> None:
        for first in range(0, len(records), BATCH):
            made = [plain_sample(record, rng) for record in records[first : first + BATCH]]
            default_collate([(torch.from_numpy(image), torch.from_numpy(maps)) for image, maps in made])

    def warp_only() -> None:
        for image, to_crop in decoded:
            cv2.warpAffine(image, to_crop[:2], (SIZE, SIZE))

    tasks: dict[str, Callable[[], object]] = {
        "floor: decode + one warp": floor,
        "ours": lambda: batches(ours),
        "ours + photometric": lambda: batches(painted),
        "ours + photometric + maps": lambda: batches(painted, encode=True),
        "plain": plain,
        "stage: decode": lambda: [decode(picture, matrix) for picture, matrix in pictures],
        "stage: warp": warp_only,
        "stage: photometric": lambda: [augment.apply_photometric(crop, rng) for crop in crops],
        "stage: collate": lambda: [default_collate(samples[i : i + BATCH]) for i in range(0, len(samples), BATCH)],
    }
    return speeds(tasks, len(records), rounds)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds 300w/")
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        augment = instantiate(compose("train", ["augment=paper"]).augment)
    every = read_300w(options.data / "300w", "train", allow_partial=True).records
    records = [every[i] for i in np.random.default_rng(0).choice(len(every), options.faces, replace=False)]
    with tempfile.TemporaryDirectory() as folder:
        large = photographs(records, Path(folder))
        cache = CropCache(Path(folder) / "cache", Path(folder), SIZE, augment.max_extent)
        common = (large, SCHEME, SIZE, "landmarks", 1.25, ["inter_ocular"], [])
        for record, matrix in zip(large, LandmarkDataset(*common).matrices, strict=True):
            cache.write(record, matrix)
        geometry = Augmentation(augment.rotation, augment.translation, augment.scale, augment.flip)
        uncached, cached = LandmarkDataset(*common, geometry), LandmarkDataset(*common, geometry, 0, cache)
        apart = [
            (uncached[0, i]["image"].float() - cached[0, i]["image"].float()).abs().mean().item()
            for i in range(len(large))
        ]
        found = {
            "300-W files": measure(records, None, augment, options.rounds),
            "photographs": measure(large, None, augment, options.rounds),
            "their cache": measure(large, cache, augment, options.rounds),
        }
    print(f"\n{options.faces} faces, {options.rounds} rounds, {SIZE} px, one thread; samples a second\n")
    print("| | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
    for name in found["photographs"]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.0f}" for column in found.values()) + " |")

    ratios = {
        "time of ours / floor (aim: at most 1.3)": ("floor: decode + one warp", "ours"),
        "ours + photometric / plain (aim: at least 10)": ("ours + photometric", "plain"),
        "ours + photometric + maps / plain": ("ours + photometric + maps", "plain"),
    }
    for text, (one, other) in ratios.items():
        print(f"| {text} | " + " | ".join(f"{column[one] / column[other]:.2f}" for column in found.values()) + " |")
    print(
        f"\nCached and uncached samples: {np.mean(apart):.2f} grey levels apart on average, {max(apart):.2f} at most."
    )


if __name__ == "__main__":
    main()
