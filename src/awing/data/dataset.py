"""From a record to a sample: one decode, one warp."""

import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Dataset, Sampler

from awing.arrays import Image, Matrix
from awing.data.augment import Augmentation
from awing.data.crops import Crop, record_matrix
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply, shift, warp, zoom_by
from awing.schemes import Scheme

Key = tuple[int, int]  # (epoch, index)
REDUCED = {  # by how much OpenCV shrinks a JPEG while it decodes it
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


class LandmarkDataset(Dataset[dict[str, torch.Tensor]]):
    """Samples of one split; what is drawn for a sample depends on (seed, epoch, index) and nothing else.

    ``dataset[epoch, index]`` is a dictionary with the fields of :class:`awing.arrays.Batch`, without the batch axis.
    On a flip the landmarks exchange their identities: row k of ``points`` is still the scheme's landmark k.

    Args:
        records: The faces.
        scheme: Their landmark scheme.
        size: Side of the crop, px.
        crop, crop_scale: See :mod:`awing.data.crops`.
        normalisers: Names of the distances that divide errors: the scheme's, or ``"box"``.
        subsets: Names of the subsets whose membership a sample carries.
        augmentation: None for evaluation.
        seed: Of the augmentation.

    Raises:
        ConfigError: an unknown crop.
        DataError: a face lacks what the crop needs, or, without augmentation, a normaliser is not positive.
    """

    def __init__(
        self,
        records: Sequence[Record],
        scheme: Scheme,
        size: int,
        crop: Crop,
        crop_scale: float,
        normalisers: Sequence[str],
        subsets: Sequence[str],
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.records, self.scheme, self.size = records, scheme, size
        self.matrices = [record_matrix(record, crop, crop_scale, size) for record in records]
        self.normalisers = np.array([[normaliser(r, scheme, name) for name in normalisers] for r in records])
        self.subsets = np.array([[name in r.subsets for name in subsets] for r in records], dtype=bool)
        self.augmentation, self.seed = augmentation, seed
        if augmentation is None:  # these faces will be scored
            for record, values in zip(records, self.normalisers, strict=True):
                if not (values > 0).all():
                    found = dict(zip(normalisers, values.tolist(), strict=True))
                    raise DataError(f"{record.path}: a normaliser must be positive, found {found}")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> dict[str, torch.Tensor]:
        epoch, index = key
        record, matrix = self.records[index], self.matrices[index]
        points, labelled = record.points, record.labelled
        if self.augmentation is None:
            crop = read_crop(record, matrix, self.size)
        else:
            rng = np.random.default_rng([self.seed, epoch, index])
            draw = self.augmentation.draw(self.size, rng)
            if draw.flip:
                points = points[self.scheme.flip_permutation]
                labelled = labelled[self.scheme.flip_permutation]
            crop = self.augmentation.paint(read_crop(record, matrix, self.size, draw.matrix), rng)
            matrix = draw.matrix @ matrix
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1),
            "points": torch.from_numpy(apply(matrix, points)).float(),
            "labelled": torch.from_numpy(labelled),
            "matrix": torch.from_numpy(matrix),
            "normalisers": torch.from_numpy(self.normalisers[index]),
            "subsets": torch.from_numpy(self.subsets[index]),
            "index": torch.tensor(index),
        }


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

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch, also after a resume."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Key]:
        rank, world = _rank_and_world()
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * world)  # cuts, or repeats from the start
        return ((self.epoch, int(index)) for index in order[rank::world])

    def __len__(self) -> int:
        _, world = _rank_and_world()
        return self.length // world if self.shuffle else -(-self.length // world)


def _rank_and_world() -> tuple[int, int]:
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def normaliser(record: Record, scheme: Scheme, name: str) -> float:
    """The distance in source px that divides this record's error; NaN where it is not annotated."""
    if name == "box":
        return float("nan") if record.box is None else float(np.sqrt(np.prod(record.box[2:] - record.box[:2])))
    return scheme.normaliser(name, record.points, record.labelled)


def read_crop(record: Record, matrix: Matrix, size: int, moved: Matrix | None = None) -> Image:
    """Decode an image and warp it once; black outside the image.

    An image that shrinks to a half or less is first averaged over 2 x 2, 4 x 4 or 8 x 8 px, so that it does not alias;
    a JPEG is decoded at that size at once, which is faster.

    Args:
        record: Its image is read.
        matrix: Source px -> crop px.
        size: Side of the crop, px.
        moved: Crop px -> crop px, an augmentation; the warp is of both matrices at once.

    Raises:
        DataError: the file cannot be read as an image, or the crop lies wholly outside it before it is moved.
    """
    data = _read_bytes(record.path)
    whole = matrix if moved is None else moved @ matrix
    zoom = np.hypot(whole[0, 0], whole[1, 0])
    reduction = next(r for r in REDUCED if r == 1 or zoom * r <= 1)
    is_jpeg = data[:2].tobytes() == b"\xff\xd8"  # the name may lie
    image = _decode(record.path, data, reduction) if is_jpeg else _shrink(_decode(record.path, data), reduction)
    to_source = shift((reduction - 1) / 2, (reduction - 1) / 2) @ zoom_by(reduction)
    low, high = -0.5, size - 0.5
    corners = (
        apply(np.linalg.inv(matrix @ to_source), np.array([[low, low], [low, high], [high, low], [high, high]])) + 0.5
    )
    height, width = image.shape[:2]
    if (corners.max(0) <= 0).any() or (corners.min(0) >= (width, height)).any():
        height, width = read_image(record.path).shape[:2]
        raise DataError(
            f"{record.path}: the face's box lies outside the image of {width} x {height} px; check the annotation"
        )
    return warp(image, whole @ to_source, size)


def _shrink(image: Image, factor: int) -> Image:
    if factor == 1:
        return image
    height, width = image.shape[:2]
    whole = cv2.copyMakeBorder(image, 0, -height % factor, 0, -width % factor, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def read_image(path: str | os.PathLike[str]) -> Image:
    """Decode an image file to RGB as its pixels are stored: annotations know nothing of EXIF orientation.

    Grey becomes three equal channels, 16 bits become 8, transparency is dropped.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    return _decode(path, _read_bytes(path))


def _read_bytes(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        return np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: expected an image, but the file cannot be read: {error.strerror}") from None


def _decode(path: str | os.PathLike[str], data: np.ndarray, reduction: int = 1) -> Image:
    # from memory: from a file OpenCV fills what is missing of a truncated JPEG with grey and says nothing
    image = cv2.imdecode(data, REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if image is None:
        raise DataError(f"{path}: expected an image, but the file cannot be decoded; is it truncated?")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
