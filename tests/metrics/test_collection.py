"""The data set metrics: their numbers, which batches, order and repeats never change."""

import pickle

import numpy as np
import pytest
import torch

from awing.metrics import LandmarkNME, PercentCorrectKeypoints, auc, failure_rate, nme, pck

NAMES = {"normalisers": ["inter_ocular", "box"], "subsets": ["pose", "blur", "empty"]}
GROUPS = {"ends": (0, 5), "middle": (2, 3, 4), "never": (6,)}


@pytest.fixture(scope="module")
def faces():
    """Eleven faces; the sixth has no label, landmark 6 never has one, no face is in subset "empty"."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 256, (11, 7, 2))
    labelled = rng.random((11, 7)) < 0.8
    labelled[:, 0], labelled[:, 6], labelled[5] = True, False, False
    subsets = np.stack([np.arange(11) % 2 == 0, np.arange(11) < 3, np.zeros(11, bool)], axis=1)
    arrays = {
        "pred": target + rng.normal(0, 5, (11, 7, 2)),
        "target": target,
        "labelled": labelled,
        "norms": rng.uniform(40, 80, (11, 2)),
        "index": np.arange(11),
        "subsets": subsets,
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def take(faces, rows):
    return {name: value[rows] for name, value in faces.items()}


def landmark_metric(faces, batches):
    metric = LandmarkNME(**NAMES)
    for rows in batches:
        metric.update(**take(faces, rows))
    return metric


def joint_metric(faces, batches):
    metric = PercentCorrectKeypoints(GROUPS)
    for rows in batches:
        batch = take(faces, rows)
        torso = batch["norms"][:, 0].contiguous()
        metric.update(batch["pred"], batch["target"], torso, batch["labelled"], batch["index"])
    return metric


def test_nme_results_are_the_pure_functions(faces):
    result = landmark_metric(faces, [list(range(11))]).compute()
    scored = torch.tensor([i for i in range(11) if i != 5])
    rows = {"full": scored, "pose": scored[scored % 2 == 0], "blur": scored[scored < 3]}
    assert list(result) == list(rows)
    for subset, chosen in rows.items():
        assert result[subset]["count"] == len(chosen)
        for column, name in enumerate(NAMES["normalisers"]):
            part = take(faces, chosen)
            values = nme(part["pred"], part["target"], part["norms"][:, column], part["labelled"])
            assert result[subset]["nme"][name] == pytest.approx(np.mean(values.numpy()), rel=1e-14)
            for key, threshold in [("0.08", 0.08), ("0.10", 0.10)]:
                assert result[subset]["fr"][name][key] == failure_rate(values, threshold)
                assert result[subset]["auc"][name][key] == pytest.approx(auc(values, threshold), rel=1e-14)
    assert 0 < result["full"]["fr"]["box"]["0.10"] < result["full"]["fr"]["box"]["0.08"] < 1


def test_pck_pools_the_labelled_joints_of_a_group(faces):
    result = joint_metric(faces, [list(range(11))]).compute()
    labelled = faces["labelled"]
    share = pck(faces["pred"], faces["target"], faces["norms"][:, 0], labelled)
    count = labelled.sum(0)
    expected = {
        name: float((share * count)[list(GROUPS[name])].sum() / count[list(GROUPS[name])].sum())
        for name in ("ends", "middle")
    }
    expected["mean"] = (expected["ends"] + expected["middle"]) / 2
    assert result == pytest.approx(expected, rel=1e-14)
    assert 0 < result["middle"] < 1


def test_batches_order_and_repeats_change_no_bit(faces):
    whole = [list(range(11))]
    shuffled = np.random.default_rng(1).permutation(11).tolist()
    for batches in (
        [[i] for i in range(11)],
        [shuffled[i : i + 3] for i in range(0, 11, 3)],
        [shuffled, shuffled[:4]],
        [[0, 0, 0, *range(1, 11)]],
    ):
        for build in (landmark_metric, joint_metric):
            assert build(faces, batches).compute() == build(faces, whole).compute()
        columns = [landmark_metric(faces, chosen).per_image() for chosen in (batches, whole)]
        for found, expected in zip(*columns, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_per_image_is_sorted_by_index(faces):
    index, nmes, membership = landmark_metric(faces, [[9, 3, 5], [0, 3]]).per_image()
    assert index.tolist() == [0, 3, 5, 9]
    assert torch.equal(membership, faces["subsets"][index])
    assert nmes.shape == (4, 2)
    assert nmes.isnan().all(1).tolist() == [False, False, True, False]
    expected = nme(faces["pred"], faces["target"], faces["norms"][:, 1], faces["labelled"])[index]
    torch.testing.assert_close(nmes[:, 1], expected, rtol=0, atol=0, equal_nan=True)


def test_nme_leaves_out_images_without_a_normaliser(faces):
    norms = faces["norms"].clone()
    norms[[2, 7], 0] = torch.nan
    metric = landmark_metric({**faces, "norms": norms}, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]])
    rest = [i for i in range(11) if i not in (2, 7)]
    assert metric.compute() == landmark_metric(faces, [rest]).compute()
    _, nmes, _ = metric.per_image()
    assert nmes[:, 0].isnan().nonzero().ravel().tolist() == [2, 5, 7]
    assert nmes[:, 1].isnan().nonzero().ravel().tolist() == [5]


@pytest.mark.parametrize("build", [landmark_metric, joint_metric])
def test_reset_forgets_and_copies_keep(build, faces):
    metric = build(faces, [[0, 1, 2]])
    before = metric.compute()
    copies = [metric.clone(), pickle.loads(pickle.dumps(metric))]
    metric.reset()
    with (
        pytest.raises(ValueError, match="No samples"),
        pytest.warns(match="before the ``update`` method"),
    ):
        metric.compute()
    assert all(copy.compute() == before for copy in copies)
