"""Rendered faces: what is drawn lies at the points, flags tell the truth, files are WFLW's and written once."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from awing.data.synthetic import read_synthetic, render_face, write_dataset
from awing.data.synthetic.face import FaceParameters
from awing.data.synthetic.rendering import RenderedFace, render
from awing.errors import DataError
from awing.schemes import get_scheme

FRONTAL = FaceParameters(light=(0.0, 20.0), skin=(0.95, 0.77, 0.65), iris=(0.1, 0.06, 0.03))
ATTRIBUTES = Path("WFLW_annotations/list_98pt_rect_attr_train_test")

SETTINGS = {"train": 4, "test": 6, "seed": 3}


@pytest.fixture(scope="module")
def frontal() -> RenderedFace:
    return render(FRONTAL)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "synthetic"
    write_dataset(root, **SETTINGS, workers=1)
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def polygon(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask.astype(bool)


# The points in the picture


def test_points_of_a_frontal_face_are_in_wflws_order(frontal):
    x, y = frontal.points.T
    assert (np.diff(x[:33]) > 0).all()
    assert y[16] == y.max()
    assert (np.diff(x[33:38]) > 0).all()
    assert (np.diff(x[42:47]) > 0).all()
    lids = ((61, 62, 63), (67, 66, 65)), ((69, 70, 71), (75, 74, 73))
    brows = ((34, 35, 36, 37), (41, 40, 39, 38)), ((42, 43, 44, 45), (50, 49, 48, 47))
    for upper, lower in (*lids, *brows, (range(77, 82), range(87, 82, -1))):
        assert (y[list(upper)] < y[list(lower)] - 1).all()
    assert (np.diff(y[51:55]) > 0).all()
    assert y[54] < y[57] < y[79] < y[90]
    assert (np.diff(x[55:60]) > 0).all()
    assert (np.diff(x[76:83]) > 0).all()
    assert (np.diff(x[82:88]) < 0).all()


def test_points_of_a_symmetric_face_are_symmetric(frontal):
    x, y = frontal.points.T
    left, right = np.array(get_scheme("wflw98").flip_pairs).T
    np.testing.assert_allclose(x[left] + x[right], 2 * x[16], atol=0.02)
    np.testing.assert_allclose(y[left], y[right], atol=0.02)


@pytest.mark.parametrize("parameters", [{"pose": (20.0, 0.0, 0.0)}, {"gaze": (-0.7, 0.3)}])
def test_points_of_pupils_are_where_the_dark_discs_are(parameters):
    face = render(replace(FRONTAL, **parameters))
    dark = 255.0 - face.image.astype(float).mean(2)
    grid = np.stack(np.meshgrid(np.arange(224), np.arange(224)), -1)
    for pupil, eye in ((96, slice(60, 68)), (97, slice(68, 76))):
        middle = face.points[pupil]
        near = (np.linalg.norm(grid - middle, axis=-1) < 5) & polygon(dark.shape, face.points[eye])
        weight = np.where(near, np.clip(dark - 150, 0, None), 0)
        found = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
        assert np.linalg.norm(found - middle) < 1.3
        assert dark[near].max() > 200


def test_points_follow_an_open_mouth_and_a_shut_eye(frontal):
    face = render(replace(FRONTAL, mouth_open=0.9, eyes_open=(0.0, 1.0)))
    height = [found.points[94, 1] - found.points[90, 1] for found in (frontal, face)]
    assert height[0] < 1
    assert height[1] > 15
    x, y = face.points[90] + (face.points[94] - face.points[90]) * 0.6
    nose = np.round(face.points[54]).astype(int)
    assert face.image[round(y), round(x)].mean() < 0.5 * face.image[nose[1], nose[0]].mean()  # dark inside
    y = face.points[:, 1]
    np.testing.assert_allclose(y[[61, 62, 63]], y[[67, 66, 65]], atol=0.01)
    assert (y[[75, 74, 73]] - y[[69, 70, 71]] > 3).all()
    assert y[96] == pytest.approx(y[62], abs=0.3)


@pytest.mark.parametrize("yaw", [35.0, -50.0])
def test_points_of_the_far_contour_keep_to_the_silhouette(yaw):
    pictures = [render(replace(FRONTAL, pose=(yaw, 0.0, 0.0), seed=seed)) for seed in (7, 8, 9, 10)]
    side, points = round(np.sign(yaw)), pictures[0].points
    # The head is the same in front of every background: it ends where the pictures begin to differ.
    for point in 16 + side * np.arange(5, 10):
        x, y = points[point]
        spread = np.ptp([picture.image[round(y)].astype(int) for picture in pictures], 0).max(1)
        outwards = spread[round(x) - 20 * side :: side]
        assert abs(round(x) - 20 * side + side * np.argmax(outwards > 45) - x) < 3
    assert side * (points[54, 0] - points[57, 0]) > 1
    assert abs(points[54, 0] - points[16 + 14 * side, 0]) < 30


# Randomness and flags


def test_render_face_is_a_function_of_seed_split_and_index():
    first, again = render_face(5, "train", 8), render_face(5, "train", 8)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    for other in (render_face(6, "train", 8), render_face(5, "test", 8), render_face(5, "train", 9)):
        assert np.abs(first.points - other.points).max() > 1


def test_population_has_every_flag_and_imprecise_boxes_that_hold_the_points():
    population = [render_face(1, "test", index) for index in range(40)]
    share = np.mean([face.flags for face in population], 0)
    assert ((share > 0.05) & (share < 0.45)).all()
    points, boxes = np.stack([face.points for face in population]), np.stack([face.box for face in population])
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    side = 1.1 * (high - low).max(2)
    assert (np.abs(points - (low + high) / 2).max(2) <= side / 2).mean() > 0.99
    error = np.abs(boxes - np.concatenate([points.min(1), points.max(1)], 1)) / side
    assert 0.01 < error.mean() < 0.05


@pytest.mark.parametrize(("occluder", "most", "yaw"), [("sunglasses", 10, 40.0), ("mask", 40, 0.0)])
def test_occluder_hides_points_and_leaves_them_where_they_are(occluder, most, yaw):
    bare = replace(FRONTAL, pose=(yaw, 0.0, 0.0), cloth=(0.1, 0.3, 0.9))
    face, covered = render(bare), render(replace(bare, occluder=occluder))
    np.testing.assert_array_equal(face.points, covered.points)
    x, y = np.round(face.points).astype(int).T
    assert (np.abs(face.image[y, x].astype(int) - covered.image[y, x]).max(1) > 12).sum() > most
    assert face.flags[4] == 0
    assert covered.flags[4] == 1


# Files


def test_write_dataset_gives_official_columns(written):
    for split in ("train", "test"):
        lines = (written / ATTRIBUTES / f"list_98pt_rect_attr_{split}.txt").read_text().splitlines()
        rows = [line.split(" ") for line in lines]
        assert len(rows) == SETTINGS[split]
        assert {len(row) for row in rows} == {207}
        for index, row in enumerate(rows):
            face, stored = render_face(3, split, index), cv2.imread(str(written / "WFLW_images" / row[206]))[..., ::-1]
            np.testing.assert_allclose(np.array(row[:196], float).reshape(98, 2), face.points, atol=5.1e-7)
            assert [int(field) for field in row[196:206]] == [*face.box, *face.flags]
            assert np.abs(stored.astype(float) - face.image).mean() < 4


@pytest.mark.slow
def test_write_dataset_by_two_processes_gives_the_same_bytes(written, tmp_path):
    write_dataset(tmp_path / "parallel", **SETTINGS, workers=2)
    assert files(tmp_path / "parallel") == files(written)


def test_read_synthetic_leaves_a_complete_set_alone(written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    annotations = read_synthetic(written, "test", expected={"train": 4, "test": 6}, seed=3)
    assert len(annotations.records) == annotations.expected == 6
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_write_dataset_overwrites_nothing(written, tmp_path):
    before = files(written)
    with pytest.raises(DataError, match=r"'seed': 3.*name another folder with dataset\.root"):
        write_dataset(written, **SETTINGS | {"seed": 4})
    assert files(written) == before
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="found files of another origin; name another folder"):
        write_dataset(tmp_path, train=1, test=1)
    assert files(tmp_path) == {"mine.jpg": b"mine"}


def test_write_dataset_begins_again_after_an_interruption(written, tmp_path, monkeypatch):
    root, calls, encode = tmp_path / "faces", iter(range(9)), cv2.imencode

    def interrupted(*args: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(cv2, "imencode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(root, **SETTINGS, workers=1)
    assert not root.exists()
    monkeypatch.undo()
    write_dataset(root, **SETTINGS, workers=1)
    assert files(root) == files(written)
