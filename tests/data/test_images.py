"""Reading pictures and cropping them."""

import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import face, save_image, texture
from PIL import Image
from scipy.ndimage import map_coordinates

from awing.data.crops import record_matrix
from awing.data.images import image_size, read_crop, read_image
from awing.data.readers import read_300w
from awing.errors import DataError
from awing.geometry import apply, augmentation_matrix, crop_matrix, shift

# EXIF as a camera writes it: one little-endian TIFF directory with one entry, orientation 6 (turned by 90 degrees)
ORIENTATION = bytes.fromhex("49492a0008000000 0100 1201 0300 01000000 06000000 00000000")
EXIF = b"\xff\xe1" + (2 + 6 + len(ORIENTATION)).to_bytes(2, "big") + b"Exif\0\0" + ORIENTATION


def test_exif_orientation_is_ignored(tmp_path):
    pixels = texture(60, 100)
    save_image(tmp_path / "plain.jpg", pixels)
    plain = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + EXIF + plain[2:])
    with Image.open(tmp_path / "turned.jpg") as image:
        assert image.getexif()[0x0112] == 6  # what is written is a tag
    assert cv2.imread(str(tmp_path / "turned.jpg")).shape == (100, 60, 3)  # that others obey
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg"), read_image(tmp_path / "plain.jpg"))
    assert image_size(tmp_path / "turned.jpg") == (100, 60)
    matrix = crop_matrix(np.array([0.0, 0.0, 100.0, 60.0]), 32)  # decoded at a half
    crops = [read_crop(face(tmp_path / f"{name}.jpg"), matrix, 32) for name in ("turned", "plain")]
    np.testing.assert_array_equal(*crops)


def test_a_real_face_is_where_its_points_say_whatever_its_exif_says(real_data, tmp_path):
    """The same crop with and without an orientation: annotations are in the pixels as they are stored."""
    source = next(iter(sorted((real_data / "300w" / "helen" / "trainset").glob("*.jpg"))))
    target = tmp_path / "helen" / "trainset" / source.name
    target.parent.mkdir(parents=True)
    plain = source.read_bytes()
    target.write_bytes(plain[:2] + EXIF + plain[2:])
    shutil.copy(source.with_suffix(".pts"), target.with_suffix(".pts"))
    assert cv2.imread(str(target)).shape[:2] == cv2.imread(str(source)).shape[1::-1]  # others turn it
    samples = []
    for root in (real_data / "300w", tmp_path):
        (record,) = [r for r in read_300w(root, "train", allow_partial=True).records if r.path.name == source.name]
        samples.append((record.points, read_crop(record, record_matrix(record, "landmarks", 1.25, 64), 64)))
    np.testing.assert_array_equal(samples[0][0], samples[1][0])
    np.testing.assert_array_equal(samples[0][1], samples[1][1])


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


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp"])
def test_the_head_of_a_file_tells_its_size(tmp_path, extension):
    file = tmp_path / f"a.{extension}"
    save_image(file, texture(31, 57))
    assert image_size(file) == (57, 31)
    file.write_bytes(file.read_bytes()[:700])  # the pixels are not needed
    assert image_size(file) == (57, 31)


@pytest.mark.parametrize("content", [None, b"", b"no picture\n" * 50, b"\xff\xd8\xff"])
def test_the_size_of_what_is_no_image_is_refused_by_name(tmp_path, content):
    file = tmp_path / "a.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: expected an image, but its size cannot be read"):
        image_size(file)


def test_a_head_that_promises_too_many_pixels_is_refused(tmp_path):
    save_image(tmp_path / "a.bmp", texture(4, 4))
    head = bytearray((tmp_path / "a.bmp").read_bytes())
    head[18:26] = (60000).to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(head)
    with pytest.raises(DataError, match=r"a\.bmp: .*size cannot be read"):
        image_size(tmp_path / "a.bmp")


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


@pytest.mark.parametrize("extension", ["bmp", "png"])
def test_a_head_that_claims_too_many_pixels_is_refused_by_name(tmp_path, extension):
    file = tmp_path / f"a.{extension}"
    save_image(file, texture(20, 20))
    content = bytearray(file.read_bytes())
    if extension == "bmp":
        content[18:26] = np.array([60000, 60000], "<i4").tobytes()
    else:
        content[16:24] = np.array([60000, 60000], ">i4").tobytes()
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.{extension}: expected an image"):
        read_image(file)
