"""The training loss and the way back to source pixels, by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from awing.codec import HeatmapCodec
from awing.geometry import apply, augmentation_matrix, crop_matrix
from awing.losses import AdaptiveWingLoss, MSELoss, adaptive_wing, dilated_weight_map
from awing.models import StackedHourglass
from awing.regressor import LandmarkRegressor, squared_errors, to_source


class Constant(nn.Module):
    """Two stacks that predict 0.5 and 1 everywhere."""

    def forward(self, image):
        shape = (len(image), 69, 16, 16)
        return [torch.full(shape, 0.5), torch.ones(shape)]


def regressor(**kwargs):
    codec = HeatmapCodec("ibug68", 64, 16)
    weight_map, loss = kwargs.pop("weight_map", torch.ones_like), kwargs.pop("loss", MSELoss())
    return LandmarkRegressor(Constant(), codec, loss, weight_map, ["inter_ocular"], [], **kwargs)


def batch(labelled: torch.Tensor) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"points": torch.rand(2, 68, 2, generator=generator) * 63, "labelled": labelled}


def test_the_loss_is_the_weighted_mean_over_all_elements_summed_over_stacks():
    labelled = torch.ones(2, 68, dtype=torch.bool)
    labelled[0, 5] = False  # a jaw point: its map and that face's boundary leave the loss
    model = regressor(weight_map=dilated_weight_map, stack_weights=[0.25, 2.0], boundary_weight=3.0)
    faces = batch(labelled)
    maps = model.codec.encode(**faces)
    target = maps.double().numpy()
    weight = dilated_weight_map(torch.from_numpy(target)).numpy()
    expected = 0.0
    for factor, prediction in ((0.25, 0.5), (2.0, 1.0)):
        total = 0.0
        for face in range(2):
            for channel in range(69):
                known = labelled[face, channel] if channel < 68 else labelled[face].all()
                scale = 3.0 if channel == 68 else 1.0
                error = (prediction - target[face, channel]) ** 2 * weight[face, channel]
                total += float(known) * scale * error.sum()
        expected += factor * total / target.size
    value = model.heatmap_loss(model(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)), maps, labelled)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_heatmap_loss_takes_a_loss_of_another_package():
    class Plain(nn.Module):
        def forward(self, pred, target, weight):
            return (adaptive_wing(pred, target) * weight).mean()

    faces = batch(torch.rand(2, 68, generator=torch.Generator().manual_seed(1)) > 0.1)
    values = []
    for loss in (AdaptiveWingLoss(), Plain()):
        model = regressor(loss=loss, weight_map=dilated_weight_map, stack_weights=[0.25, 2.0])
        outputs = model(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
        values.append(model.heatmap_loss(outputs, model.codec.encode(**faces), faces["labelled"]))
    torch.testing.assert_close(*values)


def test_squared_errors_are_of_labelled_maps():
    labelled = torch.rand(2, 68, generator=torch.Generator().manual_seed(1)) > 0.1
    model = regressor()
    target = model.codec.encode(**batch(labelled))
    maps = torch.rand(target.shape, generator=torch.Generator().manual_seed(2))
    squares = ((maps - target)[:, :68][labelled] ** 2).double()
    expected = [squares.mean(), squares[target[:, :68][labelled] > 0].mean(), 1]
    np.testing.assert_allclose(squared_errors(maps, target, labelled), expected, rtol=1e-5)


def test_nothing_labelled_gives_no_loss():
    model = regressor()
    faces = batch(torch.zeros(2, 68, dtype=torch.bool))
    maps = model.codec.encode(**faces)
    assert model.heatmap_loss(model(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)), maps, faces["labelled"]) == 0


def test_points_go_back_to_the_source_through_the_inverse_matrix():
    points = np.random.default_rng(0).uniform(0, 500, (68, 2))
    crop = crop_matrix(np.array([100.0, 120.0, 340.0, 300.0]), 64, 1.25)
    matrix = augmentation_matrix(64, angle=30, zoom=1.1, dx=3, dy=-2, flip=True) @ crop
    in_crop = torch.from_numpy(apply(matrix, points)).float()[None]
    inverse = torch.linalg.inv(torch.from_numpy(matrix)[None])
    assert np.abs(to_source(inverse, in_crop)[0].numpy() - points).max() < 1e-3


def test_averaged_with_the_mirrored_crop_a_face_and_its_mirror_image_get_mirrored_points():
    torch.manual_seed(0)
    network = StackedHourglass(68, stacks=1, channels=16, depth=2, boundary_coords=False).eval()
    codec = HeatmapCodec("ibug68", 64, 16, decoder="refined")
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    points = {}
    for flip in (False, True):
        model = LandmarkRegressor(
            network, codec, MSELoss(), torch.ones_like, ["inter_ocular"], [], flip_test=flip
        ).eval()
        with torch.no_grad():
            plain, mirrored = (codec.decode(model.predict(x)[-1])[0] for x in (image, image.flip(-1)))
        mirrored = mirrored[:, codec.scheme.flip_permutation]
        mirrored[..., 0] = 63 - mirrored[..., 0]
        points[flip] = plain, mirrored
    torch.testing.assert_close(*points[True], atol=1e-3, rtol=0)
    assert (points[False][0] - points[False][1]).abs().max() > 1
