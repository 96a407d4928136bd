"""The aligner: the landmarks of an evaluation, from an image and boxes alone."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from awing.checkpoint import Checkpoint
from awing.data.crops import landmark_box, record_matrix
from awing.data.dataset import LandmarkDataset
from awing.data.images import read_image, save_picture
from awing.data.readers import read_300w
from awing.data.records import Record
from awing.errors import ConfigError, DataError
from awing.geometry import apply
from awing.inference.aligner import Aligner
from awing.inference.detector import FaceDetector
from awing.losses import MSELoss
from awing.models import StackedHourglass
from awing.regressor import LandmarkRegressor, to_source
from awing.schemes import get_scheme


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A network of random weights: its maps depend on every pixel, and no two are alike."""
    torch.manual_seed(0)
    model = {"stacks": 1, "channels": 16, "depth": 2, "boundary_coords": False}
    codec = {"scheme": asdict(get_scheme("ibug68")), "input_size": 64, "heatmap_size": 16, "decoder": "refined"}
    return Checkpoint(
        path=Path("random.ckpt"),
        config={
            "codec": {"_target_": "awing.codec.HeatmapCodec", **codec},
            "model": {"_target_": "awing.models.StackedHourglass", **model},
            "dataset": {"name": "300w", "crop": "landmarks", "crop_scale": 1.25},
        },
        cut={"val_fraction": 0.0, "test_fraction": 0.0, "split_seed": 0},
        step=0,
        state_dict=StackedHourglass(68, **model).state_dict(),
    )


@pytest.fixture(scope="module")
def records(rendered, tmp_path_factory) -> list[Record]:
    """Five faces as PNG files: a JPEG would be decoded at half its size for a data set, and whole for an array."""
    folder, faces = tmp_path_factory.mktemp("png"), []
    for i, record in enumerate(read_300w(rendered / "300w", "train", allow_partial=True).records[:5]):
        save_picture(folder / f"{i}.png", read_image(record.path))
        faces.append(replace(record, path=folder / f"{i}.png"))
    return faces


def test_points_are_those_of_an_evaluation(checkpoint, records):
    dataset = LandmarkDataset(records, get_scheme("ibug68"), 64, "landmarks", 1.25, ["inter_ocular"], [])
    batch = default_collate([dataset[0, i] for i in range(len(records))])
    regressor = LandmarkRegressor(
        checkpoint.network(), checkpoint.codec(), MSELoss(), torch.ones_like, ["inter_ocular"], []
    ).eval()
    with torch.no_grad():
        points, peaks = regressor.codec.decode(regressor(batch["image"])[-1])
    expected = to_source(torch.linalg.inv(batch["matrix"]), points).numpy()
    aligner = Aligner(checkpoint, "cpu", batch_size=2)
    images = [read_image(record.path) for record in records]
    faces = [aligner.faces(image, landmark_box(r)[None]) for image, r in zip(images, records, strict=True)]
    found = aligner.align(faces)
    np.testing.assert_allclose(np.concatenate([f.points for f in found]), expected, atol=0.02)
    np.testing.assert_allclose(np.concatenate([f.confidence for f in found]), peaks.clamp(0, 1), atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.5  # faces differ: the comparison can fail


def test_points_move_with_the_picture(checkpoint, records):
    image, box = read_image(records[0].path), landmark_box(records[0])
    moved = cv2.copyMakeBorder(image, 12, 0, 8, 0, cv2.BORDER_CONSTANT)
    aligner = Aligner(checkpoint, "cpu")
    offset = np.array([8.0, 12.0])  # even: the picture is halved first
    found = aligner(moved, [box + np.tile(offset, 2)]).points
    np.testing.assert_allclose(found, aligner(image, [box]).points + offset, atol=1e-6)


def test_several_faces_of_an_image_and_none(checkpoint, records):
    image, box = read_image(records[0].path), landmark_box(records[0])
    aligner = Aligner(checkpoint, "cpu", batch_size=2)
    boxes = np.stack([box, box * 0.9, box * 0.8])
    together = aligner(image, boxes)
    assert together.points.shape == (3, 68, 2) and together.confidence.shape == (3, 68)
    np.testing.assert_array_equal(together.boxes, boxes)
    for i, one in enumerate(boxes):
        np.testing.assert_allclose(aligner(image, one[None]).points[0], together.points[i], atol=1e-3)
    nothing = aligner(image, [])
    assert nothing.points.shape == (0, 68, 2) and nothing.boxes.shape == (0, 4)
    assert aligner.align([]) == []


def test_calibrated_confidence_is_the_logistic_of_the_peak(checkpoint, records):
    image, box = read_image(records[0].path), landmark_box(records[0])
    confidence = {"slope": 3.0, "offset": -1.0, "radius": 0.05, "normaliser": "inter_ocular"}
    raw = Aligner(checkpoint, "cpu")(image, [box])
    calibrated = Aligner(replace(checkpoint, confidence=confidence), "cpu")(image, [box])
    np.testing.assert_array_equal(calibrated.points, raw.points)
    inside = (raw.confidence > 0) & (raw.confidence < 1)
    assert inside.any()
    expected = 1 / (1 + np.exp(1 - 3 * raw.confidence[inside]))
    np.testing.assert_allclose(calibrated.confidence[inside], expected, rtol=1e-6)


def test_the_official_crop_without_truth_is_the_one_that_truth_leaves_alone(checkpoint, records):
    """A face well inside its box does not enlarge the authors' square."""
    box = np.array([100.0, 120.0, 180.0, 220.0])
    middle = np.array([140.0, 170.0]) + np.linspace(-20, 20, 68)[:, None]
    record = Record(Path("a.jpg"), middle, np.ones(68, dtype=bool), box=box)
    config = {**checkpoint.config, "dataset": {"name": "wflw", "crop": "official", "crop_scale": 1.0}}
    _, matrix = Aligner(replace(checkpoint, config=config), "cpu").crop(np.zeros((300, 300, 3), np.uint8), box)
    np.testing.assert_allclose(matrix, record_matrix(record, "official", 1.0, 64), atol=1e-9)


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (np.zeros((9, 9), np.uint8), [], r"expected an RGB image, .* found uint8 \(9, 9\)"),
        (np.zeros((9, 9, 3)), [], r"found float64 \(9, 9, 3\)"),
        (np.zeros((9, 0, 3), np.uint8), [], "no pixel"),
        ("a.jpg", [], "found str"),
        (np.zeros((9, 9, 3), np.uint8), [1, 2, 3, 4], r"shape \(faces, 4\), found \(4,\)"),
        (np.zeros((9, 9, 3), np.uint8), [["a", 0, 1, 1]], "four numbers each"),
        (np.zeros((9, 9, 3), np.uint8), [[3, 0, 1, 1]], "x1 > x0"),
        (np.zeros((9, 9, 3), np.uint8), [[0, 0, np.nan, 1]], "x1 > x0"),
        (np.zeros((9, 9, 3), np.uint8), [[20, 20, 30, 30]], r"lies outside the image of 9 x 9 px"),
    ],
)
def test_what_is_no_image_and_no_box_is_refused(checkpoint, unchecked, image, boxes, message):
    with pytest.raises(DataError, match=message):
        Aligner(checkpoint, "cpu")(image, boxes)


