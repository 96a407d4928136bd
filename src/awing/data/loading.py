"""Data set, sampler and data loader; a sample depends on (seed, epoch, index) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from awing.data.augment import Augmentation, LabelNoise
from awing.data.cache import CropCache
from awing.data.crops import BoxJitter, Crop, record_matrix
from awing.data.images import read_crop
from awing.data.records import Record
from awing.errors import ConfigError, DataError
from awing.geometry import apply
from awing.schemes import Scheme
from awing.schemes.scheme import BOX_NORMALISERS

Key = tuple[int, int]  # (epoch, index)


@dataclass(frozen=True)
class LoaderSettings:
    """Settings of samples and batches, from the groups ``codec``, ``augment`` and ``data`` of the configuration."""

    input_size: int  # side of the crop, px
    augmentation: Augmentation | None = None  # of training samples
    batch_size: int = 16  # over all devices
    num_workers: int = 0  # processes that load samples, per device
    seed: int = 0  # of the training order and the augmentation


class LandmarkDataset(Dataset[dict[str, torch.Tensor]]):
    """Samples of one split; a sample's random augmentation depends on (seed, epoch, index) and nothing else.

    ``dataset[epoch, index]`` is a dictionary with the fields of :class:`awing.arrays.Batch`, without the batch axis.
    On a flip the landmarks exchange their identities: row k of ``points`` is still the scheme's landmark k.

    ``augmentation``, ``cache`` and ``noise`` are for training; noise moves points, but no crop. ``jitter``, which moves
    boxes, and ``mapping`` are for evaluation. A mapping is another scheme, which is predicted, and for each of its
    landmarks the index of the same landmark of ``scheme``, or -1. Crops and normalisers stay those of ``scheme``.
    """

    def __init__(
        self,
        records: Sequence[Record],
        scheme: Scheme,
        size: int,
        crop: Crop,
        crop_scale: float,
        normalisers: Sequence[str],
        subsets: Sequence[str],
        augmentation: Augmentation | None = None,
        seed: int = 0,
        cache: CropCache | None = None,
        noise: LabelNoise | None = None,
        jitter: BoxJitter | None = None,
        mapping: tuple[Scheme, Sequence[int]] | None = None,
    ) -> None:
        self.records, self.scheme, self.size, self.mirrored = records, scheme, size, scheme.flip_permutation
        self.matrices = [record_matrix(record, crop, crop_scale, size) for record in records]
        if jitter:
            self.matrices = [jitter(m, size / crop_scale, size, i) for i, m in enumerate(self.matrices)]
        faces = zip(records, self.matrices, strict=True)
        self.pictures = [cache.picture(r, m) if cache else (r, np.eye(3)) for r, m in faces]
        self.points = [noise(record, scheme) if noise else record.points for record in records]
        self.labelled = [record.labelled for record in records]
        self.normalisers = np.array([[normaliser(r, scheme, name) for name in normalisers] for r in records])
        self.subsets = np.array([[name in r.subsets for name in subsets] for r in records], dtype=bool)
        self.augmentation, self.seed = augmentation, seed
        if augmentation is None:  # these faces will be scored
            _check_normalisers(records, normalisers, self.normalisers)
        if mapping:
            self.scheme, same = mapping[0], np.array(mapping[1])
            self.points = [points[same] for points in self.points]
            self.labelled = [labelled[same] & (same >= 0) for labelled in self.labelled]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> dict[str, torch.Tensor]:
        epoch, index = key
        points, labelled, matrix = self.points[index], self.labelled[index], self.matrices[index]
        picture, view = self.pictures[index]
        if self.augmentation is None:
            crop = read_crop(picture, matrix @ view, self.size)
        else:
            rng = np.random.default_rng([self.seed, epoch, index])
            augment, flip = self.augmentation.draw(self.size, rng)
            if flip:
                points, labelled = points[self.mirrored], labelled[self.mirrored]
            crop = self.augmentation.apply_photometric(read_crop(picture, matrix @ view, self.size, augment), rng)
            matrix = augment @ matrix
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1),
            "points": torch.from_numpy(apply(matrix, points)).float(),
            "labelled": torch.from_numpy(labelled),
            "matrix": torch.from_numpy(matrix),
            "normalisers": torch.from_numpy(self.normalisers[index]),
            "subsets": torch.from_numpy(self.subsets[index]),
            "index": torch.tensor(index),
        }


def normaliser(record: Record, scheme: Scheme, name: str) -> float:
    """Distance in source px by which a face's error is divided; NaN where it is not annotated.

    "box" is the square root of the provided box's area, "box_diagonal" its diagonal, "landmark_box" the square root of
    the area of the labelled landmarks' tight box; the others are distances of the scheme.
    """
    if name == "landmark_box":
        area = np.ptp(record.points[record.labelled], axis=0).prod()
        return float(np.sqrt(area)) if area > 0 else np.nan
    if name not in BOX_NORMALISERS:
        return scheme.normaliser(name, record.points, record.labelled)
    width, height = (np.nan, np.nan) if record.box is None else record.box[2:] - record.box[:2]
    return float(np.sqrt(width * height) if name == "box" else np.hypot(width, height))


class EpochSampler(SequentialSampler):  # Lightning's overfit_batches replaces samplers of other classes
    """Sampler of this process's (epoch, index) pairs; persistent workers learn the epoch from nowhere else.

    Training is shuffled by (seed, epoch) and drops samples that the processes cannot share evenly; evaluation keeps the
    order and pads with repeated samples, which the metrics count once.
    """

    def __init__(self, length: int, shuffle: bool, seed: int = 0) -> None:
        self.length, self.shuffle, self.seed, self.epoch = length, shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch, also after a resume."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Key]:  # type: ignore[override]  # pairs
        rank, world = _rank_and_world()
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.length) if self.shuffle else np.arange(self.length)
        order = np.resize(order, len(self) * world)  # cuts, or repeats from the start
        return ((self.epoch, int(index)) for index in order[rank::world])

    def __len__(self) -> int:
        _, world = _rank_and_world()
        return self.length // world if self.shuffle else -(-self.length // world)


class EpochLoader(DataLoader[Any]):
    """DataLoader that starts its workers at the first batch: on resuming, Lightning sets the epoch after ``iter()``."""

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:  # type: ignore[override]  # a generator, so that it waits
        try:
            yield from super().__iter__()
        except DataError as error:  # from a worker its message comes at the end of a traceback
            raise DataError(str(error).split("DataError: ")[-1].strip()) from None


def make_loader(dataset: LandmarkDataset, settings: LoaderSettings, devices: int, shuffle: bool) -> EpochLoader:
    """Data loader of a data set for one of ``devices`` devices."""
    return EpochLoader(
        dataset, per_device_batch_size(settings.batch_size, devices), drop_last=shuffle,
        sampler=EpochSampler(len(dataset), shuffle, settings.seed), pin_memory=torch.cuda.is_available(),
        num_workers=settings.num_workers, worker_init_fn=limit_threads, collate_fn=collate,
        persistent_workers=settings.num_workers > 0, prefetch_factor=4 if settings.num_workers else None,
    )  # fmt: skip


def per_device_batch_size(batch_size: int, devices: int) -> int:
    """Batch size of one device, from the global batch size."""
    if batch_size < 1 or batch_size % devices:
        raise ConfigError(f"data.batch_size {batch_size} is global: expected a multiple of the {devices} devices")
    return batch_size // devices


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stack samples; images stay channels last in memory, as OpenCV made them: a conversion would take worker time."""
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0] if name != "image"}
    images = torch.stack([sample["image"].movedim(0, -1) for sample in samples])
    return {"image": images.movedim(-1, 1), **batch}


def limit_threads(_: int) -> None:
    """Keep OpenCV in a worker to one thread."""
    cv2.setNumThreads(0)


def _check_normalisers(records: Sequence[Record], names: Sequence[str], values: Float[np.ndarray, "r n"]) -> None:
    """Raise a DataError if a normaliser is not positive, or unlabelled in all faces; faces without one are left out."""
    for record, row in zip(records, values, strict=True):
        no_box = record.box is None and not {"box", "box_diagonal"}.isdisjoint(names)
        if no_box or (row <= 0).any():
            found = dict(zip(names, row.tolist(), strict=True))
            advice = "check its landmarks and box, or name others with dataset.normalisers"
            raise DataError(f"{record.name}: a normaliser must be positive, found {found}; {advice}")
    if len(records) and np.isnan(values).any(1).all():
        raise DataError(f"none of {len(records)} faces has the landmarks of {', '.join(names)} labelled")


def _rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
