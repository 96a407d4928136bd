"""Training samples per second of a core, against a floor and a plain pipeline, by stage, and in a DataLoader worker.

    python benchmarks/data.py --data DIR [--faces 200] [--rounds 5] [--sizes 256 128]

DIR holds 300w/. Four sources of the same faces: the files of 300-W; these files as PNG; photographs of about 4
megapixels (the files enlarged, JPEG); the cache of the photographs. Files are written to a temporary folder.

* floor: the fastest decoding that the crop permits, and one warp.
* ours: rotation, translation, scale and flip as in the paper (7.3), points and collation; then with photometric
  augmentation; then also with the target maps, which training draws on the device, here in batches on this thread.
* plain: what much public code does per sample: decode the whole picture, cut out the face, resize it, rotate it,
  draw each landmark's Gaussian and each boundary line's distance transform.
* a DataLoader worker: "ours + photometric" in one, including the transfer of batches.

Time is the processor time of the thread or process, which depends little on other load on the machine.
"""

import argparse
import math
import resource
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
from torch.utils.data import DataLoader

from awing.codec import HeatmapCodec
from awing.data.augment import Augmentation
from awing.data.cache import CropCache
from awing.data.crops import landmark_box
from awing.data.images import read_crop, read_image, read_record, reduced_to_source, reduction_for
from awing.data.loading import LandmarkDataset, collate, limit_threads
from awing.data.readers import read_300w
from awing.data.records import Record
from awing.geometry import apply
from awing.schemes import get_scheme

SCHEME, BATCH = get_scheme("ibug68"), 8  # conf/train.yaml
GPU = 1500  # crops a second that a fast GPU trains on
CONF = Path(__file__).resolve().parents[1] / "conf"


def copies(records: list[Record], folder: Path, suffix: str, megapixels: float | None = None) -> list[Record]:
    """Write the same faces to other files, in pictures of ``megapixels`` if given."""
    made = []
    for i, record in enumerate(records):
        image = cv2.cvtColor(read_image(record.path), cv2.COLOR_RGB2BGR)
        factor = (1e6 * megapixels / (image.shape[0] * image.shape[1])) ** 0.5 if megapixels else 1.0
        path = folder / f"{i}{suffix}"
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), large, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else [])
        made.append(Record(path, (record.points + 0.5) * factor - 0.5, record.labelled))
    return made


