"""What each process of a run gets to load."""

from collections import Counter
from unittest.mock import patch

import pytest
import torch

from awing.data.loading import EpochSampler
from awing.metrics import LandmarkNME

LENGTHS = range(1, 51)
WORLDS = (1, 2, 3, 4, 5, 64)


def shares(length: int, world: int, shuffle: bool = False, epoch: int = 0) -> list[list[int]]:
    """The indices that each of ``world`` processes loads."""
    found = []
    for rank in range(world):
        sampler = EpochSampler(length, shuffle, seed=3)
        sampler.set_epoch(epoch)
        with patch("awing.data.loading._rank_and_world", return_value=(rank, world)):
            keys = list(sampler)
            assert len(keys) == len(sampler)
        assert all(key[0] == epoch for key in keys)
        found.append([index for _, index in keys])
    return found


@pytest.mark.parametrize("world", WORLDS)
def test_evaluation_loses_no_sample_and_gives_every_process_as_many(world):
    for length in LENGTHS:
        parts = shares(length, world)
        counts = Counter(index for part in parts for index in part)
        assert sorted(counts) == list(range(length))
        assert {len(part) for part in parts} == {-(-length // world)}  # no process waits for one that has ended
        assert counts.total() - length < world  # no more repeats than that takes


@pytest.mark.parametrize("world", WORLDS)
def test_each_sample_is_scored_once(world):
    """What the processes exchange is put together as the metric does it, and equals one process's bit for bit."""
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.rand(2, 50, 5, 2, generator=generator).double()
    norms = torch.rand(50, 1, generator=generator).double() + 1

    def metric(indices: list[int]) -> LandmarkNME:
        metric, labelled = LandmarkNME(["box"]), torch.ones(len(indices), 5, dtype=torch.bool)
        subsets = torch.zeros(len(indices), 0, dtype=torch.bool)
        metric.update(pred[indices], target[indices], labelled, norms[indices], torch.tensor(indices), subsets)
        return metric

    for length in LENGTHS:
        whole, together = metric(list(range(length))), metric([i for part in shares(length, world) for i in part])
        assert together.per_image()[0].tolist() == list(range(length))
        assert together.compute() == whole.compute()


@pytest.mark.parametrize("world", (1, 2, 3, 4, 5))
def test_training_repeats_no_sample_and_leaves_out_less_than_a_round(world):
    for length in LENGTHS:
        parts = shares(length, world, shuffle=True, epoch=2)
        loaded = [index for part in parts for index in part]
        assert len(set(loaded)) == len(loaded) == length - length % world
