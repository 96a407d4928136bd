"""Face boxes for images that come without any."""

import numpy as np
from jaxtyping import Float

from awing.arrays import Image
from awing.errors import ConfigError


class FaceDetector:
    """Not built yet.

    Raises:
        ConfigError: always.
    """

    def __init__(self) -> None:
        raise ConfigError("there is no face detector yet: give boxes")

    def __call__(self, image: Image) -> tuple[Float[np.ndarray, "f 4"], Float[np.ndarray, " f"]]:
        """Boxes and scores."""
        raise NotImplementedError
