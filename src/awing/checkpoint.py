"""Checkpoints of training runs, read as data and never as code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from awing.codec import HeatmapCodec
from awing.errors import CheckpointError
from awing.models import StackedHourglass

FORMAT = 1
TARGETS = {HeatmapCodec: "awing.codec.HeatmapCodec", StackedHourglass: "awing.models.StackedHourglass"}
NUMBER = (int, float)
# what an evaluation takes over from a file of unknown origin must be no more than this
KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "crop": str, "crop_scale": NUMBER, "precision": (str, int), "matmul_precision": str,
    "val_fraction": NUMBER, "test_fraction": NUMBER, "split_seed": int,
}  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a run saved: the values that it was configured with, its cut of the data, and weights.

    Args:
        path: The file.
        config: The composed configuration, plain values.
        cut: :attr:`awing.data.LandmarkDataModule.cut`: which faces were held out.
        step: Optimizer steps that were made.
        state_dict: Weights that the checkpoint would be used with: the average where the run kept one.
    """

    path: Path
    config: dict[str, Any]
    cut: dict[str, float]
    step: int
    state_dict: dict[str, Tensor]
    confidence: dict[str, Any] | None = None

    @classmethod
    def read(cls, path: str | Path) -> "Checkpoint":
        """Read a file.

        Raises:
            CheckpointError: it is missing, broken, of another format, or holds more than plain data.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path}: expected a checkpoint file (a run's checkpoints/best.ckpt), found none")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a file of unknown origin can fail anywhere in the unpickler
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, no checkpoint, "
                "or holds more than plain data"
            ) from None
        if not isinstance(state, dict) or not isinstance(state.get("awing"), dict):
            raise CheckpointError(f"{path} is not a checkpoint that this project wrote")
        if state["awing"].get("format") != FORMAT:
            raise CheckpointError(f"{path} has format {state['awing'].get('format')}; this version reads {FORMAT}")
        try:
            config, data = state["awing"]["config"], state["LandmarkDataModule"]
            cut = {key: data[key] for key in ("val_fraction", "test_fraction", "split_seed")}
            dataset = {key: config["dataset"][key] for key in ("name", "crop", "crop_scale")}
            others = {"precision": config["trainer"]["precision"], "matmul_precision": config["matmul_precision"]}
            checkpoint = cls(path, config, cut, state["global_step"], state["state_dict"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is incomplete: {error} is missing") from None
        for key, value in {**cut, **dataset, **others}.items():
            if not isinstance(value, KINDS[key]) or "${" in str(value):
                raise CheckpointError(f"{path}: expected a plain value as its {key}, found {str(value)[:80]!r}")
        return checkpoint

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
        network = self._made(StackedHourglass, "model", num_landmarks=self.codec().scheme.num_landmarks)
        weights = {name.removeprefix("network."): value for name, value in self.state_dict.items()}
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"{self.path} holds the weights of another network: {error}") from None
        return network.eval()

    def confidence_of(self, peaks: Tensor) -> Tensor:
        """Heights of maps' peaks -> confidence in [0, 1]: calibrated where the checkpoint is, otherwise the height."""
        if self.confidence is None:
            return peaks.clamp(0, 1)
        return torch.sigmoid(self.confidence["offset"] + self.confidence["slope"] * peaks)

    def _made(self, kind: type[T], section: str, **changes: Any) -> T:
        """Only this class, whatever the file names as ``_target_``: a file must not choose what code runs."""
        values = dict(self.config[section])
        target = values.pop("_target_", None)
        if target != TARGETS[kind]:
            raise CheckpointError(f"{self.path}: expected {TARGETS[kind]} as its {section}, found {target}")
        try:
            return kind(**(values | changes))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path}: its {section} cannot be made: {error}") from None
