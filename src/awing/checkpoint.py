"""Checkpoints of trained networks: a run's checkpoint, a safetensors file to share, or the authors' weights."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from awing.codec import HeatmapCodec
from awing.data.crops import Crop
from awing.errors import CheckpointError
from awing.models import StackedHourglass, load_official
from awing.schemes import SCHEMES

SHIPPED = Path(__file__).parent / "weights"
OFFICIAL = {  # landmark scheme -> data set, crop and crop scale with which the authors' network is tested
    "wflw98": ("wflw", "official", 1.0), "ibug68": ("300w", "landmarks", 1.25),
    "cofw29": ("cofw", "landmarks", 1.25), "aflw19": ("aflw", "landmarks", 1.25),
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a network, and the values needed to use them.

    Reading a checkpoint runs no code from the file: codec and network are built by the classes imported here.

    Args:
        config: The composed configuration of the training; from a ``.safetensors`` file, only the part needed for use.
        held_out: How faces were held out of training: :attr:`awing.data.datamodule.LandmarkDataModule.held_out`.
        step: Number of optimizer steps of the training.
        state_dict: Weights; their moving average where the training kept one.
        confidence: Calibration by :mod:`awing.training.calibration`: slope, offset, radius, normaliser.
        faces: Digest of the training faces; a resumed run must have the same.
    """

    path: Path
    config: dict[str, Any]
    held_out: dict[str, Any]
    step: int
    state_dict: dict[str, Tensor]
    confidence: dict[str, Any] | None = None
    faces: str = ""

    @classmethod
    def read(cls, name: str | Path) -> "Checkpoint":
        """Read a run's ``.ckpt``, a ``.safetensors`` file of :meth:`write`, ``official:PATH``, or a shipped name.

        Raises:
            CheckpointError: there is no such file, or it is not one of these.
        """
        if str(name).startswith("official:"):
            return cls._read_official(Path(str(name).removeprefix("official:")))
        path = Path(name)
        if not path.is_file():
            path = SHIPPED / f"{name}.safetensors"
        if not path.is_file():
            shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.safetensors")))
            raise CheckpointError(f"{name}: no such file; expected a run's best.ckpt or a shipped name ({shipped})")
        try:
            return cls._read_safetensors(path) if path.suffix == ".safetensors" else cls._read_run(path)
        except Exception as error:  # a damaged file, or any other, whether torch can load it or not
            why = "the authors' weights are checkpoint=official:PATH" if path.suffix == ".pth" else type(error).__name__
            raise CheckpointError(f"{path} is damaged, or no checkpoint that this project wrote ({why})") from error

    @classmethod
    def _read_run(cls, path: Path) -> "Checkpoint":
        state = torch.load(path, map_location="cpu", weights_only=True)
        config, data = state["hyper_parameters"], state["LandmarkDataModule"]
        return cls(path, config, _held_out(data), state["global_step"], state["state_dict"], faces=data["faces"])

    @classmethod
    def _read_safetensors(cls, path: Path) -> "Checkpoint":
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["awing"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
        weights = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
        return cls(path, about["config"], _held_out(about["cut"]), about["step"], weights, about["confidence"])

    @classmethod
    def _read_official(cls, path: Path) -> "Checkpoint":
        """Read the authors' file, to use as they evaluated it: crop in ``OFFICIAL``, floored centres, quarter shift."""
        network = load_official(path)
        maps, channels = network.state_dict()["stacks.0.maps.weight"].shape[:2]
        scheme = {SCHEMES[name].num_landmarks: name for name in OFFICIAL}.get(maps - 1)
        if scheme is None:
            raise CheckpointError(f"{path} has {maps - 1} landmarks: no landmark scheme of that many is known")
        stacks = len(network.stacks)
        config = {
            "codec": {"scheme": scheme, "center": "floor", "decoder": "quarter"},
            "model": {"stacks": stacks, "channels": channels, "depth": network.depth, "boundary_coords": stacks > 1},
            "dataset": dict(zip(("name", "crop", "crop_scale"), OFFICIAL[scheme], strict=True)),
            "trainer": {"precision": "32-true"},
            "matmul_precision": "high",
            "seed": 0,
        }
        held_out = {"val_fraction": 0.0, "test_fraction": 0.0, "split_seed": 0, "group": None}
        return cls(path, config, held_out, 0, network.state_dict())

    def with_confidence(self, file: Path) -> "Checkpoint":
        """Return a copy with the calibration from an evaluation's ``confidence.json``.

        Raises:
            CheckpointError: the file holds no calibration.
        """
        try:
            found = json.loads(file.read_bytes())
            confidence = {key: found[key] for key in ("slope", "offset", "radius", "normaliser")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{file}: expected the confidence.json of an evaluation, found {error!r}") from None
        return replace(self, confidence=confidence)

    def write(self, path: Path, half: bool = False) -> None:
        """Write the weights, and the values needed to use them, as ``.safetensors``; with ``half`` in float16."""
        used = ("codec", "model", "loss", "matmul_precision", "seed")
        config: dict[str, Any] = {key: value for key, value in self.config.items() if key in used}
        config["dataset"] = {key: self.config["dataset"][key] for key in ("name", "crop", "crop_scale")}
        config["dataset"] |= {"bits": self.bits} if self.bits else {}
        config["trainer"] = {"precision": self.config["trainer"]["precision"]}
        about = {"config": config, "cut": self.held_out, "step": self.step, "confidence": self.confidence}
        tensors = {
            name.removeprefix("network."): (value.half() if half and value.is_floating_point() else value).contiguous()
            for name, value in self.state_dict.items()
        }
        save_file(tensors, path, {"awing": json.dumps(about)})

    @property
    def crop(self) -> tuple[Crop, float]:
        """Crop and crop scale of the training; see :mod:`awing.data.crops`."""
        dataset = self.config["dataset"]
        return dataset["crop"], float(dataset["crop_scale"])

    @property
    def bits(self) -> Any:
        """How the training reduced 16-bit images to 8 bits; see :func:`awing.data.images.to_8_bits`."""
        return self.config["dataset"].get("bits")

    def codec(self, decoder: str | None = None) -> HeatmapCodec:
        """The codec of the training, with another decoder if one is named."""
        values = {key: value for key, value in self.config["codec"].items() if key != "_target_"}
        return HeatmapCodec(**values | ({"decoder": decoder} if decoder else {}))

    def network(self) -> StackedHourglass:
        """The network with its weights, on the CPU, in evaluation mode.

        Raises:
            CheckpointError: the weights in the file are those of another network.
        """
        values = {key: value for key, value in self.config["model"].items() if key != "_target_"}
        with torch.device("meta"):  # the weights come from the file
            network = StackedHourglass(**values | {"num_landmarks": self.codec().scheme.num_landmarks})
        weights = {name.removeprefix("network."): value for name, value in self.state_dict.items()}
        try:
            network.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            raise CheckpointError(f"{self.path} holds the weights of another network: {error}") from None
        return network.float().eval()

    def confidence_of(self, peaks: Tensor) -> Tensor:
        """Confidence in [0, 1] of points from the peak heights of their maps; if not calibrated, the clipped height."""
        if self.confidence is None:
            return peaks.clamp(0, 1)
        return torch.sigmoid(self.confidence["offset"] + self.confidence["slope"] * peaks)


def _held_out(found: dict[str, Any]) -> dict[str, Any]:
    fractions = {key: float(found[key]) for key in ("val_fraction", "test_fraction")}
    return {**fractions, "split_seed": int(found["split_seed"]), "group": found["group"]}
