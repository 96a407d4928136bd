"""Base of the data set metrics: a row of values per image, gathered over batches and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class PerImageMetric(Metric):
    """Base of a metric that keeps a row of values per image, under the image's index in the data set.

    Each index counts once: distributed samplers repeat images to fill the last batch. The values are put in
    the order of the index before they are added up, so that the result is the same, bit for bit, for every
    batch size, order and number of processes.

    Args:
        columns: states beside "index" that hold one row an image, each an empty tensor of its dtype and width. States
            start with it, so that a process that gets no image can take part in the exchange between processes.
    """

    full_state_update = False
    is_differentiable = False
    index: list[Tensor]

    def __init__(self, **columns: Tensor) -> None:
        super().__init__()
        self.columns = {"index": torch.zeros(0, dtype=torch.long), **columns}
        for name in self.columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        for name, empty in self.columns.items():
            setattr(self, name, [empty.to(self.device)])

    def _unique_rows(self) -> list[Tensor]:
        """Columns of values, the index first: each image once, sorted by index."""
        index, *values = (dim_zero_cat(getattr(self, name)) for name in self.columns)
        order = index.argsort(stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        return [ordered[first], *(value[order[first]] for value in values)]
