"""Starting from the weights of another training."""

import pytest
import torch
from omegaconf import OmegaConf
from tiny import COUNTS, TINY, run, table

from awing.checkpoint import Checkpoint
from awing.errors import CheckpointError, ConfigError
from awing.models import StackedHourglass
from awing.schemes import get_scheme
from awing.training.builders import freeze, take_weights

KNOWN = {
    "name": "known",
    "names": ["left", "right", "nose"],
    "flip_pairs": [["left", "right"]],
    "lines": [["left", "right"]],
}
OWN = {"name": "own", "names": ["nose", "chin", "left"], "flip_pairs": [], "lines": [["nose", "chin"]]}


@pytest.fixture(scope="module")
def source(config, tmp_path_factory) -> Checkpoint:
    """The untrained network of three landmarks, in a file to pass on."""
    cfg = config("train", *TINY, "model.stacks=2", "model.boundary_coords=true", "dataset=synthetic", *COUNTS)
    cfg.dataset.scheme = KNOWN
    network = {f"network.{name}": value for name, value in small(3, boundary_coords=True).state_dict().items()}
    values = OmegaConf.to_container(cfg, resolve=True) | {
        "dataset": {"name": "synthetic", "crop": "a", "crop_scale": 1}
    }
    held_out = {"val_fraction": 0.3, "test_fraction": 0.0, "split_seed": 0, "group": None}
    file = tmp_path_factory.mktemp("source") / "known.safetensors"
    Checkpoint(file, values, held_out, 0, network).write(file)
    return Checkpoint.read(file)


def small(landmarks, channels=8, stacks=2, boundary_coords=False):
    return StackedHourglass(landmarks, stacks, channels, depth=2, boundary_coords=boundary_coords)


def test_take_weights_copies_shapes_and_maps_by_name(source, caplog):
    network, old = small(3), source.state_dict
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level("INFO"):
        taken = take_weights(network, get_scheme(OWN), source)
    now = network.state_dict()
    maps, reads = "stacks.1.maps.weight", "merge_maps.0.weight"
    assert torch.equal(now[maps], torch.stack([old[maps][2], before[maps][1], old[maps][0], old[maps][3]]))
    expected = torch.stack([old[reads][:, 2], before[reads][:, 1], old[reads][:, 0], old[reads][:, 3]], 1)
    assert torch.equal(now[reads], expected)
    wide = "stacks.1.coordinates.weight"  # without the boundary's coordinates here
    assert torch.equal(now[wide], before[wide])
    rest = now.keys() - {wide, reads, *(f"stacks.{i}.maps.{kind}" for i in (0, 1) for kind in ("weight", "bias"))}
    assert taken == rest
    assert all(torch.equal(now[name], old[name]) for name in rest)
    assert "the maps of 2 of 3 landmarks and the boundary by name; new: merge_maps.0, stacks.0.maps" in caplog.text


def test_take_weights_refuses_another_width(source):
    with pytest.raises(CheckpointError, match=r"known\.safetensors fits model\.channels=16: it has 8"):
        take_weights(small(3, channels=16), get_scheme(OWN), source)


def test_freeze_refuses_a_part_that_was_not_taken():
    with pytest.raises(ConfigError, match=r"nothing of 'stack' was taken by init=; parts are stem, stacks, merge"):
        freeze(small(3), ["stem", "stack"], ["stem.0.weight", "stacks.0.head.1.weight"])


def test_init_freezes_and_slows_what_was_taken(source, config, rendered, tmp_path, caplog):
    words = ["test=false", "optim=adamw", "callbacks=ema", "model.stacks=2", "trainer.limit_train_batches=1"]
    words += [f"init={source.path}", "training.frozen=[stem, stacks.0.hourglass]", "training.taken_lr=0.1"]
    run(config, rendered, tmp_path, *words)
    assert "trained on synthetic with {'val_fraction': 0.3" in caplog.text
    last = Checkpoint.read(tmp_path / "checkpoints" / "last.ckpt").network().state_dict()
    same = {name for name, value in source.state_dict.items() if torch.equal(value, last[name])}
    frozen = {name for name in last if name.startswith(("stem.", "stacks.0.hourglass."))}
    assert frozen <= same  # statistics and the count of batches too
    assert not {"stacks.0.head.1.weight", "stacks.0.head.2.running_mean", "stacks.0.coordinates.weight"} & same
    rates = [(row["lr-AdamW/pg1"], row["lr-AdamW/taken"]) for row in table(tmp_path / "metrics.csv")]
    rates = [(float(new), float(taken)) for new, taken in rates if new]
    assert len(rates) == 2
    assert [taken for _, taken in rates] == pytest.approx([0.1 * new for new, _ in rates])
