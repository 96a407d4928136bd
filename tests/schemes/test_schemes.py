"""The built-in schemes against the data sets' documents, drawn faces and real annotations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from faces import face

from awing.schemes import SCHEMES, Scheme, get_scheme


def span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


LINES = {
    "ibug68": [
        span(0, 16), span(17, 21), span(22, 26),  # contour, brows
        span(36, 39), (36, 41, 40, 39), span(42, 45), (42, 47, 46, 45),  # eyes
        span(27, 30), span(31, 35),  # nose
        span(48, 54), span(60, 64), (48, 59, 58, 57, 56, 55, 54), (60, 67, 66, 65, 64),  # mouth
    ],
    "wflw98": [
        span(0, 32), span(33, 37), span(42, 46),
        span(60, 64), (60, 67, 66, 65, 64), span(68, 72), (68, 75, 74, 73, 72),
        span(51, 54), span(55, 59),
        span(76, 82), span(88, 92), (76, 87, 86, 85, 84, 83, 82), (88, 95, 94, 93, 92),
    ],
    "cofw29": [
        (0, 4, 2), (0, 5, 2), (1, 6, 3), (1, 7, 3), (8, 12, 10), (8, 13, 10), (9, 14, 11), (9, 15, 11),
        (18, 21, 19), (22, 24, 23), (22, 25, 23), (22, 26, 23), (22, 27, 23),
    ],
    "aflw19": [span(0, 2), span(3, 5), span(6, 8), span(9, 11), span(12, 14)],
    "lsp14": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "landmarks", "pairs"),
    [("wflw98", 98, 44), ("ibug68", 68, 29), ("cofw29", 29, 11), ("aflw19", 19, 8), ("lsp14", 14, 6)],
)
def test_scheme_counts(name: str, landmarks: int, pairs: int) -> None:
    scheme = get_scheme(name)
    assert scheme.name == name
    assert scheme.num_landmarks == len(scheme.names) == len(set(scheme.names)) == landmarks
    assert len(scheme.flip_pairs) == pairs
    assert set(SCHEMES) == set(LINES)


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_lines_are_the_authors(name: str) -> None:
    assert sorted(get_scheme(name).lines) == sorted(LINES[name])


@pytest.mark.parametrize("name", SCHEMES)
def test_flip_is_an_involution_of_left_and_right(name: str) -> None:
    scheme = get_scheme(name)
    flip = scheme.flip_permutation
    assert flip.shape == (scheme.num_landmarks,)
    assert (flip[flip] == np.arange(scheme.num_landmarks)).all()
    assert (flip != np.arange(scheme.num_landmarks)).sum() == 2 * len(scheme.flip_pairs)
    other = {"left": "right", "right": "left"}
    for i, landmark in enumerate(scheme.names):
        parts = [other.get(part, part) for part in landmark.split("_") if not part.isdigit()]
        assert parts == [part for part in scheme.names[flip[i]].split("_") if not part.isdigit()]


@pytest.mark.parametrize("name", ["wflw98", "ibug68"])
def test_flip_of_a_symmetric_face_is_the_face(name: str) -> None:
    points = face(name)
    mirrored = np.stack([1 - points[:, 0], points[:, 1]], -1)
    np.testing.assert_allclose(mirrored[get_scheme(name).flip_permutation], points, atol=1e-12)


def align(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Move, turn and scale points (no mirroring) to the least squared distance from the target."""
    a, b = ((p - p.mean(0)) @ [1, 1j] for p in (points, target))
    moved = a * (np.vdot(a, b) / np.vdot(a, a))
    return np.stack([moved.real, moved.imag], -1) + target.mean(0)


def annotations(name: str, real_data: Path) -> np.ndarray:
    if name == "ibug68":
        files = sorted((real_data / "300w").rglob("*.pts"))[::10]
        return np.stack([np.loadtxt(file, skiprows=3, max_rows=68) for file in files])
    if name == "wflw98":
        folder = real_data / "wflw/WFLW_annotations/list_98pt_rect_attr_train_test"
        rows = [np.loadtxt(file, usecols=range(196)) for file in sorted(folder.glob("*.txt"))]
        return np.concatenate(rows).reshape(-1, 98, 2)
    joints = scipy.io.loadmat(real_data / "lsp/lsp_dataset/joints.mat")["joints"]
    return np.moveaxis(joints[:2], (2, 1, 0), (0, 1, 2))


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    mean = shapes[0]
    for _ in range(3):
        mean = np.mean([align(shape, mean) for shape in shapes], 0)
    return mean


