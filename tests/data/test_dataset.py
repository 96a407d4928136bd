"""Reading pictures, cropping them, and samples whose pixels and points move together."""

import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import save_image
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from awing.data import Augmentation, LandmarkDataset, Record
from awing.data.dataset import EpochSampler, normaliser, read_crop, read_image
from awing.errors import DataError
from awing.geometry import apply, augmentation_matrix, crop_matrix, shift
from awing.schemes import get_scheme

COFW = get_scheme("cofw29")
# EXIF as a camera writes it: one little-endian TIFF directory with one entry, orientation 6 (turned by 90 degrees)
ORIENTATION = bytes.fromhex("49492a0008000000 0100 1201 0300 01000000 06000000 00000000")
EXIF = b"\xff\xe1" + (2 + 6 + len(ORIENTATION)).to_bytes(2, "big") + b"Exif\0\0" + ORIENTATION


def texture(height: int, width: int, sigma: float = 3, seed: int = 0) -> np.ndarray:
    """Smooth colour noise over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (sigma, sigma, 0))
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def face(path: Path, points=None, box=None, scheme=COFW, **kwargs) -> Record:
    k = scheme.num_landmarks
    points = np.random.default_rng(0).uniform(10, 40, (k, 2)) if points is None else points
    return Record(path, points, np.ones(k, dtype=bool), None if box is None else np.array(box, float), **kwargs)


# Reading pictures


def test_exif_orientation_is_ignored(tmp_path):
    pixels = texture(60, 100)
    save_image(tmp_path / "plain.jpg", pixels)
    plain = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + EXIF + plain[2:])
    with Image.open(tmp_path / "turned.jpg") as image:
        assert image.getexif()[0x0112] == 6  # what is written is a tag
    assert cv2.imread(str(tmp_path / "turned.jpg")).shape == (100, 60, 3)  # that others obey
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg"), read_image(tmp_path / "plain.jpg"))
    matrix = crop_matrix(np.array([0.0, 0.0, 100.0, 60.0]), 32)  # decoded at a half
    crops = [read_crop(face(tmp_path / f"{name}.jpg"), matrix, 32) for name in ("turned", "plain")]
    np.testing.assert_array_equal(*crops)


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a b.bmp", "Köln 東京🎭.png"])
def test_pixels_are_rgb_whatever_the_name(tmp_path, name):
    pixels = texture(30, 50)
    save_image(tmp_path / name, pixels)
    np.testing.assert_array_equal(read_image(tmp_path / name), pixels)


def test_a_jpeg_reads_as_another_library_reads_it(tmp_path):
    save_image(tmp_path / "a.jpg", texture(61, 83))
    with Image.open(tmp_path / "a.jpg") as other:
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - np.asarray(other)).mean() < 1


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_grey_images_become_three_equal_channels(tmp_path, extension):
    grey = texture(40, 50)[..., 0]
    save_image(tmp_path / f"a.{extension}", grey)
    image = read_image(tmp_path / f"a.{extension}")
    assert image.shape == (40, 50, 3)
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0].astype(int) - grey).mean() < 2


@pytest.mark.parametrize(
    "pixels",
    [np.full((20, 30, 4), (10, 20, 30, 0), np.uint8), np.full((20, 30, 3), (2560, 5120, 7680), np.uint16)],
    ids=["transparent", "16 bit"],
)
def test_unusual_pngs_become_eight_bit_rgb(tmp_path, pixels):
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    assert (read_image(tmp_path / "a.png") == (30, 20, 10)).all()


def broken_files() -> dict[str, bytes | None]:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    files: dict[str, bytes | None] = {"missing.jpg": None, "empty.jpg": b"", "text.jpg": b"no picture\n" * 50}
    for extension in ("jpg", "png", "bmp", "webp"):
        data = cv2.imencode(f".{extension}", noise)[1].tobytes()
        files |= {f"half.{extension}": data[: len(data) // 2], f"head.{extension}": data[:40]}
        files[f"most.{extension}"] = data[: len(data) * 19 // 20]
    return files


@pytest.mark.parametrize("name", broken_files())
def test_a_file_that_is_no_whole_image_is_named(tmp_path, name):
    if (content := broken_files()[name]) is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: expected an image"):
        read_image(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: expected an image"):
        read_crop(face(tmp_path / name), crop_matrix(np.array([0.0, 0.0, 90.0, 80.0]), 32), 32)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="expected an image"):
        read_image(tmp_path)


@settings(max_examples=60, deadline=None)
@given(extension=st.sampled_from(["jpg", "png"]), share=st.floats(0, 1), noise=st.binary(min_size=1, max_size=8))
def test_fuzz_an_image_is_decoded_or_refused(tmp_path_factory, extension, share, noise):
    data = cv2.imencode(f".{extension}", texture(24, 24))[1].tobytes()
    at = int(share * len(data))
    file = tmp_path_factory.getbasetemp() / f"fuzz.{extension}"
    file.write_bytes(data[:at] + noise + data[at + len(noise) :])
    try:
        image = read_image(file)
    except DataError as error:
        assert str(file) in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


# Crops


def area_average(pixels: np.ndarray, matrix: np.ndarray, size: int, samples: int) -> np.ndarray:
    """Every crop pixel as the mean of samples x samples points of its own area, in float64."""
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    ticks = (np.arange(size)[:, None] + offsets).ravel()
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    source = np.linalg.solve(matrix, np.stack([x.ravel(), y.ravel(), np.ones(x.size)]))
    planes = [map_coordinates(pixels[..., c].astype(float), source[1::-1], order=1, mode="nearest") for c in range(3)]
    return np.stack(planes, -1).reshape(size, samples, size, samples, 3).mean((1, 3))


QUALITY = {"jpg": (cv2.IMWRITE_JPEG_QUALITY, 99), "png": ()}


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(640, 800), (643, 801), (645, 807)])
def test_a_crop_of_a_large_image_is_its_area_average(tmp_path, extension, reduction, height, width):
    zoom, size = 0.9 / reduction, 64
    pixels = texture(height, width, sigma=3 * reduction)
    save_image(tmp_path / f"a.{extension}", pixels, *QUALITY[extension])
    half = size / zoom / 2
    for x, y in ((half, half), (width - 1 - half, height - 1 - half)):  # where an error of scale would show
        matrix = crop_matrix(np.array([x - half, y - half, x + half, y + half]), size)
        crop = read_crop(face(tmp_path / f"a.{extension}"), matrix, size)
        difference = np.abs(crop - area_average(pixels, matrix, size, max(2, reduction)))[2:-2, 2:-2]
        assert difference.mean() < 2


def save_blob(path: Path, height: int, width: int, centre: np.ndarray, sigma: float) -> None:
    y, x = np.mgrid[:height, :width]
    blob = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    save_image(path, np.repeat(np.uint8(blob.round())[..., None], 3, -1))


def centroid(crop: np.ndarray) -> np.ndarray:
    weight = np.where(crop[..., 0] < 8, 0.0, crop[..., 0])  # without JPEG's ripples
    y, x = np.mgrid[: len(crop), : len(crop)]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("angle", [0, 30])
@pytest.mark.parametrize(("height", "width"), [(640, 800), (643, 805)])
def test_a_blob_lands_where_the_matrix_says(tmp_path, extension, reduction, angle, height, width):
    rng, zoom, size = np.random.default_rng(reduction), 0.95 / reduction, 64
    half = size / zoom / 2
    turn = augmentation_matrix(size, angle=angle, zoom=1, dx=0, dy=0, flip=False)
    for place in (half, width - half):  # where an error of scale would show
        matrix = turn @ crop_matrix(np.array([place - half, height / 2 - half, place + half, height / 2 + half]), size)
        expected = rng.uniform(20, size - 21, 2)
        centre = apply(np.linalg.inv(matrix), expected[None])[0]
        save_blob(tmp_path / f"a.{extension}", height, width, centre, 2.5 * reduction)
        crop = read_crop(face(tmp_path / f"a.{extension}"), matrix, size)
        np.testing.assert_allclose(centroid(crop), expected, atol=0.05)


def test_a_png_that_is_called_jpg_keeps_its_geometry(tmp_path):
    expected, size = np.array([50.0, 12.0]), 64
    matrix = crop_matrix(np.array([287.0, 135.0, 799.0, 647.0]), size)  # an eighth
    save_blob(tmp_path / "a.png", 647, 807, apply(np.linalg.inv(matrix), expected[None])[0], 20)
    crop = read_crop(face((tmp_path / "a.png").rename(tmp_path / "a.jpg")), matrix, size)
    np.testing.assert_allclose(centroid(crop), expected, atol=0.05)


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_stripes_of_a_pixel_become_grey_instead_of_aliasing(tmp_path, extension, reduction):
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[:, ::2] = 255
    save_image(tmp_path / f"a.{extension}", pixels, *QUALITY[extension])
    matrix = crop_matrix(np.array([0.0, 0.0, 64.0 * reduction, 64.0 * reduction]), 64)
    crop = read_crop(face(tmp_path / f"a.{extension}"), matrix, 64)[4:-4, 4:-4]
    assert np.abs(crop.astype(float) - 127.5).max() < 8


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_beyond_the_border_of_the_image_the_crop_is_black(tmp_path, extension):
    save_image(tmp_path / f"a.{extension}", np.full((40, 60, 3), 255, np.uint8))
    matrix = crop_matrix(np.array([-20.0, -10.0, 20.0, 30.0]), 80)  # 2 px of the crop per px
    crop = read_crop(face(tmp_path / f"a.{extension}"), matrix, 80)
    np.testing.assert_allclose(apply(matrix, np.zeros((1, 2))), [[39.5, 19.5]])  # the first pixel of the image
    assert (crop[:, :37] == 0).all() and (crop[:17] == 0).all()
    assert (crop[20:, 40:] > 250).all()


@pytest.mark.parametrize("extension", ["jpg", "png"])
@pytest.mark.parametrize(("side", "margin"), [(10, 1), (400, 10)])  # the larger one is decoded at an eighth
@pytest.mark.parametrize("direction", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_box_outside_the_image_is_refused_by_name(tmp_path, extension, side, margin, direction):
    save_image(tmp_path / f"a.{extension}", texture(90, 121))
    away = np.array(direction)
    touching = np.where(away < 0, -0.5 - side, np.where(away > 0, (120.5, 89.5), 5.0))  # its corner

    def crop(corner: np.ndarray) -> np.ndarray:
        matrix = crop_matrix(np.array([*corner, *(corner + side)]), 48)
        return read_crop(face(tmp_path / f"a.{extension}"), matrix, 48)

    with pytest.raises(DataError, match=rf"a\.{extension}: the face's box lies outside the image of 121 x 90 px"):
        crop(touching + away * margin)
    assert crop(touching - away * margin).any()


def test_a_face_that_an_augmentation_moves_out_of_its_image_is_no_mistake(tmp_path):
    save_image(tmp_path / "a.png", texture(40, 40))
    matrix = crop_matrix(np.array([38.0, 0.0, 70.0, 32.0]), 32)  # a strip of the image
    assert read_crop(face(tmp_path / "a.png"), matrix, 32).any()
    assert not read_crop(face(tmp_path / "a.png"), matrix, 32, moved=shift(-5, 0)).any()


# Samples

COLOURS = np.array([(r, g, b) for r in (90, 170, 250) for g in (0, 80, 160, 240) for b in (0, 120, 240)])[:29]
MIRRORED = [  # who is who in a mirror, read from the names
    COFW.names.index(name.replace("left", "?").replace("right", "left").replace("?", "right")) for name in COFW.names
]


@pytest.fixture(scope="module")
def coloured(tmp_path_factory) -> Record:
    """A picture with a disc of its own colour at each landmark."""
    grid = np.array([(x, y) for y in range(5) for x in range(6)])[:29]
    points = 120 + 72.0 * grid + np.random.default_rng(0).uniform(-15, 15, (29, 2))
    y, x = np.mgrid[:600, :610]
    pixels = np.zeros((600, 610, 3), np.uint8)
    for (cx, cy), colour in zip(points, COLOURS, strict=True):
        pixels[np.hypot(x - cx, y - cy) < 12] = colour
    path = tmp_path_factory.mktemp("coloured") / "a.png"
    save_image(path, pixels)
    return face(path, points, (100, 90, 500, 440))


def dataset(records, augmentation=None, seed=0, size=256, normalisers=("inter_ocular",), subsets=(), scheme=COFW):
    return LandmarkDataset(records, scheme, size, "provided", 1.2, list(normalisers), list(subsets), augmentation, seed)


def is_mirrored(matrix: torch.Tensor) -> bool:
    return bool(torch.linalg.det(matrix) < 0)


def colours_found(sample: dict[str, torch.Tensor]) -> dict[int, int]:
    """For each landmark inside the crop, whose colour is at its place."""
    image, found = sample["image"].permute(1, 2, 0).numpy().astype(int), {}
    for k, (x, y) in enumerate(sample["points"].round().int().tolist()):
        if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
            distance = np.abs(COLOURS - image[y, x]).sum(1)
            assert distance.min() <= 3, f"no disc at landmark {k}"
            found[k] = int(distance.argmin())
    return found


@pytest.mark.parametrize("size", [128, 256])
def test_pixels_points_and_identities_move_together(coloured, size):
    samples = dataset([coloured], Augmentation(), size=size)
    mirrored = 0
    for epoch in range(60):
        sample = samples[(epoch, 0)]
        flip = is_mirrored(sample["matrix"])
        mirrored += flip
        found = colours_found(sample)
        assert len(found) >= 15
        assert found == {k: MIRRORED[k] if flip else k for k in found}
    assert 20 <= mirrored <= 40


def test_a_plain_sample_shows_every_landmark_in_its_place(coloured):
    assert colours_found(dataset([coloured])[(0, 0)]) == {k: k for k in range(29)}


def test_the_matrix_maps_source_points_to_crop_points(coloured):
    samples = dataset([coloured], Augmentation())
    for epoch in range(20):
        sample = samples[(epoch, 0)]
        source = coloured.points[MIRRORED] if is_mirrored(sample["matrix"]) else coloured.points
        moved = np.column_stack([source, np.ones(29)]) @ sample["matrix"].numpy().T
        np.testing.assert_allclose(sample["points"].numpy(), moved[:, :2], atol=1e-4)


def test_a_flip_takes_the_labels_along(coloured):
    labelled = np.arange(29) % 3 == 0
    record = Record(coloured.path, coloured.points, labelled, coloured.box)
    samples = dataset([record], Augmentation(flip=1))
    np.testing.assert_array_equal(samples[(0, 0)]["labelled"].numpy(), labelled[MIRRORED])
    samples = dataset([record], Augmentation(flip=0))
    np.testing.assert_array_equal(samples[(0, 0)]["labelled"].numpy(), labelled)


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_sample_depends_on_seed_epoch_and_index_alone(coloured, config):
    augmentation = instantiate(config("train", "augment=modern").augment)
    samples, again = (dataset([coloured] * 3, augmentation, seed=4, size=64) for _ in range(2))
    keys = [(epoch, index) for epoch in range(3) for index in range(3)]
    first = {key: samples[key] for key in keys}
    np.random.seed(7)
    torch.manual_seed(7)
    assert all(equal(first[key], again[key]) for key in reversed(keys))
    assert len({sample["image"].numpy().tobytes() for sample in first.values()}) == 9  # every epoch and index differs
    other = dataset([coloured] * 3, augmentation, seed=5, size=64)
    assert not any(torch.equal(first[key]["matrix"], other[key]["matrix"]) for key in keys)


def test_an_evaluation_sample_does_not_depend_on_the_epoch(coloured):
    samples = dataset([coloured])
    assert equal(samples[(0, 0)], samples[(5, 0)])


def test_no_augmentation_and_zero_augmentation_are_the_same(coloured):
    zero = Augmentation(rotation=0, translation=0, scale=0, flip=0)
    plain, augmented = dataset([coloured])[(0, 0)], dataset([coloured], zero)[(3, 0)]
    torch.testing.assert_close(augmented["matrix"], plain["matrix"], rtol=0, atol=1e-10)
    assert torch.equal(augmented["image"], plain["image"])


def test_subsets_and_index_of_a_sample(coloured):
    subsets = frozenset({"blur"}), frozenset({"a", "pose"})
    records = [face(coloured.path, coloured.points, coloured.box, subsets=names) for names in subsets]
    samples = dataset(records, subsets=("pose", "blur"))
    assert [samples[(0, i)]["subsets"].tolist() for i in (0, 1)] == [[False, True], [True, False]]
    assert [int(samples[(0, i)]["index"]) for i in (0, 1)] == [0, 1]


# Normalisers


def test_normalisers_by_hand():
    points = np.zeros((29, 2))
    points[8], points[9] = (10, 10), (40, 50)  # outer eye corners: 30, 40 -> 50
    points[16], points[17] = (5, 0), (5, 7)  # pupils
    record = face(Path("a.jpg"), points, (10, 20, 30, 65))
    assert normaliser(record, COFW, "inter_ocular") == pytest.approx(50)
    assert normaliser(record, COFW, "inter_pupil") == pytest.approx(7)
    assert normaliser(record, COFW, "box") == pytest.approx(30)  # sqrt(20 * 45)
    ibug = get_scheme("ibug68")
    points = np.zeros((68, 2))
    points[36:42] = [(0, 0), (2, -1), (4, -1), (6, 0), (4, 1), (2, 1)]  # centre (3, 0)
    points[42:48] = [(20, 12), (22, 11), (24, 11), (28, 12), (24, 13), (20, 13)]  # centre (23, 12)
    record = face(Path("a.jpg"), points, scheme=ibug)
    assert normaliser(record, ibug, "inter_ocular") == pytest.approx(np.hypot(28, 12))
    assert normaliser(record, ibug, "inter_pupil") == pytest.approx(np.hypot(20, 12))
    assert np.isnan(normaliser(record, ibug, "box"))  # there is none


def test_a_normaliser_needs_its_landmarks_labelled():
    record = face(Path("a.jpg"))
    record.labelled[8] = False
    assert np.isnan(normaliser(record, COFW, "inter_ocular")) and normaliser(record, COFW, "inter_pupil") > 0


@pytest.mark.parametrize("name", ["inter_ocular", "inter_pupil", "box"])
def test_scored_faces_need_positive_normalisers_and_training_faces_do_not(name):
    points = np.random.default_rng(0).uniform(0, 9, (29, 2))
    points[9], points[17] = points[8], points[16]
    record = face(Path("faces/a.jpg"), points, None if name == "box" else (0, 0, 9, 9))
    arguments = [record], COFW, 64, "landmarks", 1.25, [name], []
    with pytest.raises(DataError, match=rf"faces/a\.jpg: a normaliser must be .* found {{'{name}': (0\.0|nan)}}"):
        LandmarkDataset(*arguments)
    assert len(LandmarkDataset(*arguments, augmentation=Augmentation())) == 1


# The sampler


def keys(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    assert len(sampler) == len(list(sampler))
    return list(sampler)


def test_training_order_is_a_new_permutation_each_epoch_and_the_same_after_a_restart():
    sampler = EpochSampler(50, shuffle=True, seed=3)
    epochs = [keys(sampler, epoch) for epoch in range(4)]
    for epoch, drawn in enumerate(epochs):
        assert {e for e, _ in drawn} == {epoch}
        assert sorted(i for _, i in drawn) == list(range(50))
    assert len({tuple(i for _, i in drawn) for drawn in epochs}) == 4
    torch.manual_seed(1)
    assert keys(EpochSampler(50, shuffle=True, seed=3), 2) == epochs[2]
    assert keys(EpochSampler(50, shuffle=True, seed=4), 2) != epochs[2]


def test_evaluation_keeps_the_order():
    assert keys(EpochSampler(5, shuffle=False), 7) == [(7, i) for i in range(5)]


def shares(rank: int, world: int, store: str, pipe) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    training = [keys(EpochSampler(11, shuffle=True, seed=1), epoch) for epoch in (0, 1)]
    pipe.send((training, keys(EpochSampler(11, shuffle=False), 0)))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # from Python 3.12 on
def test_processes_share_the_samples(tmp_path):
    context, world, found = multiprocessing.get_context("fork"), 3, []
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    arguments = [(rank, world, str(tmp_path / "store"), pipes[rank][1]) for rank in range(world)]
    processes = [context.Process(target=shares, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process, (receiver, sender) in zip(processes, pipes, strict=True):
        assert receiver.poll(60), "a process did not answer"
        found.append(receiver.recv())
        process.join(60)
        receiver.close()
        sender.close()
    alone = [keys(EpochSampler(11, shuffle=True, seed=1), epoch) for epoch in (0, 1)]
    for epoch in (0, 1):
        parts = [training[epoch] for training, _ in found]
        assert [len(part) for part in parts] == [3, 3, 3]  # what does not fill a round is dropped
        assert set().union(*parts) == set(alone[epoch][:9])
        assert len(set().union(*parts)) == 9  # nobody has another's
    parts = [evaluation for _, evaluation in found]
    assert [len(part) for part in parts] == [4, 4, 4]
    everything = [i for part in parts for _, i in part]
    assert sorted(everything) == [0, *range(11)]  # one repeat fills the last round
    interleaved = [part[turn][1] for turn in range(4) for part in parts]
    assert interleaved == [*range(11), 0]
