"""The aligner: the landmarks of an evaluation, from an image and boxes alone."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from awing import Aligner
from awing.data.crops import landmark_box
from awing.data.images import read_image, save_picture
from awing.data.loading import LandmarkDataset
from awing.errors import ConfigError, DataError
from awing.geometry import apply, augmentation_matrix
from awing.inference.aligner import TEMPLATE
from awing.losses import MSELoss
from awing.metrics import nme
from awing.regressor import LandmarkRegressor, to_source
from awing.schemes import get_scheme


def test_aligner_finds_the_points_of_an_evaluation(checkpoint, rendered_faces, tmp_path):
    records = []  # as PNG: a JPEG would be decoded at half its size for a data set, and whole for an array
    for i, record in enumerate(rendered_faces):
        records.append(replace(record, path=tmp_path / f"{i}.png"))
        save_picture(records[i].path, read_image(record.path))
    dataset = LandmarkDataset(records, get_scheme("ibug68"), 64, "landmarks", 1.25, ["inter_ocular"], [])
    batch = default_collate([dataset[0, i] for i in range(len(records))])
    regressor = LandmarkRegressor(
        checkpoint.network(), checkpoint.codec(), MSELoss(), torch.ones_like, ["inter_ocular"], []
    ).eval()
    with torch.no_grad():
        points, peaks = regressor.codec.decode(regressor(batch["image"])[-1])
    expected = to_source(torch.linalg.inv(batch["matrix"]), points).numpy()
    assert np.ptp(expected, axis=0).min() > 0.5  # faces differ: the comparison can fail
    aligner = Aligner(checkpoint, "cpu")
    for i, record in enumerate(records):
        found = aligner(read_image(record.path), landmark_box(record)[None])
        np.testing.assert_allclose(found.points[0], expected[i], atol=0.02)
        np.testing.assert_allclose(found.confidence[0], peaks[i].clamp(0, 1), atol=1e-4)


def test_faces_of_an_image_are_independent(checkpoint, picture, rendered_faces):
    aligner = Aligner(checkpoint, "cpu", batch_size=2)
    boxes = np.stack([landmark_box(rendered_faces[0]) * scale for scale in (1, 0.9, 0.8)])
    together = aligner(picture, boxes)
    assert together.points.shape == (3, 68, 2)
    assert together.confidence.shape == (3, 68)
    np.testing.assert_array_equal(together.boxes, boxes)
    for box, points in zip(boxes, together.points, strict=True):
        np.testing.assert_allclose(aligner(picture, box[None]).points[0], points, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (np.zeros((9, 9), np.uint8), [], r"expected an RGB image, .* found uint8 \(9, 9\)"),
        (np.zeros((9, 9, 3)), [], r"found float64 \(9, 9, 3\)"),
        ("a.jpg", [], "found str"),
        (np.zeros((9, 9, 3), np.uint8), [1, 2, 3, 4], r"shape \(faces, 4\), found \(4,\)"),
        (np.zeros((9, 9, 3), np.uint8), [[3, 0, 1, 1]], "expected x0 < x1"),
        (np.zeros((9, 9, 3), np.uint8), [[0, 0, np.nan, 1]], "expected x0 < x1"),
        (np.zeros((9, 9, 3), np.uint8), [[20, 20, 30, 30]], "not outside 9 x 9 px"),
    ],
)
def test_aligner_refuses_other_arrays(checkpoint, unchecked, image, boxes, message):
    with pytest.raises(DataError, match=message):
        Aligner(checkpoint, "cpu")(image, boxes)


def test_aligner_refuses_impossible_options(checkpoint):
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
        Aligner(checkpoint, "cuda:99")
    with pytest.raises(ConfigError, match="batch_size is at least 1"):
        Aligner(checkpoint, "cpu", batch_size=0)


def test_flip_test_mirrors_with_the_picture(checkpoint, picture, rendered_faces):
    box, edge = landmark_box(rendered_faces[0]), picture.shape[1] - 1
    apart = {}
    for flip in (False, True):
        aligner = Aligner(checkpoint, "cpu", flip_test=flip)
        points = aligner(picture, [box]).points[0]
        mirrored = aligner(picture[:, ::-1].copy(), [[edge - box[2], box[1], edge - box[0], box[3]]]).points[0]
        mirrored = mirrored[aligner.scheme.flip_permutation]
        mirrored[:, 0] = edge - mirrored[:, 0]
        apart[flip] = np.linalg.norm(points - mirrored, axis=1)
    assert np.median(apart[True]) < 0.2 < 1 < np.median(apart[False])  # random maps have near ties: hence the median


def test_aligner_detects_faces_without_boxes(real_faces):
    aligner, errors = Aligner.load("300w-small", "cpu"), []
    for record in real_faces[:6]:
        found = aligner(read_image(record.path))
        norm = torch.tensor([aligner.scheme.normaliser("inter_ocular", record.points, record.labelled)])
        truth = torch.from_numpy(record.points)[None]
        errors.append(min((float(nme(torch.from_numpy(p)[None], truth, norm)) for p in found.points), default=1.0))
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert np.median(errors) < 0.05, errors


def test_min_confidence_drops_detected_boxes(real_faces):
    """By the mean over their points; given boxes stay."""
    aligner = Aligner.load("300w-small", "cpu", min_confidence=0)
    image = read_image(real_faces[0].path)
    every = aligner(image)
    worst, best = np.sort(every.confidence.mean(1))[[0, -1]]
    aligner.min_confidence = worst - 1e-6
    assert len(aligner(image).points) == len(every.points) > 0
    aligner.min_confidence = best + 1e-6
    assert aligner(image).points.shape == (0, 68, 2)
    assert len(aligner(image, every.boxes).points) == len(every.points)


@pytest.mark.parametrize(("crop", "scheme"), [("provided", "ibug68"), ("landmarks", "cofw29")])
def test_detector_is_for_what_it_was_fitted_to(checkpoint, crop, scheme):
    dataset = checkpoint.config["dataset"] | {"crop": crop}
    aligner = Aligner(replace(checkpoint, config=checkpoint.config | {"dataset": dataset}), "cpu")
    aligner.scheme = get_scheme(scheme)
    with pytest.raises(ConfigError, match=rf"this checkpoint takes crop={crop} of {scheme}: give boxes"):
        aligner(np.zeros((50, 50, 3), np.uint8))


def test_base_install_is_enough():
    """The package for use imports nothing that only training needs."""
    code = (
        "import sys, awing, awing.inference.predict; awing.Aligner; import awing.losses, awing.codec, awing.models\n"
        "print([name for name in ('hydra', 'omegaconf', 'pytorch_lightning', 'torchmetrics', 'albumentations',"
        " 'h5py', 'scipy', 'matplotlib', 'PIL', 'rich', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_upright_puts_five_points_on_the_template(checkpoint):
    aligner = Aligner(checkpoint, "cpu")
    points, image = np.zeros((68, 2)), np.zeros((240, 240, 3), np.uint8)
    turned = apply(augmentation_matrix(112, angle=140, zoom=1.5, dx=60, dy=50, flip=False), TEMPLATE)
    for part, place in zip(aligner.scheme.five, turned, strict=True):
        points[list(part)] = place
        x, y = place.round().astype(int)
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    face = aligner.upright(image, points, 224).astype(float)[..., 0]
    y, x = np.mgrid[:224, :224]
    for place in (TEMPLATE + 0.5) * 2 - 0.5:
        near = face * (np.hypot(x - place[0], y - place[1]) < 8)
        np.testing.assert_allclose([(near * x).sum() / near.sum(), (near * y).sum() / near.sum()], place, atol=1.0)


def test_upright_needs_the_schemes_five_points(checkpoint):
    aligner = Aligner(checkpoint, "cpu")
    aligner.scheme = get_scheme("lsp14")
    with pytest.raises(ConfigError, match="lsp14 does not name eyes"):
        aligner.upright(np.zeros((9, 9, 3), np.uint8), np.zeros((14, 2)))