def test_a_device_that_is_not_there_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
        Aligner(checkpoint, "cuda:99")
    with pytest.raises(ConfigError, match="batch_size is at least 1"):
        Aligner(checkpoint, "cpu", batch_size=0)
    with pytest.raises(ConfigError, match=r"min_confidence lies in \[0, 1\], found 30"):
        Aligner(checkpoint, "cpu", min_confidence=30)


def test_maps_come_on_request(checkpoint, records):
    aligner = Aligner(checkpoint, "cpu", batch_size=2)
    image, box = read_image(records[0].path), landmark_box(records[0])
    faces = aligner.faces(image, [box, box * 0.9, box * 0.8])
    (found,), (without,) = aligner.align([faces], maps=True), aligner.align([faces])
    assert found.maps.shape == (3, 69, 16, 16) and without.maps.shape == (3, 0, 0, 0)
    np.testing.assert_array_equal(found.points, without.points)
    points, _ = aligner.codec.decode(torch.from_numpy(found.maps[2:]))
    _, matrix = aligner.crop(image, box * 0.8)
    np.testing.assert_allclose(apply(matrix, found.points[2]), points[0], atol=1e-4)


def test_a_detected_box_of_little_confidence_is_no_face(records, monkeypatch):
    """By the mean over its points, against the limit that was asked for; given boxes always stay."""
    image, box = read_image(records[0].path), landmark_box(records[0])
    boxes = np.stack([box * 0.3, box])
    given = Aligner.load("300w-small", "cpu", min_confidence=1)(image, boxes)
    assert given.points.shape == (2, 68, 2) and given.dropped == 0
    means = given.confidence.mean(1)
    assert means[1] > means[0] + 0.01
    aligner = Aligner.load("300w-small", "cpu", min_confidence=float(means.mean()))
    monkeypatch.setattr(FaceDetector, "__call__", lambda *_: (boxes, np.ones(2)))
    found = aligner(image)
    assert found.dropped == 1 and len(found.points) == len(found.confidence) == len(found.maps) == 1
    np.testing.assert_array_equal(found.boxes, boxes[1:])
    np.testing.assert_allclose(found.points, given.points[1:], atol=1e-3)


def test_averaged_with_the_mirrored_face_a_mirrored_picture_has_mirrored_points(checkpoint, records):
    image, box = read_image(records[0].path), landmark_box(records[0])
    edge = image.shape[1] - 1
    apart = {}
    for flip in (False, True):
        aligner = Aligner(checkpoint, "cpu", flip_test=flip)
        points = aligner(image, [box]).points[0]
        mirrored = aligner(image[:, ::-1].copy(), [[edge - box[2], box[1], edge - box[0], box[3]]]).points[0]
        mirrored = mirrored[aligner.scheme.flip_permutation]
        mirrored[:, 0] = edge - mirrored[:, 0]
        apart[flip] = np.linalg.norm(points - mirrored, axis=1)
    assert np.median(apart[True]) < 0.2 < 1 < np.median(apart[False])  # random maps have near ties: hence the median


@pytest.mark.parametrize(
    ("crop", "scheme"),
    [("provided", "ibug68"), ("official", "wflw98"), ("landmarks", "cofw29"), ("landmarks", "lsp14")],
)
def test_the_detectors_boxes_are_for_what_they_were_fitted_to(checkpoint, crop, scheme):
    assert Aligner(checkpoint, "cpu").detector
    config = {**checkpoint.config, "dataset": {**checkpoint.config["dataset"], "crop": crop}}
    aligner = Aligner(replace(checkpoint, config=config), "cpu")
    aligner.scheme = get_scheme(scheme)
    with pytest.raises(ConfigError, match=rf"this checkpoint takes crop={crop} of {scheme}: give boxes"):
        aligner(np.zeros((50, 50, 3), np.uint8))


def test_the_base_install_is_enough():
    """The package for use imports nothing that only training needs."""
    code = (
        "import sys, awing, awing.inference.predict; awing.Aligner; import awing.losses, awing.codec, awing.models\n"
        "print([name for name in ('hydra', 'omegaconf', 'pytorch_lightning', 'torchmetrics', 'albumentations',"
        " 'h5py', 'scipy', 'matplotlib', 'PIL', 'rich', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
