"""In which order samples are loaded, and in which batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, SequentialSampler

from awing.data.augment import Augmentation
from awing.data.dataset import Key
from awing.errors import ConfigError, DataError


@dataclass(frozen=True)
class LoaderSettings:
    """How samples are made and batched: from the groups ``codec``, ``augment`` and ``data`` of the configuration."""

    input_size: int  # side of the crop, px
    augmentation: Augmentation | None = None  # of training samples
    batch_size: int = 16  # over all devices
    num_workers: int = 0  # processes that load samples, per device
    seed: int = 0  # of the training order and the augmentation


class EpochSampler(SequentialSampler):  # overfit_batches would replace one of another class
    """Yield (epoch, index), this process's share; persistent workers learn the epoch from nowhere else.

    Training shuffles by (seed, epoch) and drops what does not fill a round over the processes; evaluation keeps the
    order and pads with repeats, which the metrics count once.

    >>> sampler = EpochSampler(3, shuffle=False)
    >>> sampler.set_epoch(7)
    >>> list(sampler)
    [(7, 0), (7, 1), (7, 2)]
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
    """Start the workers with the first batch: Lightning, resuming, makes the iterator before it sets the epoch."""

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:  # type: ignore[override]  # a generator, so that it waits
        try:
            yield from super().__iter__()
        except DataError as error:  # from a worker its message comes at the end of a traceback
            raise DataError(str(error).split("DataError: ")[-1].strip()) from None


def per_device_batch_size(batch_size: int, devices: int) -> int:
    """The share of a global batch that one device gets.

    >>> per_device_batch_size(16, devices=4)
    4
    """
    if batch_size < 1 or batch_size % devices:
        raise ConfigError(f"data.batch_size {batch_size} is global: expected a multiple of the {devices} devices")
    return batch_size // devices


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stack samples; images stay channels last, as OpenCV made them: to turn them around takes a worker's time."""
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0] if name != "image"}
    images = torch.stack([sample["image"].movedim(0, -1) for sample in samples])
    return {"image": images.movedim(-1, 1), **batch}


def limit_threads(_: int) -> None:
    """Make a worker one thread."""
    cv2.setNumThreads(0)


def _rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
