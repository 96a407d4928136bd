"""How sure a mean is: the spread of trainings, and bootstrap intervals over faces."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation, the latter None of a single value or where one is not finite.

    >>> mean_and_spread([4.0, 6.0])
    (5.0, 1.4142135623730951)
    """
    spread = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
    return sum(values) / len(values), spread


def mean_interval(errors: Float[np.ndarray, " n"], seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of a mean over faces, by the percentile bootstrap (Efron 1979).

    It says how the mean would move with other faces, not with another training; None of less than two faces or where an
    error is not finite. For two runs on the same faces, give their differences: what both find hard cancels.

    >>> mean_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)
    """
    if len(errors) < 2 or not np.isfinite(errors).all():
        return None
    rng = np.random.default_rng(seed)
    found = bootstrap((errors,), np.mean, n_resamples=2000, batch=100, method="percentile", random_state=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
