"""What was trained: runs' checkpoints, passed-on weights, the authors' files; read as data and never as code."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from awing.codec import HeatmapCodec
from awing.errors import CheckpointError, did_you_mean, short
from awing.models import StackedHourglass, load_official
from awing.reading import DEEPEST, dense, load_plain, parse_json
from awing.schemes import SCHEMES

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights"
TARGETS = {HeatmapCodec: "awing.codec.HeatmapCodec", StackedHourglass: "awing.models.StackedHourglass"}
OFFICIAL = {  # what a network of the authors is tested on, and its crop
    "wflw98": ("wflw", "official", 1.0), "ibug68": ("300w", "landmarks", 1.25),
    "cofw29": ("cofw", "landmarks", 1.25), "aflw19": ("aflw", "landmarks", 1.25),
}  # fmt: skip
NUMBER = int | float
# what an evaluation takes over from a file of unknown origin must be no more than this
KINDS: dict[str, type | UnionType] = {
    "name": str, "crop": str, "crop_scale": NUMBER, "precision": str | int, "matmul_precision": str, "seed": int,
    "step": int, "val_fraction": NUMBER, "test_fraction": NUMBER, "split_seed": int,
    "slope": NUMBER, "offset": NUMBER, "radius": NUMBER, "normaliser": str,
}  # fmt: skip
CONFIDENCE = ("slope", "offset", "radius", "normaliser")
MOST, MOST_OF_CONFIG = 1_000_000, 20_000  # values in a checkpoint and its configuration; a run's have some 20,000, 300
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a run saved: the values that it was configured with, its cut of the data, and weights.

    Args:
        path: The file.
        config: The composed configuration, plain values; of weights that were passed on, what using them needs.
        held_out: :attr:`awing.data.datamodule.LandmarkDataModule.held_out`: which faces were held out.
        step: Optimizer steps that were made.
        state_dict: Weights that the checkpoint would be used with: the average where the run kept one.
        confidence: What :mod:`awing.training.calibration` fitted: slope, offset, radius, normaliser; None without.
        in_epoch: Whether it was saved before its epoch's end was logged.
    """

    path: Path
    config: dict[str, Any]
    held_out: dict[str, float]
    step: int
    state_dict: dict[str, Tensor]
    confidence: dict[str, Any] | None = None
    in_epoch: bool = False

    @classmethod
    def read(cls, name: str | Path) -> "Checkpoint":
        """Read a run's ``.ckpt``, a ``.safetensors`` file of :meth:`write`, ``official:PATH``, or a shipped name.

        Raises:
            CheckpointError: it is missing, damaged, of another format, or holds more than plain data.
        """
        if str(name).startswith("official:"):
            return cls._read_official(Path(str(name).removeprefix("official:")))
        path = Path(name)
        if not path.is_file():
            path = _shipped(str(name))
        return cls._read_safetensors(path) if path.suffix == ".safetensors" else cls.read_run(path)

    @classmethod
    def read_run(cls, path: Path) -> "Checkpoint":
        """Read what a run saved: it can be resumed.

        Raises:
            CheckpointError: as :meth:`read`.
        """
        if not path.is_file():
            raise CheckpointError(f"{path}: expected a checkpoint file (a run's checkpoints/best.ckpt), found none")
        state = load_plain(path)
        if not isinstance(state, dict) or not isinstance(state.get("awing"), dict):
            raise CheckpointError(f"{path} is not a checkpoint that this project wrote")
        weights = state.get("state_dict")
        if not isinstance(weights, dict) or not all(
            isinstance(name, str) and torch.is_tensor(value) for name, value in weights.items()
        ):
            raise CheckpointError(f"{path} holds no weights")
        if not dense([value for value in _leaves(path, state, MOST) if torch.is_tensor(value)], path):
            raise CheckpointError(f"{path} claims more numbers than it has")
        checkpoint = cls._checked(
            path,
            state["awing"].get("format"),
            lambda: (state["awing"]["config"], state["LandmarkDataModule"], state["global_step"], weights),
        )
        sums = state["awing"].get("sums")
        return replace(checkpoint, in_epoch=torch.is_tensor(sums) and bool(sums.any()))

    @classmethod
    def _read_safetensors(cls, path: Path) -> "Checkpoint":
        try:
            with safe_open(path, "pt") as file:
                about = parse_json((file.metadata() or {}).get("awing", "null"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
        state = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
        if not isinstance(about, dict):
            raise CheckpointError(f"{path} holds no weights that this project wrote")
        return cls._checked(
            path,
            about.get("format"),
            lambda: (about["config"], about["cut"], about["step"], state),
            about.get("confidence"),
        )

    @classmethod
    def _read_official(cls, path: Path) -> "Checkpoint":
        """The authors' file, with what their evaluation did: ``official`` crop, floored centres, quarter shift."""
        network = load_official(path)
        maps, channels = network.state_dict()["stacks.0.maps.weight"].shape[:2]
        scheme = {SCHEMES[name].num_landmarks: name for name in OFFICIAL}.get(maps - 1)
        if scheme is None:
            raise CheckpointError(f"{path} has {maps - 1} landmarks: no landmark scheme of that many is known")
        model = {"stacks": len(network.stacks), "channels": channels, "depth": network.depth}
        config = {
            "codec": {"_target_": TARGETS[HeatmapCodec], "scheme": scheme, "center": "floor", "decoder": "quarter"},
            "model": {"_target_": TARGETS[StackedHourglass], **model, "boundary_coords": len(network.stacks) > 1},
            "dataset": dict(zip(("name", "crop", "crop_scale"), OFFICIAL[scheme], strict=True)),
            "trainer": {"precision": "32-true"},
            "matmul_precision": "high",
            "seed": 0,
        }
        cut = {"val_fraction": 0.0, "test_fraction": 0.0, "split_seed": 0}
        return cls(path, config, cut, 0, network.state_dict())

    @classmethod
    def _checked(
        cls, path: Path, found_format: object, parts: Callable[[], tuple[Any, Any, Any, Any]], confidence: Any = None
    ) -> "Checkpoint":
        """A checkpoint of parts that a file holds.

        Raises:
            CheckpointError: one is missing, or is not what it should be.
        """
        if not isinstance(found_format, int) or found_format != FORMAT:
            raise CheckpointError(f"{path} has format {short(found_format)}; this version reads {FORMAT}")
        try:
            config, data, step, state_dict = parts()
            for value in _leaves(path, (config, data), MOST_OF_CONFIG):
                if not isinstance(value, str | NUMBER | None):
                    raise CheckpointError(f"{path}: expected plain values as its configuration, found {short(value)}")
            cut = {key: data[key] for key in ("val_fraction", "test_fraction", "split_seed")}
            dataset = {key: config["dataset"][key] for key in ("name", "crop", "crop_scale")}
            others = {"precision": config["trainer"]["precision"], "matmul_precision": config["matmul_precision"]}
            others["seed"] = config["seed"]
            if confidence is not None:
                confidence = {key: confidence[key] for key in CONFIDENCE}
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is incomplete: {error} is missing") from None
        _check_kinds(path, {**cut, **dataset, **others, **(confidence or {}), "step": step})
        if dataset["crop"] not in ("provided", "landmarks", "official") or not 0 < dataset["crop_scale"] < 100:
            raise CheckpointError(f"{path}: no such crop: {short(dataset['crop'])}, scale {dataset['crop_scale']}")
        if not 0 <= step < 2**63:
            raise CheckpointError(f"{path}: expected a number of steps, found {short(step)}")
        return cls(path, config, cut, step, state_dict, confidence)

    def with_confidence(self, file: Path) -> "Checkpoint":
        """The same with the confidence that :mod:`awing.training.calibration` wrote.

        Raises:
            CheckpointError: the file holds none.
        """
        try:
            found = parse_json(file.read_bytes())
            confidence = {key: found[key] for key in CONFIDENCE}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{file}: expected the confidence.json of an evaluation, found {error!r}") from None
        _check_kinds(file, confidence)
        return replace(self, confidence=confidence)

    def write(self, path: Path, half: bool = False) -> None:
        """Write the weights, and what using them needs, as ``.safetensors``.

        Args:
            path: The file.
            half: Store float16: half the size.

        Raises:
            CheckpointError: float16 cannot hold them.
        """
        keys = ("name", "crop", "crop_scale")
        config = {key: self.config[key] for key in ("codec", "model", "matmul_precision", "seed")}
        config["dataset"] = {key: self.config["dataset"][key] for key in keys}
        config["trainer"] = {"precision": self.config["trainer"]["precision"]}
        if "loss" in self.config:
            config["loss"] = self.config["loss"]
        about = {
            "format": FORMAT,
            "config": config,
            "cut": self.held_out,
            "step": self.step,
            "confidence": self.confidence,
        }
        tensors = {
            name.removeprefix("network."): (value.half() if half and value.is_floating_point() else value).contiguous()
            for name, value in self.state_dict.items()
        }
        if half and not all(value.isfinite().all() for value in tensors.values()):
            raise CheckpointError(f"{path}: float16 cannot hold these weights; leave half=true away")
        path.write_bytes(save(tensors, {"awing": json.dumps(about)}))

    def codec(self, decoder: str | None = None) -> HeatmapCodec:
        """The codec of the run, with another decoder if one is named.

        Raises:
            CheckpointError: the values are no codec's; or an unknown decoder.
        """
        return self._made(HeatmapCodec, "codec", **({"decoder": decoder} if decoder else {}))

    def network(self) -> StackedHourglass:
        """The network with its weights, on the CPU, in evaluation mode.

        Raises:
            CheckpointError: the file holds another network's weights, or none of ours.
        """
        codec = self.codec()
        with torch.device("meta"):  # no memory for what a file only claims
            network = self._made(StackedHourglass, "model", num_landmarks=codec.scheme.num_landmarks)
        if codec.stride != 4 or codec.input_size % (4 * 2**network.depth):
            raise CheckpointError(f"{self.path}: its codec and its model do not fit together")
        weights = {name.removeprefix("network."): value for name, value in self.state_dict.items()}
        real = [name for name, value in network.state_dict().items() if value.is_floating_point()]
        try:
            network.load_state_dict(weights, assign=True)
        except (RuntimeError, AttributeError) as error:
            raise CheckpointError(f"{self.path} holds the weights of another network: {error}") from None
        values = {name: weights[name] for name in real}
        if wrong := [name for name, v in values.items() if not (v.is_floating_point() and v.isfinite().all())]:
            raise CheckpointError(f"{self.path}: expected finite numbers as its {wrong[0]}, found others")
        return network.float().eval()

    def confidence_of(self, peaks: Tensor) -> Tensor:
        """Heights of maps' peaks -> confidence in [0, 1]: calibrated where the checkpoint is, otherwise the height."""
        if self.confidence is None:
            return peaks.clamp(0, 1)
        return torch.sigmoid(self.confidence["offset"] + self.confidence["slope"] * peaks)

    def _made(self, kind: type[T], section: str, **changes: Any) -> T:
        """Only this class, whatever the file names as ``_target_``: a file must not choose what code runs."""
        values = self.config.get(section)
        values = dict(values) if isinstance(values, Mapping) else {}
        target = values.pop("_target_", None)
        if target != TARGETS[kind]:
            raise CheckpointError(f"{self.path}: expected {TARGETS[kind]} as its {section}, found {short(target)}")
        try:
            return kind(**(values | changes))
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise CheckpointError(f"{self.path}: its {section} cannot be made: {error}") from None


def _leaves(path: Path, node: Any, most: int) -> list[Any]:
    """The values in nested ones.

    Raises:
        CheckpointError: there are too many, a few references can stand for more than memory holds; or too deep ones.
    """
    count, depth, level, leaves = 0, 0, [node], []
    while level:
        depth += 1
        parts = [value for value in level if isinstance(value, dict | list | tuple)]
        leaves += [value for value in level if not isinstance(value, dict | list | tuple)]
        if (count := count + sum(map(len, parts))) > most or depth > DEEPEST:
            raise CheckpointError(f"{path} holds more or deeper values than any checkpoint that this project writes")
        level = [value for part in parts for value in (part.values() if isinstance(part, dict) else part)]
    return leaves


def _check_kinds(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse what is no plain value of the expected kind.

    Raises:
        CheckpointError: it is named.
    """
    for key, value in values.items():
        endless = isinstance(value, float) and not math.isfinite(value)
        if not isinstance(value, KINDS[key]) or endless or "${" in str(value):
            raise CheckpointError(f"{path}: expected a plain value as its {key}, found {short(value)}")


def _shipped(name: str) -> Path:
    """The file of weights that the package brings.

    Raises:
        CheckpointError: there is none of that name, or its bytes are not those that were shipped.
    """
    path = SHIPPED / f"{name}.safetensors"
    names = sorted(file.stem for file in SHIPPED.glob("*.safetensors"))
    if name not in names:
        raise CheckpointError(
            f"{name}: expected a checkpoint file (a run's checkpoints/best.ckpt), found none; the package brings "
            f"{', '.join(names)}.{did_you_mean(name, names)}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if f"{digest}  {path.name}" not in (SHIPPED / "SHA256SUMS").read_text().splitlines():
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one that was shipped; install awing again")
    return path
