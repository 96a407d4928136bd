"""Flip pairs against names and faces."""

from dataclasses import replace

import numpy as np
import pytest
from faces import random_face

from awing.data.readers import read_300w, read_wflw
from awing.schemes import SCHEMES
from awing.schemes.file import read_map
from awing.schemes.scheme import other_mirror_images, side_pairs


def conflicts(scheme, points):
    return list(other_mirror_images(scheme, points, np.ones(points.shape[:2], dtype=bool)))


@pytest.mark.parametrize("name", ["wflw98", "ibug68"])
def test_mean_face_agrees_with_right_pairs_and_names_wrong_ones(name):
    rng, scheme = np.random.default_rng(0), SCHEMES[name]
    points = np.stack([random_face(name, 100, rng) for _ in range(40)])
    assert conflicts(scheme, points) == []
    (a, b), (c, d), *others = scheme.flip_pairs[::-1]
    crossed = conflicts(replace(scheme, flip_pairs=((a, c), (b, d), *others), lines=()), points)
    text = f"{scheme.names[a]} mirrors onto {scheme.names[b]} in the mean face, but is paired with {scheme.names[c]}"
    assert text in crossed
    assert len(crossed) == 4
    missing = conflicts(replace(scheme, flip_pairs=tuple(others), lines=()), points)
    assert len(missing) == 4
    assert all(text.endswith("has no pair") for text in missing)


def test_mean_face_of_profiles_or_without_a_point_is_not_judged():
    rng, scheme = np.random.default_rng(0), SCHEMES["ibug68"]
    points = np.stack([random_face("ibug68", 100, rng) for _ in range(20)])
    points[..., 0] = np.where(points[..., 0] > 50, 50 + (points[..., 0] - 50) / 3, points[..., 0])  # one half is narrow
    assert conflicts(replace(scheme, flip_pairs=(), lines=()), points) == []
    labelled = np.ones(points.shape[:2], dtype=bool)
    labelled[:, 3] = False
    assert list(other_mirror_images(scheme, points, labelled)) == []


def test_mean_face_agrees_with_real_sets(real_data):
    for scheme, read in (("ibug68", read_300w), ("wflw98", read_wflw)):
        folder = real_data / {"ibug68": "300w", "wflw98": "wflw"}[scheme]
        records = read(folder, "train", allow_partial=True).records
        faces = np.stack([r.points for r in records]), np.stack([r.labelled for r in records])
        assert list(other_mirror_images(SCHEMES[scheme], *faces)) == []


def test_names_of_sides_need_a_pair():
    for scheme in SCHEMES.values():
        paired = {i for pair in scheme.flip_pairs for i in pair}
        assert {i for pair in side_pairs(scheme.names) for i in pair} <= paired
    names = ["eyeLeft", "eyeRight", "L", "R", "color", "cocor"]
    assert side_pairs(names) == [(0, 1), (2, 3)]


def test_map_of_98_and_68_landmarks_keeps_pairs_and_normalisers():
    """What mirrors in one scheme mirrors in the other, and the eyes' corners are the same."""
    dense, sparse = SCHEMES["wflw98"], SCHEMES["ibug68"]
    to_dense = np.array(read_map("wflw98-ibug68", dense, sparse))
    assert (dense.flip_permutation[to_dense] == to_dense[sparse.flip_permutation]).all()
    assert [to_dense[list(end)].tolist() for end in sparse.normalisers["inter_ocular"]] == [[60], [72]]
    back = np.array(read_map("wflw98-ibug68", sparse, dense))
    assert (back >= 0).sum() == 68
    assert (back[to_dense] == np.arange(68)).all()