def plain_sample(record: Record, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One sample, made by loops over its landmarks and lines."""
    cells = size // 4
    image = cv2.cvtColor(cv2.imread(str(record.path)), cv2.COLOR_BGR2RGB)
    box = landmark_box(record)
    side = 1.25 * max(box[2:] - box[:2])
    x, y = ((box[:2] + box[2:]) / 2 - side / 2).round().astype(int)
    pad, side = round(side), round(side)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    crop = cv2.resize(padded[y + pad : y + pad + side, x + pad : x + pad + side], (size, size))
    points = (record.points - (x, y)) * size / side
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(-50, 50), rng.uniform(0.85, 1.15))
    turn[:, 2] += rng.uniform(-25, 25, 2) * size / 256
    crop = cv2.warpAffine(crop, turn, (size, size))
    points = (points @ turn[:, :2].T + turn[:, 2]) * cells / size
    ys, xs = np.mgrid[:cells, :cells]
    maps = [np.exp(-((xs - px) ** 2 + (ys - py) ** 2) / (2 * 1.75**2)) for px, py in points]
    lines = []
    for line in SCHEME.lines:
        spline = make_interp_spline(np.arange(len(line)), points[list(line)], k=min(3, len(line) - 1))
        path = spline(np.linspace(0, len(line) - 1, 200))
        canvas = np.full((cells, cells), 255, np.uint8)
        cv2.polylines(canvas, [path.round().astype(np.int32)], False, 0)
        distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)
        lines.append(np.where(distance < 3, np.exp(-(np.minimum(distance, 3) ** 2) / 2), 0))
    image_floats = crop.astype(np.float32).transpose(2, 0, 1) / 255
    return image_floats, np.stack([*maps, np.max(lines, 0)]).astype(np.float32)


def speeds(tasks: dict[str, Callable[[], None]], count: int, rounds: int) -> dict[str, float]:
    """Samples per second of processor time of each task: the median over rounds in which the tasks take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            seconds[name].append(time.process_time() - start)
    return {name: count / statistics.median(values) for name, values in seconds.items()}


def decode(record: Record, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode a picture as small as its crop permits; also return the matrix from its px to crop px."""
    factor = reduction_for(matrix)
    return read_record(record, factor), matrix @ reduced_to_source(factor)


def worker_speed(dataset: LandmarkDataset, epochs: int) -> float:
    """Samples per second of a DataLoader worker's processor time, from its start to its end."""
    keys = [(epoch, i) for epoch in range(epochs) for i in range(len(dataset))]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in DataLoader(dataset, BATCH, sampler=keys, num_workers=1, worker_init_fn=limit_threads, collate_fn=collate):
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # of children that have ended
    return len(keys) / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def stages(
    dataset: LandmarkDataset, augment: Augmentation, pictures: list[tuple[Record, np.ndarray]]
) -> dict[str, Callable[[], object]]:
    """The parts of a sample, each over all faces."""
    size, rng, count = dataset.size, np.random.default_rng(0), len(dataset)
    decoded = [decode(picture, matrix) for picture, matrix in pictures]
    crops = [read_crop(picture, matrix, size) for picture, matrix in pictures]
    samples = [dataset[0, i] for i in range(count)]

    def move(i: int) -> None:
        matrix, _ = augment.draw(size, np.random.default_rng([0, 0, i]))
        apply(matrix @ dataset.matrices[i], dataset.points[i])

    return {
        "stage: read and decode": lambda: [decode(picture, matrix) for picture, matrix in pictures],
        "stage: warp": lambda: [cv2.warpAffine(image, to_crop[:2], (size, size)) for image, to_crop in decoded],
        "stage: draw geometry, move points": lambda: [move(i) for i in range(count)],
        "stage: photometric": lambda: [augment.apply_photometric(crop, rng) for crop in crops],
        "stage: collate": lambda: [collate(samples[i : i + BATCH]) for i in range(0, count, BATCH)],
    }


def measure(
    records: list[Record], cache: CropCache | None, augment: Augmentation, size: int, rounds: int
) -> dict[str, float]:
    """Samples per second of every way and every stage for one source of pictures."""
    geometry = Augmentation(augment.rotation, augment.translation, augment.scale, augment.flip)
    common = (records, SCHEME, size, "landmarks", 1.25, ["inter_ocular"], [])
    ours, painted = LandmarkDataset(*common, geometry, 0, cache), LandmarkDataset(*common, augment, 0, cache)
    codec = HeatmapCodec(SCHEME, size, size // 4)
    rng = np.random.default_rng(0)
    pictures = [(picture, matrix @ view) for (picture, view), matrix in zip(ours.pictures, ours.matrices, strict=True)]

    def batches(dataset: LandmarkDataset, encode: bool = False) -> None:
        for first in range(0, len(dataset), BATCH):
            batch = collate([dataset[0, i] for i in range(first, min(first + BATCH, len(dataset)))])
            if encode:
                codec.encode(batch["points"], batch["labelled"])

    def floor() -> None:
        for picture, matrix in pictures:
            image, to_crop = decode(picture, matrix)
            cv2.warpAffine(image, to_crop[:2], (size, size))

    def plain() -> None:
        for first in range(0, len(records), BATCH):
            made = [plain_sample(record, size, rng) for record in records[first : first + BATCH]]
            collate([{"image": torch.from_numpy(image), "maps": torch.from_numpy(maps)} for image, maps in made])

    tasks: dict[str, Callable[[], object]] = {
        "floor: decode + one warp": floor,
        "ours": lambda: batches(ours),
        "ours + photometric": lambda: batches(painted),
        "ours + photometric + maps": lambda: batches(painted, encode=True),
        "plain": plain,
        **stages(ours, augment, pictures),
    }
    found = speeds(tasks, len(records), rounds)  # type: ignore[arg-type]
    return {**found, "a DataLoader worker": worker_speed(painted, rounds)}


def sources(
    records: list[Record], folder: Path, augment: Augmentation, size: int
) -> dict[str, tuple[list[Record], CropCache | None]]:
    """The records of each source, and its cache."""
    large = copies(records, folder, ".jpg", megapixels=4)
    cache = CropCache(folder / f"cache{size}", folder, size, augment.max_extent)
    common = (large, SCHEME, size, "landmarks", 1.25, ["inter_ocular"], [])
    for record, matrix in zip(large, LandmarkDataset(*common).matrices, strict=True):
        cache.write(record, matrix)
    geometry = Augmentation(augment.rotation, augment.translation, augment.scale, augment.flip)
    plain, cached = LandmarkDataset(*common, geometry), LandmarkDataset(*common, geometry, 0, cache)
    pairs = ((plain[0, i]["image"].float(), cached[0, i]["image"].float()) for i in range(len(large)))
    apart = [(one - other).abs().mean().item() for one, other in pairs]
    print(f"{size} px: cached and uncached samples: {np.mean(apart):.2f} grey levels apart, {max(apart):.2f} at most.")
    return {
        "300-W files (JPEG)": (records, None),
        "the same as PNG": (copies(records, folder, ".png"), None),
        "photographs (JPEG)": (large, None),
        "their cache": (large, cache),
    }


def print_table(found: dict[str, dict[str, float]]) -> None:
    """Print samples per second, ratios and numbers of workers, with a column for each source."""
    print("\n| | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
    for name in next(iter(found.values())):
        print(f"| {name} | " + " | ".join(f"{column[name]:.0f}" for column in found.values()) + " |")
    ratios = {
        "time of ours / floor (aim: at most 1.3)": ("floor: decode + one warp", "ours"),
        "ours + photometric / plain (aim: at least 10)": ("ours + photometric", "plain"),
        "ours + photometric + maps / plain": ("ours + photometric + maps", "plain"),
    }
    for text, (one, other) in ratios.items():
        print(f"| {text} | " + " | ".join(f"{column[one] / column[other]:.2f}" for column in found.values()) + " |")
    needed = [str(math.ceil(GPU / column["a DataLoader worker"])) for column in found.values()]
    print(f"| workers for {GPU} samples a second (aim: at most 16) | " + " | ".join(needed) + " |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds 300w/")
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 128], help="side of the crop, px")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        augment = instantiate(compose("train", ["augment=paper"]).augment)
    every = read_300w(options.data / "300w", "train", allow_partial=True).records
    records = [every[i] for i in np.random.default_rng(0).choice(len(every), options.faces, replace=False)]
    print(f"{options.faces} faces, {options.rounds} rounds; samples a second of one core's time\n")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found = sources(records, Path(folder), augment, size)
            print_table({name: measure(*source, augment, size, options.rounds) for name, source in found.items()})


if __name__ == "__main__":
    main()
