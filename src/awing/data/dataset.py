"""From a record to a sample that depends on (seed, epoch, index) alone."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import Dataset

from awing.data.augment import Augmentation, LabelNoise
from awing.data.cache import CropCache
from awing.data.crops import BoxJitter, Crop, record_matrix
from awing.data.images import read_crop
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply
from awing.schemes import Scheme
from awing.schemes.scheme import BOX_NORMALISERS

Key = tuple[int, int]  # (epoch, index)


class LandmarkDataset(Dataset[dict[str, torch.Tensor]]):
    """Samples of one split; what is drawn for a sample depends on (seed, epoch, index) and nothing else.

    ``dataset[epoch, index]`` is a dictionary with the fields of :class:`awing.arrays.Batch`, without the batch axis.
    On a flip the landmarks exchange their identities: row k of ``points`` is still the scheme's landmark k.

    Args:
        records: The faces.
        scheme: Their landmark scheme.
        size: Side of the crop, px.
        crop: See :mod:`awing.data.crops`.
        crop_scale: See :func:`awing.data.crops.box_matrix`.
        normalisers: Names of the distances that divide errors.
        subsets: Names of the subsets whose membership a sample carries.
        augmentation: None for evaluation.
        seed: Of the augmentation.
        cache: Where to look for the pixels first; of training samples.
        noise: Moves points; of training samples. Crops stay where the true points put them.
        jitter: Moves boxes; of evaluation.
        mapping: The scheme that is predicted where it is another one, and for each of its landmarks the index of the
            same one of ``scheme``, or -1; of evaluation. Crops and normalisers stay those of ``scheme``.
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
        cache: CropCache | None = None,
        noise: LabelNoise | None = None,
        jitter: BoxJitter | None = None,
        mapping: tuple[Scheme, Sequence[int]] | None = None,
    ) -> None:
        self.records, self.scheme, self.size, self.mirrored = records, scheme, size, scheme.flip_permutation
        self.matrices = [record_matrix(record, crop, crop_scale, size) for record in records]
        if jitter:
            self.matrices = [jitter(m, size / crop_scale, size, i) for i, m in enumerate(self.matrices)]
        faces = zip(records, self.matrices, strict=True)
        self.pictures = [cache.picture(r, m) if cache else (r, np.eye(3)) for r, m in faces]
        self.points = [noise(record, scheme) if noise else record.points for record in records]
        self.labelled = [record.labelled for record in records]
        self.normalisers = np.array([[normaliser(r, scheme, name) for name in normalisers] for r in records])
        self.subsets = np.array([[name in r.subsets for name in subsets] for r in records], dtype=bool)
        self.augmentation, self.seed = augmentation, seed
        if augmentation is None:  # these faces will be scored
            _check_normalisers(records, normalisers, self.normalisers)
        if mapping:
            self.scheme, same = mapping[0], np.array(mapping[1])
            self.points = [points[same] for points in self.points]
            self.labelled = [labelled[same] & (same >= 0) for labelled in self.labelled]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> dict[str, torch.Tensor]:
        epoch, index = key
        points, labelled, matrix = self.points[index], self.labelled[index], self.matrices[index]
        picture, view = self.pictures[index]
        if self.augmentation is None:
            crop = read_crop(picture, matrix @ view, self.size)
        else:
            rng = np.random.default_rng([self.seed, epoch, index])
            augment, flip = self.augmentation.draw(self.size, rng)
            if flip:
                points, labelled = points[self.mirrored], labelled[self.mirrored]
            crop = self.augmentation.apply_photometric(read_crop(picture, matrix @ view, self.size, augment), rng)
            matrix = augment @ matrix
        return {
            "image": torch.from_numpy(crop).permute(2, 0, 1),
            "points": torch.from_numpy(apply(matrix, points)).float(),
            "labelled": torch.from_numpy(labelled),
            "matrix": torch.from_numpy(matrix),
            "normalisers": torch.from_numpy(self.normalisers[index]),
            "subsets": torch.from_numpy(self.subsets[index]),
            "index": torch.tensor(index),
        }


def normaliser(record: Record, scheme: Scheme, name: str) -> float:
    """The distance in source px that divides a face's error; NaN where it is not annotated.

    "box" is the root of the provided box's area, "box_diagonal" its diagonal, "landmark_box" the root of the area of
    the labelled landmarks' tight box; the others are the scheme's.
    """
    if name == "landmark_box":
        area = np.ptp(record.points[record.labelled], axis=0).prod()
        return float(np.sqrt(area)) if area > 0 else np.nan
    if name not in BOX_NORMALISERS:
        return scheme.normaliser(name, record.points, record.labelled)
    width, height = (np.nan, np.nan) if record.box is None else record.box[2:] - record.box[:2]
    return float(np.sqrt(width * height) if name == "box" else np.hypot(width, height))


def _check_normalisers(records: Sequence[Record], names: Sequence[str], values: Float[np.ndarray, "r n"]) -> None:
    """Refuse to score faces by what is not positive; faces whose landmarks are not labelled are left out, not all."""
    for record, row in zip(records, values, strict=True):
        no_box = record.box is None and not {"box", "box_diagonal"}.isdisjoint(names)
        if no_box or (row <= 0).any():
            advice = "name others with dataset.normalisers" if no_box else "check its landmarks and box"
            found = dict(zip(names, row.tolist(), strict=True))
            raise DataError(f"{record.name}: a normaliser must be positive, found {found}; {advice}")
    if len(records) and np.isnan(values).any(1).all():
        raise DataError(f"none of {len(records)} faces has the landmarks of {', '.join(names)} labelled")
