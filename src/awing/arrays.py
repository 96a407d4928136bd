"""Array types, the batch of a data loader, and the coordinate convention.

Coordinates are (x, y), in pixels, with pixel centres on the integers: the top left pixel covers
[-0.5, 0.5] x [-0.5, 0.5]. Three frames are used, always named:

* *source px*: the image file as it is stored,
* *crop px*: the network's input, 0 .. input_size - 1; ``crop = matrix @ source``,
* *map px*: the heatmaps; ``map = (crop + 0.5) / stride - 0.5``. Only the codec knows about it.
"""

from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Image = UInt8[np.ndarray, "_ _ 3"]  # RGB; of any height and width
Matrix = Float[np.ndarray, "3 3"]
Points = Float[np.ndarray, "k 2"]
Mask = Bool[np.ndarray, " k"]
Box = Float[np.ndarray, " 4"]  # x0, y0, x1, y1
BOX_COLUMNS = ("box_x0", "box_y0", "box_x1", "box_y1")  # of a box in CSV files


class Batch(TypedDict):
    """What a data loader yields; augmented in training, plain in evaluation."""

    image: UInt8[Tensor, "b 3 h w"]  # RGB crop
    points: Float[Tensor, "b k 2"]  # crop px
    labelled: Bool[Tensor, "b k"]
    matrix: Float[Tensor, "b 3 3"]  # source px -> crop px
    normalisers: Float[Tensor, "b n"]  # source px, in the data module's order of names
    subsets: Bool[Tensor, "b s"]  # membership, in the data module's order of names
    index: Int[Tensor, " b"]  # position in the split's list of records