@pytest.mark.parametrize("name", ["ibug68", "wflw98", "lsp14"])
def test_flip_pairs_match_real_annotations(name: str, real_data: Path) -> None:
    mean, scheme = mean_shape(annotations(name, real_data)), get_scheme(name)
    mirrored = align((mean * [-1, 1])[scheme.flip_permutation], mean)[scheme.flip_permutation]
    distance = np.linalg.norm(mirrored[:, None] - mean, axis=-1)
    assert distance.argmin(1).tolist() == scheme.flip_permutation.tolist()
    assert distance.argmin(0).tolist() == scheme.flip_permutation.tolist()


@pytest.mark.parametrize("name", [name for name, scheme in SCHEMES.items() if scheme.five])
def test_five_parts_of_a_face_mirror_each_other(name: str) -> None:
    scheme = SCHEMES[name]
    mirrored = [{int(i) for i in scheme.flip_permutation[list(part)]} for part in scheme.five]
    assert mirrored == [set(scheme.five[k]) for k in (1, 0, 2, 4, 3)]


def test_normalisers_by_hand() -> None:
    def distance(scheme: str, name: str, points: dict[int, tuple[float, float]]) -> float:
        shape = np.full((get_scheme(scheme).num_landmarks, 2), 1e6)
        for i, point in points.items():
            shape[i] = point
        return get_scheme(scheme).normaliser(name, shape, np.ones(len(shape), dtype=bool))

    ends = [(1.0, 2.0), (4.0, 6.0)]  # 3, 4, 5
    assert distance("wflw98", "inter_ocular", dict(zip((60, 72), ends, strict=True))) == 5
    assert distance("wflw98", "inter_pupil", dict(zip((96, 97), ends, strict=True))) == 5
    assert distance("ibug68", "inter_ocular", dict(zip((36, 45), ends, strict=True))) == 5
    assert distance("cofw29", "inter_ocular", dict(zip((8, 9), ends, strict=True))) == 5
    assert distance("cofw29", "inter_pupil", dict(zip((16, 17), ends, strict=True))) == 5
    assert distance("lsp14", "torso", dict(zip((9, 2), ends, strict=True))) == 5
    left = {36: (0, 0), 37: (1, -1), 38: (2, -1), 39: (3, 0), 40: (2, 1), 41: (1, 1)}  # mean (1.5, 0)
    right = {i + 6: (x + 12, 9 + 3 * y) for i, (x, y) in left.items()}  # mean (13.5, 9)
    assert distance("ibug68", "inter_pupil", left | right) == pytest.approx(15)
    assert not get_scheme("aflw19").normalisers


def test_normaliser_without_its_landmarks_is_nan() -> None:
    scheme, points = get_scheme("ibug68"), face("ibug68")
    for i in range(68):
        labelled = np.arange(68) != i
        assert np.isnan(scheme.normaliser("inter_ocular", points, labelled)) == (i in (36, 45))
        assert np.isnan(scheme.normaliser("inter_pupil", points, labelled)) == (36 <= i <= 47)


VALID: dict[str, Any] = {
    "name": "toy",
    "names": ("left", "middle", "right", "top"),
    "flip_pairs": ((0, 2),),
    "lines": ((0, 1, 2), (1, 3)),
    "normalisers": {"width": ((0,), (2,))},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip_pairs": ((0, 4),)}, r"indices \[4\] are outside 0\.\.3"),
        ({"lines": ((0, 1, 2), (1, 9), (7, 8))}, r"indices \[7, 8, 9\] are outside 0\.\.3"),
        ({"normalisers": {"width": ((0,), (5,))}}, r"indices \[5\] are outside 0\.\.3"),
        ({"names": ("left", "middle", "right", "left")}, "landmark names must be unique"),
        ({"flip_pairs": ((0, 2), (2, 3))}, "a landmark stands in two flip pairs"),
        ({"flip_pairs": ((0, 2, 3),)}, "a flip pair needs two landmarks"),
        ({"lines": ((0, 1, 2), (3,))}, "a boundary line needs at least two landmarks"),
        ({"normalisers": {"width": ((0,), ())}}, "a normaliser needs two ends"),
        ({"groups": {"mean": (0,)}}, 'a group needs landmarks, "mean" is taken'),
        ({"lines": ((0, 1),)}, r"line \(0, 1\) becomes \(2, 1\) under a flip"),
        ({"lines": ((0, 1, 3), (2, 3, 1))}, r"line \(0, 1, 3\) becomes \(2, 1, 3\) under a flip"),
    ],
)
def test_inconsistent_schemes_are_refused(change: dict[str, Any], message: str, unchecked: None) -> None:
    assert Scheme(**VALID).num_landmarks == 4
    with pytest.raises(ValueError, match=f"scheme toy: .*{message}"):
        Scheme(**VALID | change)


@pytest.mark.parametrize("lines", [((0, 1), (2, 1)), ((0, 1), (1, 2)), ((2, 1, 0),)])
def test_lines_have_no_direction(lines: tuple[tuple[int, ...], ...]) -> None:
    assert Scheme(**VALID | {"lines": lines}).lines == lines
