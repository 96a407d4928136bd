"""The pure metrics against NumPy references, hand-worked examples and their own definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awing.metrics import auc, ced, failure_rate, nme, pck

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)
# steps of 1/64 make equal errors, and errors equal to a threshold, common
errors = st.lists(st.integers(0, 64).map(lambda i: i / 64), min_size=1, max_size=30)
thresholds = st.integers(1, 64).map(lambda i: i / 64)


def faces(seed, b=5, k=7):
    """Random predictions, truths, normalisers and labels; every image has a label."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 256, (b, k, 2))
    labelled = rng.random((b, k)) < 0.7
    labelled[:, 0] = True
    return target + rng.normal(0, 5, (b, k, 2)), target, rng.uniform(20, 100, b), labelled


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def nme_reference(pred, target, norm, labelled):
    """Equation 7, one image and one labelled landmark at a time."""
    result = []
    for p_hat, p, d, mask in zip(pred, target, norm, labelled, strict=True):
        terms = [np.linalg.norm(p[i] - p_hat[i]) / d for i in range(len(p)) if mask[i]]
        result.append(sum(terms) / len(terms))
    return result


@few
@given(seed=seeds)
def test_nme_equals_the_paper(seed):
    pred, target, norm, labelled = faces(seed)
    found = nme(*tensors(pred, target, norm, labelled))
    np.testing.assert_allclose(found, nme_reference(pred, target, norm, labelled), rtol=1e-12)
    everything = nme_reference(pred, target, norm, np.ones_like(labelled))
    np.testing.assert_allclose(nme(*tensors(pred, target, norm)), everything, rtol=1e-12)


def test_nme_and_pck_ignore_unlabelled_points():
    pred, target, norm, labelled = tensors(*faces(0))
    before = nme(pred, target, norm, labelled), pck(pred, target, norm, labelled)
    pred[~labelled], target[~labelled] = 1e6, float("nan")
    after = nme(pred, target, norm, labelled), pck(pred, target, norm, labelled)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1].isnan(), after[1].isnan())
    assert torch.equal(before[1].nan_to_num(), after[1].nan_to_num())


def test_nme_of_an_image_without_labels_is_nan():
    pred, target, norm, labelled = tensors(*faces(0))
    expected = nme(pred, target, norm, labelled)
    labelled[2], norm[2] = False, float("nan")
    found = nme(pred, target, norm, labelled)
    assert found.isnan().tolist() == [False, False, True, False, False]
    assert torch.equal(found[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])


def test_nan_predictions_are_failures():
    pred, target, norm, labelled = tensors(*faces(0))
    pred[1, 0, 0] = float("nan")
    found = nme(pred, target, norm, labelled)
    assert found.isinf().tolist() == [False, True, False, False, False]
    assert failure_rate(found, 1e6) == 0.2
    assert pck(pred, target, 1e6 * norm, labelled)[0] == 0.8


@pytest.mark.parametrize(("size", "k"), [(1, 98), (3, 68), (8, 5)])
def test_nme_is_the_same_bits_in_every_batch(size, k):
    pred, target, norm, labelled = tensors(*faces(1, b=40, k=k))
    parts = zip(*(tensor.split(size) for tensor in (pred, target, norm, labelled)), strict=True)
    assert torch.equal(torch.cat([nme(*part) for part in parts]), nme(pred, target, norm, labelled))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors_at_the_threshold_are_no_failures(dtype):
    # 0.1 is no binary fraction: the two dtypes hold different numbers, and either is "at" 0.1
    nmes = torch.tensor([0.05, 0.1, 0.15], dtype=dtype)
    assert failure_rate(nmes, 0.1) == pytest.approx(1 / 3)
    assert float(ced(nmes, 0.1)[1][-1]) == pytest.approx(2 / 3)
    assert failure_rate(torch.nextafter(nmes, torch.tensor(1.0, dtype=dtype)), 0.1) == pytest.approx(2 / 3)


@few
@given(values=errors, threshold=thresholds)
def test_failure_rate_is_the_share_above(values, threshold):
    assert failure_rate(torch.tensor(values), threshold) == sum(e > threshold for e in values) / len(values)


@few
@given(values=errors, limit=thresholds)
def test_ced_is_the_exact_step_curve(values, limit):
    nmes = torch.tensor(values, dtype=torch.float64)
    x, shares = ced(nmes, limit)
    assert x[0] == 0
    assert x[-1] == limit
    assert (x.diff() > 0).all()
    assert (shares.diff() >= 0).all()
    assert x.tolist() == sorted({0.0, limit, *(e for e in values if e <= limit)})
    assert shares.tolist() == [sum(e <= at for e in values) / len(values) for at in x.tolist()]
    assert float(shares[-1]) == pytest.approx(1 - failure_rate(nmes, limit))


@few
@given(values=errors, threshold=thresholds)
def test_auc_is_the_area_under_the_ced(values, threshold):
    nmes = torch.tensor(values, dtype=torch.float64)
    grid = np.linspace(0, threshold, 20001)
    share = np.searchsorted(np.sort(values), grid, side="right") / len(values)
    area = np.sum((share[1:] + share[:-1]) / 2 * np.diff(grid))
    assert auc(nmes, threshold) == pytest.approx(area / threshold, abs=5e-5)
    x, shares = ced(nmes, threshold)
    steps = float((shares[:-1] * x.diff()).sum())
    assert auc(nmes, threshold) == pytest.approx(steps / threshold, abs=1e-12)


def test_nan_errors_are_left_out():
    nmes = torch.tensor([float("nan"), 0.0, 0.05, float("inf")], dtype=torch.float64)
    assert failure_rate(nmes, 0.1) == pytest.approx(1 / 3)
    assert auc(nmes, 0.1) == pytest.approx((1 + 0.5 + 0) / 3)
    assert ced(nmes, 0.1)[1].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_pck_by_hand():
    """Three people with torsos of 100, 50 and 10 pixels: a joint is found within 20, 10 and 2 pixels."""
    offsets = torch.tensor(
        [
            [[20.0, 0.0], [12.0, 16.0], [20.5, 0.0], [0.0, 0.0]],
            [[0.0, 10.0], [6.0, 8.5], [0.0, 0.0], [0.0, 0.0]],
            [[2.5, 0.0], [0.0, 0.0], [-2.0, 0.0], [0.0, 0.0]],
        ]
    )
    labelled = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    target = torch.full((3, 4, 2), 64.0)
    found = pck(target + offsets, target, torch.tensor([100.0, 50.0, 10.0]), labelled)
    assert found[:3].tolist() == [2 / 3, 2 / 3, 1 / 2]
    assert found[3].isnan()
    stricter = pck(target + offsets, target, torch.tensor([100.0, 50.0, 10.0]), labelled, threshold=0.1)
    assert stricter[:3].tolist() == [0.0, 1 / 3, 0.0]


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_normalisers_that_are_not_positive_are_refused(bad):
    pred, target, norm, labelled = tensors(*faces(0))
    norm[3] = bad
    for metric in (nme, pck):
        with pytest.raises(ValueError, match="must be positive and finite, found"):
            metric(pred, target, norm, labelled)


@pytest.mark.parametrize("metric", [failure_rate, ced, auc])
def test_no_error_and_a_bad_threshold_are_refused(metric):
    with pytest.raises(ValueError, match="at least one image, found none among 2 values"):
        metric(torch.tensor([float("nan")] * 2), 0.1)
    for bad in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="threshold must be a positive"):
            metric(torch.tensor([0.1]), bad)
