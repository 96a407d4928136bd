"""What annotations state is compared with the pictures, and noted by verify where it is doubtful."""

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from awing.data.crops import usable_records
from awing.data.images import read_crop
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import crop_matrix
from awing.training import engine

NAMES = ["left_eye", "right_eye", "nose"]
FACE = np.array([[10.0, 12.0], [30.0, 12.0], [20.0, 24.0]])
CROP = "landmarks", 1.25, 64
SCHEME = "names: [left_eye, right_eye, nose]\nflip_pairs: [[left_eye, right_eye]]\n"


def photo(path: Path, orientation: int = 1, size: tuple[int, int] = (40, 30), dot: tuple[int, int] = (3, 3)) -> Path:
    """A grey photograph with a white dot; ``size`` and ``dot`` are of the stored pixels."""
    pixels = np.full((size[1], size[0], 3), 80, np.uint8)
    cv2.circle(pixels, dot, 2, (255, 255, 255), -1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    return path


def record(path: Path, size: tuple[int, int] | None) -> Record:
    return Record(path, FACE, np.ones(3, dtype=bool), np.array([5.0, 5.0, 35.0, 28.0]), size=size, id="annotation 7")


@pytest.mark.parametrize(
    ("orientation", "stated", "upright", "rescale", "expected"),
    [
        (1, (40, 30), False, False, False),
        (6, (40, 30), False, False, False),
        (6, (30, 40), False, False, True),
        (8, (30, 40), True, False, True),
        (6, (60, 80), False, True, True),
        (1, None, True, False, True),
        (1, (30, 40), False, True, r"annotation 7, .*a\.jpg: annotated at 30 x 40 px, but .* 40 x 30 px, of another"),
        (3, (80, 60), False, False, r"annotated at 80 x 60 px, but the file has 40 x 30 px: .*dataset\.rescale=true"),
        (6, (40, 30), True, False, r"annotated at 40 x 30 px, but the file has 30 x 40 px"),
    ],
)
def test_usable_records_turns_scales_or_refuses(tmp_path, orientation, stated, upright, rescale, expected):
    kept, unusable = usable_records([record(photo(tmp_path / "a.jpg", orientation), stated)], *CROP, upright, rescale)
    if isinstance(expected, str):
        (text,) = unusable
        assert not kept
        assert re.search(expected, text)
        return
    assert [r.upright for r in kept] == [expected]
    scale = 2 if stated == (60, 80) else 1
    np.testing.assert_allclose(kept[0].points, (FACE + 0.5) / scale - 0.5)
    np.testing.assert_allclose(kept[0].box, (np.array([5, 5, 35, 28]) + 0.5) / scale - 0.5)


def test_pictures_of_one_program_decide_for_squares(tmp_path, caplog):
    """A square has the stated size both ways; its neighbours say which is meant."""
    square = record(photo(tmp_path / "square.jpg", 6, (40, 40)), (40, 40))
    shown, stored = (record(photo(tmp_path / f"{s[0]}.jpg", 6), s) for s in ((30, 40), (40, 30)))
    with caplog.at_level("INFO"):
        assert [r.upright for r in usable_records([square, shown], *CROP, False, False)[0]] == [True, True]
    assert "2 of 2 images are read upright" in caplog.text
    assert [r.upright for r in usable_records([square], *CROP, False, False)[0]] == [False]
    assert [r.upright for r in usable_records([square, shown, stored], *CROP, False, False)[0]] == [False, True, False]


def test_upright_pictures_are_cropped_where_their_points_are(tmp_path):
    """The dot at (3, 3) of 40 x 30 stored px is at (26, 3) of the upright 30 x 40."""
    (face,), _ = usable_records([record(photo(tmp_path / "a.jpg", 6), (30, 40))], *CROP, False, False)
    crop = read_crop(face, crop_matrix(np.array([-0.5, -0.5, 29.5, 39.5]), 40), 40)  # 5 px of border left and right
    y, x = np.nonzero(crop[..., 0] > 200)
    assert (x.mean(), y.mean()) == pytest.approx((26 + 5, 3), abs=0.3)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve faces in a table, each somewhere else and of its own."""
    rng, rows = np.random.default_rng(0), [["image", *(f"{axis}{i}" for i in range(3) for axis in "xy")]]
    for i in range(12):
        photo(tmp_path / f"{i:02d}.jpg", dot=(5 + 2 * i, 8))
        rows.append([f"{i:02d}.jpg", *(FACE + rng.uniform(-4, 4, 2) + rng.normal(0, 0.3, (3, 2))).round(2).ravel()])
    (tmp_path / "scheme.yaml").write_text(SCHEME)
    save_table(tmp_path, rows)
    return tmp_path


def save_table(folder: Path, rows: list[list]) -> None:
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def verify(config, folder: Path, *words: str) -> dict[str, dict[str, list[str]]]:
    """What verify finds: problems and notes, but for splits that have no face."""
    own = "dataset=custom", f"dataset.root={folder}", f"dataset.scheme={folder}/scheme.yaml", "dataset.crop=landmarks"
    cfg = config("prepare", *own, "action=verify", "dataset.val_fraction=0.4", "dataset.test_fraction=0.2", *words)
    sound = engine.prepare(cfg, folder / "report")
    report = json.loads((folder / "report" / "verify.json").read_text())
    assert sound == (not report["problems"])
    report["notes"].pop("splits without a face", None)
    return {kind: report[kind] for kind in ("problems", "notes")}


@pytest.mark.parametrize("value", [0, -1])
def test_verify_names_points_that_stand_for_none_or_lie_outside(config, folder, value):
    assert verify(config, folder) == {"problems": {}, "notes": {}}
    header, *rows = csv.reader((folder / "train.csv").read_text().splitlines())
    for row in rows[::3]:
        row[5:] = value, value
    rows[1][1] = 40.2
    save_table(folder, [header, *rows])
    found = verify(config, folder)
    (text,) = found["problems"]["points that stand for none"]
    assert f"x2,y2 (nose) is exactly ({value}, {value}) in 4 of 12 faces: leave both cells empty" in text
    outside = found["notes"]["points outside their picture"]
    assert len(outside) == (5 if value else 1)
    assert any("01.jpg: 1 outside its 40 x 30 px: x0,y0 (40.2, " in text for text in outside)


def test_verify_notes_turned_pictures_few_bits_and_copies(config, folder):
    header, *rows = csv.reader((folder / "train.csv").read_text().splitlines())
    for i in (2, 3, 4):
        photo(folder / f"{i:02d}.jpg", 6, dot=(9 + 2 * i, 20))
    for i, row in enumerate(rows[5:], 5):
        row[0] = row[0].replace(".jpg", "_jpg.rf.12ab.jpg")
        shutil.move(folder / f"{i:02d}.jpg", folder / row[0])
        photo(folder / (copy := row[0].replace("12ab", "34cd")), dot=(4 + 2 * i, 4))
        rows.append([copy, *row[1:]])
    pixels = (np.random.default_rng(0).integers(0, 4096, (30, 40))).astype(np.uint16)
    cv2.imwrite(str(folder / "00.png"), pixels)
    rows[0][0] = "00.png"
    save_table(folder, [header, *rows])
    found = verify(config, folder)
    kinds = {kind.split(",")[0]: texts for kind, texts in found["notes"].items()}
    assert not found["problems"]
    assert len(kinds["images with an EXIF orientation"]) == 3
    (few,) = [texts for kind, texts in kinds.items() if "less than 1/8 of their 16 bits" in kind]
    assert [Path(text).name for text in few] == ["00.png"]
    reasons = [text.rsplit(": ", 1)[1] for text in kinds["copies in two splits?"]]
    assert set(reasons) == {"equal points", "names"}
    found = verify(config, folder, "dataset.bits=12", "dataset.upright=true", r"dataset.group='(.*)\.rf\.'")
    turned = "images with an EXIF orientation, which are read turned by it"
    assert found["notes"].keys() <= {turned, "points outside their picture"}


def test_evaluation_of_a_test_file_needs_no_training_file(config, folder):
    (folder / "train.csv").rename(folder / "test.csv")
    words = "dataset=custom", f"dataset.root={folder}", f"dataset.scheme={folder}/scheme.yaml", "dataset.crop=landmarks"
    for stage in ("test", None):
        data = engine.build(config("train", *words, "dataset.reader.test=test.csv").dataset)
        if stage:
            data.setup(stage)
            faces = data.dataset("test")
            assert len(faces) == 12
            assert data.normalisers == ["landmark_box"]  # the scheme has none
            box = [np.ptp(r.points, axis=0).prod() ** 0.5 for r in faces.records]
            np.testing.assert_allclose(faces.normalisers[:, 0], box)
        else:
            with pytest.raises(DataError, match=r"train\.csv is missing"):
                data.setup(stage)
