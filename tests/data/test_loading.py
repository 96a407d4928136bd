"""In which order samples are loaded, and what each process of a run gets to load."""

from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from awing.data.loading import EpochSampler, collate, per_device_batch_size
from awing.errors import ConfigError

LENGTHS = (1, 2, 3, 4, 5, 10, 50)


def keys(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


def shares(length: int, world: int, shuffle: bool = False, epoch: int = 0) -> list[list[int]]:
    """The indices that each of ``world`` processes loads."""
    found = []
    for rank in range(world):
        with patch("awing.data.loading._rank_and_world", return_value=(rank, world)):
            drawn = keys(EpochSampler(length, shuffle, seed=3), epoch)
        assert all(key[0] == epoch for key in drawn)
        found.append([index for _, index in drawn])
    return found


def test_training_order_is_a_permutation_of_seed_and_epoch():
    sampler = EpochSampler(50, shuffle=True, seed=3)
    epochs = [keys(sampler, epoch) for epoch in range(4)]
    for epoch, drawn in enumerate(epochs):
        assert {e for e, _ in drawn} == {epoch}
        assert sorted(i for _, i in drawn) == list(range(50))
    assert len({tuple(i for _, i in drawn) for drawn in epochs}) == 4
    torch.manual_seed(1)
    assert keys(EpochSampler(50, shuffle=True, seed=3), 2) == epochs[2]  # after a restart
    assert keys(EpochSampler(50, shuffle=True, seed=4), 2) != epochs[2]


@pytest.mark.parametrize("world", [1, 2, 5])
def test_training_repeats_no_sample_and_drops_less_than_a_round(world):
    for length in LENGTHS:
        parts = shares(length, world, shuffle=True, epoch=2)
        loaded = [index for part in parts for index in part]
        assert len(set(loaded)) == len(loaded) == length - length % world


@pytest.mark.parametrize("world", [1, 3, 64])
def test_evaluation_loses_no_sample_and_gives_every_process_as_many(world):
    for length in LENGTHS:
        parts = shares(length, world)
        assert [index for turn in zip(*parts, strict=True) for index in turn][:length] == list(range(length))
        counts = Counter(index for part in parts for index in part)
        assert {len(part) for part in parts} == {-(-length // world)}  # no process waits for one that has ended
        assert counts.total() - length < world  # no more repeats than that takes


@pytest.mark.parametrize(("batch_size", "devices", "share"), [(8, 1, 8), (12, 4, 3)])
def test_per_device_batch_size_is_a_share_of_the_batch(batch_size, devices, share):
    assert per_device_batch_size(batch_size, devices) == share


@pytest.mark.parametrize(("batch_size", "devices"), [(8, 3), (0, 1), (-4, 2)])
def test_per_device_batch_size_refuses_what_devices_do_not_divide(batch_size, devices):
    with pytest.raises(ConfigError, match=rf"data\.batch_size {batch_size} is global.*{devices} devices"):
        per_device_batch_size(batch_size, devices)


def test_collate_stacks_and_leaves_images_channels_last():
    pixels = [np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8) for i in range(2)]
    samples = [
        {"image": torch.from_numpy(pixels[i]).permute(2, 0, 1), "points": torch.rand(7, 2), "index": torch.tensor(i)}
        for i in range(2)
    ]
    batch = collate(samples)
    torch.testing.assert_close(batch, default_collate(samples), rtol=0, atol=0, check_stride=False)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["image"].shape == (2, 3, 4, 5)
