"""Metrics of a whole data set, independent of batch size and number of processes (torchmetrics classes)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from awing.metrics.functional import Labelled, Norm, Points, auc, correct_keypoints, failure_rate, nme

THRESHOLDS = {"0.08": 0.08, "0.10": 0.10}  # of failure rate and AUC


class PerImageMetric(Metric):
    """Base class of metrics that keep a row of values per image, under the image's index in the data set.

    Each index counts once: distributed samplers repeat images to fill the last batch. The values are summed in the
    order of the index, whatever the batches and the process that they come from.

    Args:
        columns: names of the states beside "index".
    """

    full_state_update = False
    index: list[Tensor]

    def __init__(self, *columns: str) -> None:
        super().__init__()
        self.columns = ("index", *columns)
        for name in self.columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def _unique_rows(self) -> list[Tensor]:
        """Columns of values, the index first: each image once, sorted by index."""
        index, *values = (dim_zero_cat(getattr(self, name)) for name in self.columns)
        first = torch.from_numpy(np.unique(index.cpu(), return_index=True)[1]).to(index.device)
        return [column[first] for column in (index, *values)]


class LandmarkNME(PerImageMetric):
    """NME, failure rate and AUC, at errors of 0.08 and 0.10, of a data set and its subsets.

    An image without a labelled landmark, or without a normaliser (NaN: the landmarks between which it is measured are
    not labelled), has no error and enters no result and no count.

    Args:
        normalisers: names of the normalisers, in the order of `norms`' columns.
        subsets: names of the subsets, in the order of `subsets`' columns; a first subset, "full", holds all images.

    >>> metric = LandmarkNME(["inter_ocular"], ["pose"])
    >>> target = torch.zeros(2, 5, 2)
    >>> metric.update(
    ...     pred=target + torch.tensor([3.0, 4.0]),
    ...     target=target,
    ...     labelled=torch.ones(2, 5, dtype=torch.bool),
    ...     norms=torch.tensor([[100.0], [50.0]]),
    ...     index=torch.tensor([0, 1]),
    ...     subsets=torch.tensor([[False], [True]]),
    ... )
    >>> result = metric.compute()
    >>> result["full"]["count"], result["full"]["nme"], result["pose"]["fr"]
    (2, {'inter_ocular': 0.07500000000000001}, {'inter_ocular': {'0.08': 1.0, '0.10': 0.0}})
    """

    nmes: list[Tensor]
    membership: list[Tensor]

    def __init__(self, normalisers: Sequence[str], subsets: Sequence[str] = ()) -> None:
        super().__init__("nmes", "membership")
        self.normalisers, self.subsets = tuple(normalisers), tuple(subsets)

    def update(
        self,
        pred: Points,
        target: Points,
        labelled: Labelled,
        norms: Float[Tensor, "b n"],
        index: Int[Tensor, " b"],
        subsets: Bool[Tensor, "b s"],
    ) -> None:
        """Add a batch of images: arguments of :func:`awing.metrics.nme`, indices in the data set, subsets.

        ``norms`` has a column per normaliser, NaN where an image has none; ``subsets`` has a column per subset.
        """
        self.index.append(index)
        scored = [labelled & ~norm.isnan()[:, None] for norm in norms.unbind(1)]
        errors = [nme(pred, target, *pair) for pair in zip(norms.unbind(1), scored, strict=True)]
        self.nmes.append(torch.stack(errors, dim=1))
        self.membership.append(subsets)

    def compute(self) -> dict[str, dict[str, Any]]:
        """Results of every subset that has an image with an error; all but the count are fractions.

        As `{subset: {"count": images, "nme": {normaliser: mean}, "fr": {normaliser: {"0.08": rate}}, "auc": ...}}`.

        Raises:
            ValueError: no image with a labelled landmark and its normalisers was added.
        """
        _, nmes, membership = self._unique_rows()
        scored = ~nmes.isnan().any(1)
        members = {"full": torch.ones_like(scored), **dict(zip(self.subsets, membership.unbind(1), strict=True))}
        chosen = {name: nmes[member & scored] for name, member in members.items()}
        results = {name: self._summary(errors) for name, errors in chosen.items() if len(errors)}
        if not results:
            raise ValueError(f"expected a labelled landmark and a normaliser, found none in {len(nmes)} images")
        return results

    def per_image(self) -> tuple[Int[Tensor, " i"], Float[Tensor, "i n"], Bool[Tensor, "i s"]]:
        """Index, errors (a column per normaliser, NaN where there is none) and subsets of all images, by index.

        In distributed runs all processes must call it.
        """
        with self.sync_context():
            index, nmes, membership = self._unique_rows()
        return index, nmes, membership

    def _summary(self, nmes: Float[Tensor, "i n"]) -> dict[str, Any]:
        result: dict[str, Any] = {"count": len(nmes), "nme": {}, "fr": {}, "auc": {}}
        for name, errors in zip(self.normalisers, nmes.unbind(1), strict=True):
            result["nme"][name] = float(errors.mean())
            result["fr"][name] = {key: failure_rate(errors, value) for key, value in THRESHOLDS.items()}
            result["auc"][name] = {key: auc(errors, value) for key, value in THRESHOLDS.items()}
        return result


class PercentCorrectKeypoints(PerImageMetric):
    """PCK of groups of joints, the share of a group's labelled joints that are correct; see :func:`awing.metrics.pck`.

    Args:
        groups: the joints of each group, left and right of a pair together.
        threshold: share of the torso within which a joint is correct.

    >>> metric = PercentCorrectKeypoints({"ankle": (0, 2), "head": (1,)})
    >>> target = torch.zeros(1, 3, 2)
    >>> pred = torch.tensor([[[19.0, 0.0], [0.0, 0.0], [0.0, 21.0]]])
    >>> labelled = torch.ones(1, 3, dtype=torch.bool)
    >>> metric.update(pred, target, torch.tensor([100.0]), labelled, index=torch.tensor([0]))
    >>> metric.compute()
    {'ankle': 0.5, 'head': 1.0, 'mean': 0.75}
    """

    correct: list[Tensor]
    counted: list[Tensor]

    def __init__(self, groups: Mapping[str, Sequence[int]], threshold: float = 0.2) -> None:
        super().__init__("correct", "counted")
        self.groups = {name: list(joints) for name, joints in groups.items()}
        self.threshold = threshold

    def update(self, pred: Points, target: Points, torso: Norm, labelled: Labelled, index: Int[Tensor, " b"]) -> None:
        """Add a batch of images: the arguments of :func:`awing.metrics.pck`, and their indices in the data set."""
        self.index.append(index)
        self.correct.append(self._count(correct_keypoints(pred, target, torso, labelled, self.threshold)))
        self.counted.append(self._count(labelled))

    def compute(self) -> dict[str, float]:
        """PCK of each group, and the mean over the groups; groups without a labelled joint are left out.

        Raises:
            ValueError: no labelled joint of any group was added.
        """
        _, correct, counted = self._unique_rows()
        pairs = zip(self.groups, correct.sum(0).tolist(), counted.sum(0).tolist(), strict=True)
        shares = {name: hits / total for name, hits, total in pairs if total}
        if not shares:
            raise ValueError(f"expected a labelled joint, found none in {len(correct)} images")
        return {**shares, "mean": sum(shares.values()) / len(shares)}

    def _count(self, flags: Bool[Tensor, "b k"]) -> Int[Tensor, "b g"]:
        """Number of flags set in each group."""
        return torch.stack([flags[:, joints].sum(1) for joints in self.groups.values()], dim=1)
