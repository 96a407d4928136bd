"""Landmark accuracy as pure functions. All are fractions: an NME of 0.0436 is what papers print as 4.36."""

import math
from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Points = Float[Tensor, "b k 2"]  # K landmarks of each image of a batch, in the pixels of any image
Labelled = Bool[Tensor, "b k"]  # which of them count
Norm = Float[Tensor, " b"]  # size of each face or person in the same pixels


def nme(pred: Points, target: Points, norm: Norm, labelled: Labelled | None = None) -> Float[Tensor, " b"]:
    r"""Normalised mean error of each image (Wang et al., ICCV 2019, equation 7).

    .. math:: \mathrm{NME} = \frac{1}{M} \sum_{i=1}^{M} \frac{\|p_i - \hat{p}_i\|_2}{d}

    over the M labelled landmarks of an image. The rest of the batch does not change one bit of an image's result.

    Args:
        pred: (B, K, 2) predicted landmarks, in the pixels of the same image as `target`; NaN is infinitely far off.
        target: (B, K, 2) ground-truth landmarks.
        norm: (B,) d, each image's normaliser in those pixels: distance of the eyes, or size of the face box.
        labelled: (B, K) which landmarks count; None for all.

    Returns:
        (B,) errors in float64; NaN for an image without a labelled landmark.

    Raises:
        ValueError: the shapes do not fit, or the normaliser of an image with a labelled landmark is not
            positive and finite.

    >>> pred, target = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.zeros(1, 2, 2)
    >>> nme(pred, target, norm=torch.tensor([50.0]))
    tensor([0.0500], dtype=torch.float64)
    """
    if labelled is None:
        labelled = torch.ones_like(pred[..., 0], dtype=torch.bool)
    distance = _distances(pred, target, norm, labelled)
    # One landmark after the other: the order of additions in a batched sum may depend on the batch size.
    total = reduce(torch.add, distance.where(labelled, 0.0).unbind(1))
    return total / labelled.sum(1) / norm.double()


def failure_rate(nmes: Float[Tensor, " n"], threshold: float) -> float:
    """Failure rate: share of images whose error is strictly greater than a threshold (paper, section 7.2).

    NaN, the error of an image without a labelled landmark, is left out. Usual thresholds are 0.08 and 0.10.

    Raises:
        ValueError: no image is left, or the threshold is not positive and finite.

    >>> failure_rate(torch.tensor([0.05, 0.10, 0.15, 0.20]), threshold=0.10)
    0.5
    """
    return float((_scored(nmes, threshold) > threshold).double().mean())


def ced(nmes: Float[Tensor, " n"], limit: float) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Cumulative error distribution: share of images with an error of at most e, for e from 0 to a limit.

    The exact step curve: shares[i] holds from errors[i] up to the next error (matplotlib's drawstyle "steps-post").
    NaN, the error of an image without a labelled landmark, is left out.

    Returns:
        Strictly rising errors from 0 to `limit`, and shares in float64, the last being 1 - failure_rate(nmes, limit).

    Raises:
        ValueError: no image is left, or the limit is not positive and finite.

    >>> ced(torch.tensor([0.03, 0.25, 0.05, 0.05]).double(), limit=0.1)[1]
    tensor([0.0000, 0.2500, 0.7500, 0.7500], dtype=torch.float64)
    """
    ordered = _scored(nmes, limit).sort().values
    ends = ordered.new_tensor([0.0, limit])
    errors = torch.unique(torch.cat([ends, ordered[ordered <= limit]]))
    shares = torch.searchsorted(ordered, errors, right=True).double() / len(ordered)
    return errors, shares


def auc(nmes: Float[Tensor, " n"], threshold: float) -> float:
    """Area under the cumulative error distribution from 0 to a threshold, divided by the threshold.

    The area is exact: an image with error e adds max(0, threshold - e), so it is the mean of max(0, 1 - e / threshold).
    NaN, the error of an image without a labelled landmark, is left out. Usual thresholds are 0.08 and 0.10.

    Raises:
        ValueError: no image is left, or the threshold is not positive and finite.

    >>> auc(torch.tensor([0.0, 0.25, 1.0]), threshold=0.5)
    0.5
    """
    return float((1 - _scored(nmes, threshold).double() / threshold).clamp(min=0).mean())


def pck(pred: Points, target: Points, torso: Norm, labelled: Labelled, threshold: float = 0.2) -> Float[Tensor, " k"]:
    """Percentage of correct keypoints (PCK) of each joint, a fraction.

    A joint is correct where its distance from the truth is at most `threshold` times the torso.

    Args:
        pred: (B, K, 2) predicted joints, in the pixels of the same image as `target`; NaN is not correct.
        target: (B, K, 2) ground-truth joints.
        torso: (B,) size of each person's torso in those pixels: left shoulder to right hip.
        labelled: (B, K) which joints count.
        threshold: share of the torso.

    Returns:
        (K,) fractions in float64; NaN for a joint that is labelled in no image.

    Raises:
        ValueError: the shapes do not fit, or the threshold or a labelled person's torso is not positive and finite.

    >>> pred, target = torch.tensor([[[0.0, 0.0], [30.0, 0.0]]]), torch.zeros(1, 2, 2)
    >>> pck(pred, target, torch.tensor([100.0]), labelled=torch.ones(1, 2, dtype=torch.bool))
    tensor([1., 0.], dtype=torch.float64)
    """
    correct = correct_keypoints(pred, target, torso, labelled, threshold)
    return correct.sum(0).double() / labelled.sum(0)


def correct_keypoints(
    pred: Points, target: Points, torso: Norm, labelled: Labelled, threshold: float
) -> Bool[Tensor, "b k"]:
    """Labelled joints within ``threshold * torso`` of the truth; see :func:`pck`, which takes the same arguments."""
    _check_threshold(threshold)
    distance = _distances(pred, target, torso, labelled)
    return (distance <= threshold * torso.double()[:, None]) & labelled


def _distances(pred: Tensor, target: Tensor, norm: Tensor, labelled: Tensor) -> Tensor:
    """Distance of every point in float64, infinite where it is NaN, after checking the arguments."""
    shapes = [tuple(tensor.shape) for tensor in (pred, target, norm, labelled)]
    b, k = shapes[0][:2]
    if shapes != [(b, k, 2), (b, k, 2), (b,), (b, k)]:
        raise ValueError(f"expected shapes (b, k, 2) twice, (b,) and (b, k), found {', '.join(map(str, shapes))}")
    unusable = labelled.any(1) & ~(norm.isfinite() & (norm > 0))
    if unusable.any():
        found = f"found {norm[unusable][0].item()}; to leave the image out, pass its points as not labelled"
        raise ValueError(f"the normaliser of an image with labelled points must be positive and finite, {found}")
    x, y = (pred.double() - target.double()).unbind(-1)
    distance = (x * x + y * y).sqrt()
    return distance.where(~distance.isnan(), math.inf)


def _scored(nmes: Tensor, threshold: float) -> Tensor:
    """The errors that are not NaN, after checking the arguments."""
    _check_threshold(threshold)
    scored = nmes[~nmes.isnan()]
    if len(scored) == 0:
        raise ValueError(f"expected the error of at least one image, found none among {len(nmes)} values")
    return scored


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < math.inf:
        raise ValueError(f"the threshold must be a positive and finite fraction, found {threshold}")
