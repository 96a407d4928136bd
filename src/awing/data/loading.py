"""In which order samples are loaded, by how many processes, and where an interrupted epoch goes on."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Sampler

from awing.data.dataset import Key, LandmarkDataset
from awing.errors import ConfigError, DataError
from awing.faults import kill_workers


class EpochSampler(Sampler[Key]):
    """Yield (epoch, index), this process's share; persistent workers learn the epoch from nowhere else.

    Training shuffles by (seed, epoch) and drops what does not fill a round over the processes; evaluation keeps the
    order and pads with repeats, which the metrics count once.

    Args:
        length: Number of samples.
        shuffle: Training.
        seed: Of the order.

    >>> sampler = EpochSampler(3, shuffle=False)
    >>> sampler.set_epoch(7)
    >>> list(sampler)
    [(7, 0), (7, 1), (7, 2)]
    """

    def __init__(self, length: int, shuffle: bool, seed: int = 0) -> None:
        self.length, self.shuffle, self.seed, self.epoch = length, shuffle, seed, 0
        self.begin = 0  # where in its share of the epoch a process resumes

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch, also after a resume."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Key]:
        rank, world = _rank_and_world()
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * world)  # cuts, or repeats from the start
        return ((self.epoch, int(index)) for index in order[rank::world][self.begin :])

    def __len__(self) -> int:
        _, world = _rank_and_world()
        return self.length // world if self.shuffle else -(-self.length // world)


class EpochLoader(DataLoader):
    """Workers begin with the first batch: Lightning, resuming, makes the iterator before it sets the epoch.

    An epoch that was interrupted goes on after the batches that were trained; Lightning would count on, but begin anew.
    """

    def __init__(self, trainer: pl.Trainer | None, dataset: LandmarkDataset, **settings: Any) -> None:
        super().__init__(dataset, **settings)
        self.trainer = trainer

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:  # type: ignore[override]  # lazy
        trained = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer else 0
        self.sampler.begin = trained * self.batch_size  # type: ignore[attr-defined, operator]
        try:
            yield from super().__iter__()
        except DataError as error:  # from a worker its message comes at the end of a traceback
            raise DataError(str(error).split("DataError: ")[-1].strip()) from None
        except RuntimeError as error:
            if "timed out" in str(error):
                kill_workers()
            raise

    def state_dict(self) -> dict[str, Any]:
        """Empty: the trainer's progress says it all. Having one tells Lightning that an epoch can go on."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to load."""


def per_device_batch_size(batch_size: int, devices: int) -> int:
    """The share of a global batch that one device gets.

    Raises:
        ConfigError: the devices do not divide the batch, or it is empty.

    >>> per_device_batch_size(16, devices=4)
    4
    """
    if batch_size < 1 or batch_size % devices:
        raise ConfigError(
            f"data.batch_size {batch_size} is global and must be a positive multiple of the {devices} devices"
        )
    return batch_size // devices


def _rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # each worker is one thread
