"""The LightningDataModule of every data set: a reader, three splits, one protocol."""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from awing.data.augment import LabelNoise
from awing.data.cache import CropCache
from awing.data.crops import BoxJitter, Crop, usable_records
from awing.data.loading import LandmarkDataset, LoaderSettings, make_loader
from awing.data.records import Annotations, Record, check_bits, check_usable
from awing.errors import ConfigError, DataError, check_choice
from awing.schemes import get_scheme
from awing.schemes.scheme import BOX_NORMALISERS

Split = Literal["train", "val", "test"]
Reader = Callable[..., Annotations]  # (root, split, allow_partial) -> one official split
log = logging.getLogger(__name__)


class LandmarkDataModule(pl.LightningDataModule):
    """Splits, crops, augments and batches one data set.

    Validation faces are held out of the official training split, and test faces too if no official one is on disk.
    Both are chosen by image: a hash of ``split_seed`` and the image's name (from ``root``, without extension) gives a
    number in [0, 1), at whose lower end is validation and at whose upper end test, whatever else is on disk. Images of
    one group (a person, a clip, copies of a picture) are hashed by the group's name and stay in one split.
    :attr:`held_out` keeps these settings, for checkpoints. If a reader has ``val`` faces, validation uses those.

    Args:
        crop: Kind of crop; see :mod:`awing.data.crops`.
        crop_scale: Side of the crop divided by the box's longer side; or one for each crop that the data set has.
        normalisers: Distances that divide errors; the first ranks checkpoints. None: the scheme's, or else the box.
        val_fraction, test_fraction: Shares of the training images that are held out; their sum is below 1.
        split_seed: Seed of the held-out faces, not the run's: runs of several seeds are scored on the same faces.
        group: Regular expression whose match in an image's name is the image's group, unless a record has its own.
        allow_partial: Run on the faces on disk; :attr:`annotations` then has the numbers of faces found and expected.
        skip_unusable: Leave out unusable entries, counted in :attr:`left_out`, instead of raising an error.
        upright, rescale, bits: How pictures are read; see :func:`awing.data.crops.usable_records`.
        label_noise, cache: Arguments of ``LabelNoise`` and folder of ``CropCache``, both for the training faces.
        map: ``scheme`` and ``landmarks`` of the mapping of :class:`awing.data.loading.LandmarkDataset`.
    """

    def __init__(
        self,
        name: str,
        scheme: str | Mapping[str, Any],
        root: str,
        reader: Reader,
        crop: Crop,
        crop_scale: float | Mapping[str, float],
        loader: LoaderSettings,
        normalisers: Sequence[str] | None = None,
        subsets: Sequence[str] = (),
        split: Split = "test",
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        group: str | None = None,
        allow_partial: bool = False,
        skip_unusable: bool = False,
        upright: bool = False,
        rescale: bool = False,
        bits: int | str | None = None,
        label_noise: Mapping[str, Any] | None = None,
        cache: str | None = None,
        map: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.root, self.reader, self.allow_partial = name, Path(root), reader, allow_partial
        self.upright, self.rescale, self.bits = upright, rescale, check_bits("dataset.bits", bits)
        self.skip_unusable, self.left_out = skip_unusable, 0
        self.mapping = (get_scheme(map["scheme"]), list(map["landmarks"])) if map else None
        self.scheme, self.loader, self.subsets, self.split = get_scheme(scheme), loader, list(subsets), split
        check_choice("dataset.split", split, get_args(Split))
        if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
            found = f"val_fraction {val_fraction} and test_fraction {test_fraction}"
            raise ConfigError(f"{found} must be at least 0 and below 1 together")
        self.held_out: dict[str, Any] = {
            "val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed, "group": group
        }  # fmt: skip
        try:
            re.compile(group or "")
        except re.error as error:
            raise ConfigError(f"dataset.group: expected a regular expression, found {group!r}: {error}") from None
        scales = crop_scale if isinstance(crop_scale, Mapping) else dict.fromkeys(get_args(Crop), crop_scale)
        check_choice(f"dataset.crop of {name}", crop, scales)
        self.crop, self.crop_scale = crop, scales[crop]
        if not self.crop_scale > 0:
            raise ConfigError(f"dataset.crop_scale must be positive, found {self.crop_scale}")
        own = "landmark_box" if crop == "landmarks" else "box"  # the box of the crop, which every face has
        self.normalisers = list(normalisers or self.scheme.normalisers or [own])
        for normaliser in self.normalisers:
            check_choice("dataset.normalisers", normaliser, [*self.scheme.normalisers, *BOX_NORMALISERS])
        self.label_noise = LabelNoise(**label_noise) if label_noise else None
        if self.label_noise:
            check_choice("the normaliser of dataset.label_noise", self.label_noise.normaliser, self.scheme.normalisers)
        self.cache: CropCache | None = None
        if cache and loader.augmentation:
            self.cache = CropCache(Path(cache), self.root, loader.input_size, loader.augmentation.max_extent)
        options = getattr(reader, "keywords", {})
        self.visible_only = options.get("visible_only")  # None: the reader has no such option
        self.official: tuple[Split, ...] = ("train", "val", "test") if options.get("val") else ("train", "test")
        self.test_faces = "test faces of their own" if "test" in options else "official test faces"
        self.faces = ""  # digest of the training faces' points
        self.jitter: BoxJitter | None = None  # of the boxes in evaluation
        self.annotations: dict[Split, Annotations] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read the annotations, once; for a test on official test faces, only those."""
        if not self.annotations:
            official = {"test": self.read("test"), "train": Annotations([], 0)} if stage == self.split == "test" else {}
            if not (official and official["test"].records):
                official = {split: self.read(split) for split in self.official}
            unusable = [text for annotations in official.values() for text in annotations.unusable]
            check_usable(unusable, self.skip_unusable)
            self.left_out = len(unusable)
            self.annotations = self.divide(**official)
            points = b"".join(record.points.tobytes() for record in self.annotations["train"].records)
            self.faces = hashlib.sha256(points).hexdigest()[:8]
            counts = [f"{len(a.records)} of {a.expected} {s}" for s, a in self.annotations.items() if a.expected]
            log.info("%s: %s faces", self.name, ", ".join(counts))

    def read(self, split: str, allow_partial: bool = False) -> Annotations:
        """Read one official split: records, with how to read their pictures, and entries unusable with this crop."""
        found = self.reader(self.root, split, self.allow_partial or allow_partial)
        crop = self.crop, self.crop_scale, self.loader.input_size
        records, misfits = usable_records(found.records, *crop, self.upright, self.rescale, self.bits)
        return Annotations(records, found.expected - len(misfits), [*found.unusable, *misfits])

    def dataset(self, split: Split, augmented: bool = False) -> LandmarkDataset:
        """The samples of one split, plain or augmented as in training."""
        self.setup()
        records = self.annotations[split].records
        if not records:
            cut = f", or cut it from the training images with a larger dataset.{split}_fraction" * (split != "train")
            raise DataError(f"{self.name} in {self.root}: no face in split {split}; put the set's files there{cut}")
        protocol = self.loader.input_size, self.crop, self.crop_scale, self.normalisers, self.subsets
        if not augmented:
            return LandmarkDataset(records, self.scheme, *protocol, jitter=self.jitter, mapping=self.mapping)
        training = self.loader.augmentation, self.loader.seed, self.cache, self.label_noise
        dataset = LandmarkDataset(records, self.scheme, *protocol, *training)
        if self.cache and self.cache.folder.is_dir():
            cached = sum(picture.path.parent == self.cache.folder for picture, _ in dataset.pictures)
            log.info("%s: %d of %d faces come from %s", self.name, cached, len(records), self.cache.folder)
        return dataset

    def origin(self, split: Split) -> str:
        """Origin of the faces of a split, in words for results."""
        if split == "train":
            return "training faces"
        if self.held_out[f"{split}_fraction"] or (split == "val" and "val" not in self.official):
            return f"cut from the training faces, split_seed {self.held_out['split_seed']}"
        return "validation faces of their own" if split == "val" else self.test_faces

    def state_dict(self) -> dict[str, Any]:
        """State that a checkpoint keeps: how faces are held out, and a digest of the training faces."""
        return {**self.held_out, "faces": self.faces}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raise a ConfigError if the faces or their split have changed: held-out ones might be trained on."""
        if state_dict != (now := self.state_dict()):
            found = f"{state_dict}; now they are {now}"
            raise ConfigError(f"the checkpoint was trained on other faces, or another cut: {found}")

    def train_dataloader(self) -> DataLoader[Any]:
        """Augmented, shuffled training samples; with ``overfit_batches``, the plain ones in order."""
        dataset, size = self.dataset("train", augmented=not self._overfitting), self.loader.batch_size
        if len(dataset) < size:
            raise ConfigError(f"data.batch_size {size} exceeds the {len(dataset)} training faces: give a smaller one")
        return self._loader(dataset, shuffle=not self._overfitting)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Validation samples, or none; with ``overfit_batches``, the training samples."""
        if self._overfitting:
            return self._loader(self.dataset("train"))
        return self._loader(self.dataset("val")) if self.held_out["val_fraction"] or "val" in self.official else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Samples of the split that is evaluated, ``split``."""
        return self._loader(self.dataset(self.split))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Transfer as Lightning does; on Apple's GPUs, which have no float64, in float32."""
        if device.type == "mps":
            batch["matrix"], batch["normalisers"] = batch["matrix"].float(), batch["normalisers"].float()
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    @property
    def _overfitting(self) -> bool:
        """Whether the trainer overfits a few batches on purpose (``overfit_batches``)."""
        return bool(self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]

    def _loader(self, dataset: LandmarkDataset, shuffle: bool = False) -> DataLoader[Any]:
        return make_loader(dataset, self.loader, self.trainer.world_size if self.trainer else 1, shuffle)

    def divide(self, train: Annotations, test: Annotations, val: Annotations | None = None) -> dict[Split, Annotations]:
        """Make the three splits from the official ones: hold out faces of the training split."""
        if test.records:
            self.held_out["test_fraction"] = 0.0
        if val:
            self.held_out["val_fraction"] = 0.0
        fractions: dict[Split, float] = {"val": self.held_out["val_fraction"], "test": self.held_out["test_fraction"]}
        parts: dict[Split, list[Record]] = {"train": [], "val": [], "test": []}
        placed = sorted(((*self._position(record), record) for record in train.records), key=itemgetter(0, 1))
        if self.held_out["group"] or any(record.group for record in train.records):
            log.info("%s: %d faces in %d groups", self.name, len(placed), len({place for place, *_ in placed}))
        for place, _, record in placed:
            side: Split = "val" if place < fractions["val"] else "test" if place >= 1 - fractions["test"] else "train"
            parts[side].append(record)
        expected = {s: max(len(parts[s]), round(share * train.expected)) for s, share in fractions.items()}
        if len(train.records) == train.expected:  # then counts are exact, also with several faces in an image
            expected = {split: len(parts[split]) for split in fractions}
        expected["train"] = train.expected - sum(expected.values())
        splits = {split: Annotations(records, expected[split]) for split, records in parts.items()}
        if val:
            splits["val"] = val
        if not fractions["test"]:
            splits["test"] = test
        elif test.expected:
            cut = len(parts["test"])
            log.warning("%s: no official test face on disk; %d training faces are held out", self.name, cut)
        return splits

    def _position(self, record: Record) -> tuple[float, str]:
        """Number in [0, 1) by which an image or its group is held out, and the image's name."""
        path = Path(os.path.relpath(record.path, record.root or self.root))
        name = path.with_suffix("").as_posix() + record.entry
        found = re.search(self.held_out["group"], name) if self.held_out["group"] else None
        group = record.group or (found and found[0]) or name
        digest = hashlib.sha256(f"{self.held_out['split_seed']}/{group}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48, name
