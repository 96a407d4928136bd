"""Reading pictures and cropping them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from miniatures import face, save_image, texture
from PIL import Image

from awing.data import images
from awing.data.images import image_head, read_crop, read_image
from awing.errors import DataError
from awing.geometry import apply, augmentation_matrix, crop_matrix, shift

# EXIF as a camera writes it: one little-endian TIFF directory with one entry, orientation 6 (turned by 90 degrees)
ORIENTATION = bytes.fromhex("49492a0008000000 0100 1201 0300 01000000 06000000 00000000")
EXIF = b"\xff\xe1" + (2 + 6 + len(ORIENTATION)).to_bytes(2, "big") + b"Exif\0\0" + ORIENTATION
QUALITY = {"jpg": (cv2.IMWRITE_JPEG_QUALITY, 99), "png": ()}
both = pytest.mark.parametrize("extension", ["jpg", "png"])


def test_read_image_obeys_exif_only_if_upright(tmp_path):
    save_image(tmp_path / "plain.jpg", texture(60, 100))
    plain = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + EXIF + plain[2:])
    with Image.open(tmp_path / "turned.jpg") as image:
        assert image.getexif()[0x0112] == 6  # what is written is a tag
    stored = read_image(tmp_path / "plain.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg"), stored)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.jpg", upright=True), np.rot90(stored, -1))
    assert image_head(tmp_path / "turned.jpg") == ((100, 60), (60, 100), True)
    matrix = crop_matrix(np.array([0.0, 0.0, 100.0, 60.0]), 32)  # decoded at a half
    crops = [read_crop(face(tmp_path / f"{name}.jpg"), matrix, 32) for name in ("turned", "plain")]
    np.testing.assert_array_equal(*crops)


@pytest.mark.parametrize("name", ["A.PNG", "a b.bmp", "Köln 東京🎭.png"])
def test_read_image_is_rgb_whatever_the_name(tmp_path, name):
    pixels = texture(30, 50)
    save_image(tmp_path / name, pixels)
    np.testing.assert_array_equal(read_image(tmp_path / name), pixels)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((20, 30, 4), (10, 20, 30, 0), np.uint8), (30, 20, 10)),
        (np.full((20, 30, 3), (2560, 5120, 7680), np.uint16), (30, 20, 10)),
        (np.full((20, 30), 40, np.uint8), (40, 40, 40)),
    ],
    ids=["transparent", "16 bit", "grey"],
)
def test_read_image_makes_any_png_eight_bit_rgb(tmp_path, pixels, expected):
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    image = read_image(tmp_path / "a.png")
    assert image.shape == (20, 30, 3)
    assert (image == expected).all()


@pytest.mark.parametrize("content", [None, b"", b"no picture\n" * 50, b"\xff\xd8\xff", "half a jpg", "half a png"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    file = tmp_path / "a.jpg"
    if isinstance(content, str):
        data = cv2.imencode(f".{content[-3:]}", np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8))[1]
        content = data[: len(data) // 2].tobytes()
    else:
        with pytest.raises(DataError, match=r"a\.jpg: expected an image, but its size cannot be read"):
            image_head(file)
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: expected an image, but the file cannot be (read|decoded)"):
        read_image(file)


# Crops


def save_blob(path: Path, height: int, width: int, centre: np.ndarray, sigma: float) -> None:
    y, x = np.mgrid[:height, :width]
    blob = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    save_image(path, np.repeat(np.uint8(blob.round())[..., None], 3, -1))


def centroid(crop: np.ndarray) -> np.ndarray:
    weight = np.where(crop[..., 0] < 8, 0.0, crop[..., 0])  # without JPEG's ripples
    y, x = np.mgrid[: len(crop), : len(crop)]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("extension", ["jpg", "png", "png called jpg"])
@pytest.mark.parametrize(("reduction", "angle"), [(1, 0), (2, 30), (8, 30)])
def test_read_crop_puts_a_blob_where_the_matrix_says(tmp_path, extension, reduction, angle):
    rng, zoom, size, height, width = np.random.default_rng(reduction), 0.95 / reduction, 64, 643, 805
    half = size / zoom / 2
    turn = augmentation_matrix(size, angle=angle, zoom=1, dx=0, dy=0, flip=False)
    for place in (half, width - half):  # where an error of scale would show
        matrix = crop_matrix(np.array([place - half, height / 2 - half, place + half, height / 2 + half]), size)
        expected = rng.uniform(20, size - 21, 2)
        file = tmp_path / f"a.{extension[:3]}"
        save_blob(file, height, width, apply(np.linalg.inv(turn @ matrix), expected[None])[0], 2.5 * reduction)
        file = file.rename(tmp_path / f"a.{extension[-3:]}")
        crop = read_crop(face(file), matrix, size, moved=turn)
        np.testing.assert_allclose(centroid(crop), expected, atol=0.05)
        if extension != "jpg":  # without a file, as inference crops
            np.testing.assert_array_equal(images.crop(read_image(file), turn @ matrix, size), crop)


@both
@pytest.mark.parametrize("reduction", [2, 8])
def test_read_crop_makes_stripes_of_a_pixel_grey(tmp_path, extension, reduction):
    pixels = np.zeros((640, 640, 3), np.uint8)
    pixels[:, ::2] = 255
    save_image(tmp_path / f"a.{extension}", pixels, *QUALITY[extension])
    matrix = crop_matrix(np.array([0.0, 0.0, 64.0 * reduction, 64.0 * reduction]), 64)
    crop = read_crop(face(tmp_path / f"a.{extension}"), matrix, 64)[4:-4, 4:-4]
    assert np.abs(crop.astype(float) - 127.5).max() < 8


def test_read_crop_is_black_beyond_the_border(tmp_path):
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 255, np.uint8))
    matrix = crop_matrix(np.array([-20.0, -10.0, 20.0, 30.0]), 80)  # 2 px of the crop per px
    crop = read_crop(face(tmp_path / "a.png"), matrix, 80)
    np.testing.assert_allclose(apply(matrix, np.zeros((1, 2))), [[39.5, 19.5]])  # the first pixel of the image
    assert (crop[:, :37] == 0).all()
    assert (crop[:17] == 0).all()
    assert (crop[20:, 40:] > 250).all()


@pytest.mark.parametrize(("side", "margin"), [(10, 1), (400, 10)])  # the larger one is decoded at an eighth
@pytest.mark.parametrize("direction", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_read_crop_refuses_a_box_outside_its_image(tmp_path, side, margin, direction):
    save_image(tmp_path / "a.jpg", texture(90, 121))
    away = np.array(direction)
    touching = np.where(away < 0, -0.5 - side, np.where(away > 0, (120.5, 89.5), 5.0))  # its corner

    def crop(corner: np.ndarray) -> np.ndarray:
        return read_crop(face(tmp_path / "a.jpg"), crop_matrix(np.array([*corner, *(corner + side)]), 48), 48)

    with pytest.raises(DataError, match=r"a\.jpg: the face's box lies outside the image; check"):
        crop(touching + away * margin)
    assert crop(touching - away * margin).any()


def test_read_crop_lets_an_augmentation_leave_the_image(tmp_path):
    save_image(tmp_path / "a.png", texture(40, 40))
    matrix = crop_matrix(np.array([38.0, 0.0, 70.0, 32.0]), 32)  # a strip of the image
    assert read_crop(face(tmp_path / "a.png"), matrix, 32).any()
    assert not read_crop(face(tmp_path / "a.png"), matrix, 32, moved=shift(-5, 0)).any()
