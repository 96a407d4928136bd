"""Checkpoints: read as data, written for others, refused by name."""

import hashlib
from contextlib import suppress

import pytest
import torch
from tiny import COUNTS, run

from awing.checkpoint import SHIPPED, Checkpoint
from awing.errors import CheckpointError, ConfigError, DataError
from awing.training import engine


@pytest.fixture(scope="module")
def trained(config, rendered, tmp_path_factory):
    """A run's checkpoint."""
    output = tmp_path_factory.mktemp("run")
    run(config, rendered, output, "test=false", "trainer.max_epochs=1")
    return output / "checkpoints" / "best.ckpt"


class Stranger:
    def __reduce__(self):
        return print, ("code from a stranger ran",)


@pytest.mark.parametrize("content", [None, b"garbage", b"", {"weights": torch.ones(1)}, Stranger()])
@pytest.mark.parametrize(("prefix", "suffix"), [("", ".ckpt"), ("", ".safetensors"), ("official:", ".pth")])
def test_read_names_a_file_that_is_no_checkpoint(tmp_path, capsys, content, prefix, suffix):
    path = tmp_path / f"file{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"file{suffix}"):
        Checkpoint.read(f"{prefix}{path}")
    assert "stranger" not in capsys.readouterr().out


def test_read_lists_the_shipped_names():
    with pytest.raises(CheckpointError, match="300w-small"):
        Checkpoint.read("300w-smal")


def test_shipped_weights_have_their_checksums():
    for line in (SHIPPED / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() == digest


def test_weights_of_another_network_are_refused(trained, tmp_path):
    state = torch.load(trained, weights_only=True)
    state["hyper_parameters"]["model"]["channels"] = 16
    torch.save(state, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt holds the weights of another network"):
        Checkpoint.read(tmp_path / "other.ckpt").network()


@pytest.mark.parametrize(("section", "key"), [
    ("codec", "_target_"), ("model", "_target_"), ("dataset", "crop"), ("dataset", "name"), ("codec", "scheme"),
    ("trainer", "precision"), ("loss", "_target_"), ("held_out", "val_fraction"),
])  # fmt: skip
def test_evaluation_runs_no_code_of_a_checkpoint(trained, rendered, config, tmp_path, section, key):
    """No value of it is instantiated, whatever it says."""
    state = torch.load(trained, weights_only=True)
    values = state["LandmarkDataModule"] if section == "held_out" else state["hyper_parameters"][section]
    evil = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    values |= evil if key == "_target_" else {key: evil}
    torch.save(state, tmp_path / "stranger.ckpt")
    words = f"checkpoint={tmp_path}/stranger.ckpt", "dataset=synthetic", *COUNTS, f"paths.data_dir={rendered}"
    with suppress(CheckpointError, ConfigError, DataError, TypeError, ValueError):
        engine.evaluate(config("evaluate", *words, "trainer=cpu", "data.num_workers=0"), tmp_path / "out")
    assert not (tmp_path / "made").exists()


def test_confidence_is_the_peak_or_its_calibration(trained, tmp_path):
    checkpoint, peaks = Checkpoint.read(trained), torch.tensor([-0.5, 0.5, 1.5])
    assert checkpoint.confidence_of(peaks).tolist() == [0, 0.5, 1]
    (tmp_path / "c.json").write_text('{"slope": 2, "offset": -1, "radius": 0.05, "normaliser": "box"}')
    calibrated = checkpoint.with_confidence(tmp_path / "c.json")
    assert calibrated.confidence_of(peaks)[1] == 0.5
    assert calibrated.confidence_of(peaks)[2].item() == pytest.approx(0.880797, abs=1e-6)  # of 2 * 1.5 - 1 = 2
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"c\.json"):
        checkpoint.with_confidence(tmp_path / "c.json")
