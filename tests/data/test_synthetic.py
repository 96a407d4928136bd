"""Rendered faces: what is drawn lies at the points, flags tell the truth, files are WFLW's and written once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from awing.data.synthetic.dataset import render_face, write_dataset
from awing.data.synthetic.rendering import FaceParameters, RenderedFace, render
from awing.errors import DataError

FRONTAL = FaceParameters(light=(0.0, 20.0), skin=(0.95, 0.77, 0.65), iris=(0.1, 0.06, 0.03))
ATTRIBUTES = Path("WFLW_annotations/list_98pt_rect_attr_train_test")
SUBSETS = Path("WFLW_annotations/list_98pt_test")


@pytest.fixture(scope="module")
def frontal() -> RenderedFace:
    return render(FRONTAL)


@pytest.fixture(scope="module")
def population() -> list[RenderedFace]:
    return [render_face(1, "test", index) for index in range(60)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "synthetic"
    write_dataset(root, train=4, test=6, seed=3, workers=1)
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def polygon(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask.astype(bool)


# The points in the picture


def test_frontal_points_are_in_wflw_order(frontal: RenderedFace) -> None:
    x, y = frontal.points.T
    for left, right in ((33, 46), (37, 42), (60, 72), (64, 68), (96, 97), (55, 59), (76, 82), (88, 92)):
        assert x[left] < x[right] - 3
    assert (np.diff(x[:33]) > 0).all()
    assert y[16] == y.max()
    assert (np.diff(x[[33, 34, 35, 36, 37]]) > 0).all()
    assert (np.diff(x[[42, 43, 44, 45, 46]]) > 0).all()
    for upper, lower in (((34, 35, 36, 37), (41, 40, 39, 38)), ((42, 43, 44, 45), (50, 49, 48, 47))):
        assert (y[list(upper)] < y[list(lower)] - 1).all()  # rows of the brows
    lids = ((61, 62, 63), (67, 66, 65)), ((69, 70, 71), (75, 74, 73))
    for upper, lower in (*lids, (range(77, 82), range(87, 82, -1))):
        assert (y[list(upper)] < y[list(lower)] - 2).all()  # lids and lips
    assert (np.diff(y[51:55]) > 0).all()
    assert y[54] < y[57] < y[79] < y[90]
    assert (np.diff(x[55:60]) > 0).all()
    assert (np.diff(x[76:83]) > 0).all()
    assert (np.diff(x[82:88]) < 0).all()


def test_a_symmetric_face_has_symmetric_points(frontal: RenderedFace) -> None:
    x, y = frontal.points.T
    pairs = [(i, 32 - i) for i in range(16)]
    pairs += [(60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)]
    pairs += [(33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47), (96, 97)]
    pairs += [(55, 59), (56, 58), (76, 82), (77, 81), (78, 80), (87, 83), (86, 84), (88, 92), (89, 91), (95, 93)]
    left, right = np.array(pairs).T
    np.testing.assert_allclose(x[left] + x[right], 2 * x[16], atol=0.02)
    np.testing.assert_allclose(y[left], y[right], atol=0.02)


@pytest.mark.parametrize("parameters", [{}, {"pose": (20.0, 0.0, 0.0)}, {"gaze": (-0.7, 0.3)}])
def test_pupils_are_where_the_dark_discs_are(parameters: dict[str, Any]) -> None:
    face = render(replace(FRONTAL, **parameters))
    dark = 255.0 - face.image.astype(float).mean(2)
    for pupil, eye in ((96, slice(60, 68)), (97, slice(68, 76))):
        middle = face.points[pupil]
        grid = np.stack(np.meshgrid(np.arange(224), np.arange(224)), -1)
        near = (np.linalg.norm(grid - middle, axis=-1) < 5) & polygon(dark.shape, face.points[eye])
        weight = np.where(near, np.clip(dark - 150, 0, None), 0)
        found = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
        assert np.linalg.norm(found - middle) < 1.3
        assert dark[near].max() > 200


@pytest.mark.parametrize("parameters", [{}, {"pose": (25.0, 0.0, 20.0)}, {"mouth_open": 0.6}])
def test_lips_are_redder_than_what_surrounds_them(parameters: dict[str, Any]) -> None:
    face = render(replace(FRONTAL, **parameters))
    image = cv2.GaussianBlur(face.image, (0, 0), 0.7).astype(float)
    redness = image[..., 0] / image.sum(2)
    outer, inner = polygon(redness.shape, face.points[76:88]), polygon(redness.shape, face.points[88:96])
    solid, square = outer.astype(np.uint8), np.ones((3, 3), np.uint8)
    lips = cv2.erode(solid, square).astype(bool) & ~inner
    around = cv2.dilate(solid, square, iterations=3) > cv2.dilate(solid, square)
    assert np.median(redness[lips]) > np.median(redness[around]) + 0.03
    threshold = (np.median(redness[lips]) + np.median(redness[around])) / 2
    assert (redness[around] < threshold).mean() > 0.9


def test_an_open_mouth_is_dark_inside_and_a_shut_one_has_no_inside() -> None:
    shut, wide = render(FRONTAL), render(replace(FRONTAL, mouth_open=0.9))
    height = [face.points[94, 1] - face.points[90, 1] for face in (shut, wide)]
    assert height[0] < 1
    assert height[1] > 15
    x, y = wide.points[90] + (wide.points[94] - wide.points[90]) * 0.6
    nose = np.round(wide.points[54]).astype(int)
    assert wide.image[round(y), round(x)].mean() < 0.5 * wide.image[nose[1], nose[0]].mean()
    length = [np.ptp(face.points[[51, 16], 1]) / np.ptp(face.points[[60, 72], 0]) for face in (shut, wide)]
    assert length[1] > length[0] + 0.1  # the chin goes down with the lip


def test_shut_eyes_have_lids_that_meet() -> None:
    face = render(replace(FRONTAL, eyes_open=(0.0, 1.0)))
    y = face.points[:, 1]
    np.testing.assert_allclose(y[[61, 62, 63]], y[[67, 66, 65]], atol=0.01)
    assert (y[[75, 74, 73]] - y[[69, 70, 71]] > 3).all()
    assert face.points[96, 1] == pytest.approx(y[62], abs=0.3)


@pytest.mark.parametrize("yaw", [35.0, -35.0, 50.0])
def test_the_far_contour_keeps_to_the_silhouette_and_the_nose_is_before_it(yaw: float) -> None:
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


def test_a_detectors_box_is_imprecise_but_its_crop_holds_the_points(population: list[RenderedFace]) -> None:
    points, boxes = np.stack([face.points for face in population]), np.stack([face.box for face in population])
    assert ((points >= 0) & (points <= 223)).all()
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    side = 1.1 * (high - low).max(2)
    assert (np.abs(points - (low + high) / 2).max(2) <= side / 2).mean() > 0.99
    error = np.abs(boxes - np.concatenate([points.min(1), points.max(1)], 1)) / side
    assert 0.01 < error.mean() < 0.05


# Randomness and flags


def test_a_face_is_a_function_of_seed_split_and_index() -> None:
    first, again = render_face(5, "train", 8), render_face(5, "train", 8)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.points, again.points)
    for other in (render_face(6, "train", 8), render_face(5, "test", 8), render_face(5, "train", 9)):
        assert np.abs(first.points - other.points).max() > 1


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("pose", {"pose": (-29.0, 0.0, 0.0)}, {"pose": (-31.0, 0.0, 0.0)}),
        ("pose", {"pose": (0.0, 19.0, 0.0)}, {"pose": (0.0, 21.0, 0.0)}),
        ("expression", {"mouth_open": 0.3}, {"mouth_open": 0.4}),
        ("expression", {"smile": 0.55}, {"smile": 0.65}),
        ("expression", {"brow_raise": -0.65}, {"brow_raise": -0.75}),
        ("expression", {"eyes_open": (1.0, 0.4)}, {"eyes_open": (1.0, 0.3)}),
        ("illumination", {"ambient": 0.3}, {"ambient": 0.2}),
        ("illumination", {"exposure": 0.55}, {"exposure": 0.45}),
        ("illumination", {"tint": (1.0, 0.65, 0.7)}, {"tint": (1.0, 0.55, 0.7)}),
        ("makeup", {"makeup": 0.45}, {"makeup": 0.55}),
        ("blur", {"blur": 1.7}, {"blur": 1.9}),
    ],
)
def test_a_flag_is_set_beyond_its_threshold_alone(name: str, below: dict[str, Any], above: dict[str, Any]) -> None:
    names = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
    assert not replace(FRONTAL, **below).flags().any()
    assert replace(FRONTAL, **above).flags().tolist() == [int(other == name) for other in names]


@pytest.mark.parametrize(("occluder", "most"), [("sunglasses", 10), ("mask", 40)])
@pytest.mark.parametrize("yaw", [0.0, 40.0])
def test_an_occluder_hides_points_and_leaves_them_where_they_are(occluder: str, most: int, yaw: float) -> None:
    bare = replace(FRONTAL, pose=(yaw, 0.0, 0.0), cloth=(0.1, 0.3, 0.9))
    face, covered = render(bare), render(replace(bare, occluder=occluder))
    np.testing.assert_array_equal(face.points, covered.points)
    x, y = np.round(face.points).astype(int).T
    assert (np.abs(face.image[y, x].astype(int) - covered.image[y, x]).max(1) > 12).sum() > most
    assert face.flags[4] == 0
    assert covered.flags[4] == 1


def test_blur_removes_detail_and_dim_light_light() -> None:
    def detail(face: RenderedFace) -> float:
        return float(cv2.Laplacian(cv2.cvtColor(face.image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())

    sharp = render(FRONTAL)
    assert detail(render(replace(FRONTAL, blur=2.0))) < 0.5 * detail(sharp)
    assert render(replace(FRONTAL, exposure=0.3)).image.mean() < 0.6 * sharp.image.mean()


def test_flags_are_neither_rare_nor_common(population: list[RenderedFace]) -> None:
    share = np.mean([face.flags for face in population], 0)
    assert ((share > 0.08) & (share < 0.4)).all()


# Files


def test_lists_have_the_official_columns_and_the_faces_of_render_face(written: Path) -> None:
    for split, count in (("train", 4), ("test", 6)):
        lines = (written / ATTRIBUTES / f"list_98pt_rect_attr_{split}.txt").read_text().splitlines()
        assert len(lines) == count
        for index, line in enumerate(lines):
            fields, face = line.split(" "), render_face(3, split, index)
            assert len(fields) == 207
            np.testing.assert_allclose(np.array(fields[:196], float).reshape(98, 2), face.points, atol=5.1e-7)
            assert [int(field) for field in fields[196:206]] == [*face.box, *face.flags]
            assert fields[206].startswith("0--Rendered/")
            stored = cv2.imread(str(written / "WFLW_images" / fields[206]))[..., ::-1]
            assert np.abs(stored.astype(float) - face.image).mean() < 4


def test_subset_lists_hold_the_flagged_faces(written: Path) -> None:
    rows = [line.split() for line in (written / ATTRIBUTES / "list_98pt_rect_attr_test.txt").read_text().splitlines()]
    names = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")
    for column, name in enumerate(names, 200):
        lines = (written / SUBSETS / f"list_98pt_test_{name}.txt").read_text().splitlines()
        assert lines == [" ".join([*row[:196], row[206]]) for row in rows if row[column] == "1"]
    assert len((written / SUBSETS / "list_98pt_test.txt").read_text().splitlines()) == 6


def test_two_processes_write_the_same_bytes_as_one(written: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "parallel", train=4, test=6, seed=3, workers=2)
    assert files(tmp_path / "parallel") == files(written)


def test_a_complete_set_is_left_alone(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    write_dataset(written, train=4, test=6, seed=3)
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before
    assert json.loads((written / "settings.json").read_text()) == {"version": 2, "seed": 3, "train": 4, "test": 6}


@pytest.mark.parametrize("other", [{"train": 5}, {"test": 7}, {"seed": 4}])
def test_other_settings_are_refused_and_nothing_is_touched(written: Path, other: dict[str, int]) -> None:
    before = files(written)
    with pytest.raises(DataError, match=r"name another folder with dataset\.root"):
        write_dataset(written, **{"train": 4, "test": 6, "seed": 3} | other)
    assert files(written) == before


def test_files_of_another_origin_are_refused(tmp_path: Path) -> None:
    (tmp_path / "WFLW_images").mkdir()
    (tmp_path / "WFLW_images" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="name another folder"):
        write_dataset(tmp_path, train=1, test=1)
    assert files(tmp_path) == {"WFLW_images/mine.jpg": b"mine"}


def test_an_interrupted_writing_is_done_again(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, calls = tmp_path / "faces", iter(range(9))
    encode = cv2.imencode

    def interrupted(*args: object) -> object:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(cv2, "imencode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(root, train=4, test=6, seed=3, workers=1)
    assert not (root / "settings.json").exists()
    assert not (root / ATTRIBUTES / "list_98pt_rect_attr_test.txt").exists()
    monkeypatch.undo()
    write_dataset(root, train=4, test=6, seed=3, workers=1)
    assert files(root) == files(written)
