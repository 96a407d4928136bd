"""awing-predict: files in, landmarks and pictures out."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from awing.data.images import read_image
from awing.data.readers import read_custom
from awing.data.readers.w300 import read_pts
from awing.errors import ConfigError, DataError
from awing.inference.aligner import Aligner
from awing.inference.predict import align_frames, main, predict
from awing.inference.writer import Frame

ROOT = Path(__file__).parents[2]
BOX = "60,60,190,190"
COLUMNS = "image,frame,box_x0,box_y0,box_x1,box_y1\n"


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory) -> str:
    """The network of random weights in a file."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoint.write(path)
    return str(path)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def run(file: str, source: Path, output: Path, errors: int = 0, **options: object) -> list[dict]:
    assert predict(str(source), str(output), file, **{"boxes": BOX, "device": "cpu", **options}) == errors
    return json.loads((output / "predictions.json").read_text())


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    height, width = pictures[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (width, height))
    for image in pictures:
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()


def test_folder_gives_json_table_and_pictures(file, picture, tmp_path):
    names = ["a.png", "b, c=1.png", "deeper/a.png"]
    for name in names:
        save(tmp_path / "in" / name, picture)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    found = run(file, tmp_path / "in", out, pts=True, heatmaps=True, coco=True)
    assert [entry["image"] for entry in found] == names
    expected = Aligner.load(file, "cpu")(picture, [[60, 60, 190, 190]])
    for entry in found:
        (face,) = entry["faces"]
        assert face["box"] == [60, 60, 190, 190]
        np.testing.assert_allclose(face["points"], expected.points[0], atol=0.0051)
        np.testing.assert_allclose(face["confidence"], expected.confidence[0], atol=0.00051)
        overlay = read_image(out / "overlays" / entry["image"])
        changed = (overlay != picture).any(2)
        assert overlay.shape == picture.shape
        assert 100 < changed.sum() < changed.size / 4
        x, y = np.array(face["points"][30]).round().astype(int)  # the nose's tip, inside the picture
        assert overlay[y, x].tolist() == [70, 255, 90]
        points = read_pts(out / "pts" / f"{entry['image']}_0.pts", 68)
        np.testing.assert_allclose(points, face["points"], atol=0.01)
        assert read_image(out / "heatmaps" / f"{entry['image']}_0.png").shape == (320, 960, 3)
        assert (out / "heatmaps" / f"{entry['image']}_0_landmarks.jpg").is_file()
    with (out / "predictions.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["image"] for row in rows] == names
    (face,) = found[0]["faces"]
    last = [float(rows[0][column]) for column in ("x67", "y67", "confidence67")]
    assert last == [*face["points"][67], face["confidence"][67]]
    records = read_custom(out, "train", scheme="ibug68", train="coco.json", images=str(tmp_path / "in")).records
    assert [record.path.relative_to(tmp_path / "in").as_posix() for record in records] == names
    assert (records[0].points.tolist(), records[0].box.tolist()) == (face["points"], face["box"])
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_orientation_is_applied(file, picture, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture[:200]).save(tmp_path / "camera.jpg", exif=exif, quality=100)
    with Image.open(tmp_path / "camera.jpg") as image:
        ImageOps.exif_transpose(image).save(tmp_path / "upright.png")
    camera, upright = (run(file, tmp_path / n, tmp_path / f"out {n}")[0] for n in ("camera.jpg", "upright.png"))
    difference = np.subtract(camera["faces"][0]["points"], upright["faces"][0]["points"])
    assert np.abs(difference).max() < 0.5, "the same picture but for a JPEG decoder"


def test_unreadable_files_are_named_and_others_go_on(file, picture, tmp_path, capsys):
    good = save(tmp_path / "in" / "b.jpg", picture)
    (tmp_path / "in" / "a.jpg").write_bytes(good.read_bytes()[:3000])
    (tmp_path / "in" / "c.png").write_bytes(b"")
    (tmp_path / "in" / "e.mp4").write_bytes(b"not a video")
    save(tmp_path / "in" / "f.png", np.zeros((40, 40, 3), np.uint8))  # the box lies outside
    found = {entry["image"]: entry for entry in run(file, tmp_path / "in", tmp_path / "out", errors=4)}
    said = capsys.readouterr().err.splitlines()
    assert len(found["b.jpg"]["faces"]) == 1
    assert "error" not in found["b.jpg"]
    words = {"a.jpg": "truncated", "c.png": "decoded", "e.mp4": "could be read", "f.png": "outside"}
    for name, word in words.items():
        assert found[name]["faces"] == []
        assert word in found[name]["error"]
        assert any(line.startswith(name) and line.endswith(found[name]["error"]) for line in said)
    assert [path.name for path in (tmp_path / "out" / "overlays").iterdir()] == ["b.jpg"]


def test_batches_give_the_landmarks_of_single_pictures(picture):
    """Across pictures: none, one or two faces each, and two that have errors, in order."""
    box, aligner, sizes = [60.0, 60.0, 190.0, 190.0], Aligner.load("300w-small", "cpu", batch_size=4), []
    images = [np.roll(picture, 5 * i, axis=1) for i in range(9)]
    table = {("1", None): [box, [50.0, 70.0, 180.0, 200.0]], ("3", None): [], ("6", None): [[900.0, 0.0, 950.0, 50.0]]}
    frames = [Frame(str(i), image) for i, image in enumerate(images)]
    frames[2] = Frame("2", error="truncated")
    aligner.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found = list(align_frames(aligner, iter(frames), dict(table), [box]))
    assert [frame.name for frame in found] == [str(i) for i in range(9)]
    assert sizes == [3, 3, 1]
    assert [len(frame.landmarks.points) for frame in found] == [1, 2, 0, 0, 1, 1, 0, 1, 1]
    assert found[2].error == "truncated"
    assert "not outside" in found[6].error
    for i in (0, 1, 4, 5, 7, 8):
        alone = aligner(images[i], table.get((str(i), None), [box]))
        np.testing.assert_allclose(found[i].landmarks.points, alone.points, atol=1e-4)
        np.testing.assert_allclose(found[i].landmarks.confidence, alone.confidence, atol=1e-5)


def test_earlier_predictions_are_neither_overwritten_nor_read(file, picture, tmp_path):
    save(tmp_path / "a.png", picture)
    save(tmp_path / "overlays" / "mine" / "overlays" / "b.png", picture)
    assert len(run(file, tmp_path, tmp_path / "overlays" / "mine")) == 1
    run(file, tmp_path, tmp_path, aligned=64)
    before = (tmp_path / "predictions.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds predictions.json already: .* overwrite=true"):
        run(file, tmp_path, tmp_path)
    assert (tmp_path / "predictions.json").read_bytes() == before
    assert [entry["image"] for entry in run(file, tmp_path, tmp_path, overwrite=True)] == ["a.png"]
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


def test_boxes_from_a_table(file, picture, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, picture)
    table = tmp_path / "boxes.csv"
    table.write_text("image,box_x0,box_y0,box_x1,box_y1,note\na.png,60,60,190,190,\na.png,50,50,150,150,x\n")
    found = run(file, tmp_path / "in", tmp_path / "out", boxes=str(table))
    boxes = [[face["box"] for face in entry["faces"]] for entry in found]
    assert boxes == [[[60, 60, 190, 190], [50, 50, 150, 150]], []]
    again = run(file, tmp_path / "in", tmp_path / "again", boxes=str(tmp_path / "out" / "predictions.csv"))
    assert again == found  # a prediction's table has boxes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,box_x0\na.png,1\n", r"boxes.csv:2: expected the columns image, box_x0, .* found"),
        (f"{COLUMNS}a.png,,1,1,9\n", r"boxes.csv:2: expected the columns"),
        (f"{COLUMNS}A.png,,1,1,9,9\n", r"boxes.csv:2: 'A.png' is none of the 1 inputs"),
        (None, "there is no file .*boxes.csv"),
    ],
)
def test_wrong_tables_of_boxes_are_refused(file, picture, tmp_path, text, message):
    save(tmp_path / "a.png", picture)
    if text:
        (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        run(file, tmp_path / "a.png", tmp_path / "out", boxes=str(tmp_path / "boxes.csv"))
    assert not (tmp_path / "out").exists()


def test_pictures_of_every_suffix_are_read_others_counted(file, picture, tmp_path, capsys):
    """As OpenCV knows them by their content; a suffix that it cannot write becomes PNG."""
    for name, kind in (("a.png", "PNG"), ("b.jfif", "JPEG"), ("c.gif", "GIF"), ("d.pgm", "PPM")):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(picture).convert("L" if kind == "PPM" else "RGB").save(tmp_path / "in" / name, kind)
    for name in ("e.HEIC", "f.heic", "notes.txt", ".hidden"):
        (tmp_path / "in" / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    found = run(file, tmp_path / "in", tmp_path / "out")
    assert [entry["image"] for entry in found] == ["a.png", "b.jfif", "c.gif", "d.pgm"]
    assert "left out: 2 .heic, 1 .txt (" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out" / "overlays").iterdir()}
    assert names == {"a.png", "b.jfif.png", "c.gif", "d.pgm.png"}
    assert len(run(file, tmp_path / "in" / "b.jfif", tmp_path / "one")) == 1
    with pytest.raises(ConfigError, match=r"expected files ending in .*, found 1 \.heic"):
        run(file, tmp_path / "in" / "e.HEIC", tmp_path / "none")


def test_dark_sixteen_bits_are_named_and_readable(checkpoint, file, tmp_path):
    """Without boxes: what a detector cannot see is no missing face."""
    pytest.importorskip("dlib")
    for name, low, high in (("camera", 0, 4095), ("thermal", 29000, 31000)):
        (tmp_path / "in").mkdir(exist_ok=True)
        pixels = np.linspace(low, high, 64 * 64).reshape(64, 64).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), pixels)
    camera, thermal = run(file, tmp_path / "in", tmp_path / "dark", errors=2, boxes=None)
    assert "the picture is nearly black (0 to 15 of 255); if the file has 16 bits" in camera["error"]
    assert "nearly of one grey (113 to 121 of 255)" in thermal["error"]
    run(file, tmp_path / "in", tmp_path / "range", boxes=None, bits="range")
    trained = replace(checkpoint, config={**checkpoint.config, "dataset": {**checkpoint.config["dataset"], "bits": 12}})
    trained.write(tmp_path / "bits.safetensors")
    run(str(tmp_path / "bits.safetensors"), tmp_path / "in" / "camera.png", tmp_path / "12", boxes=None)
    with pytest.raises(ConfigError, match="bits: expected the bits"):
        run(file, tmp_path / "in", tmp_path / "many", bits="many")


def test_inputs_without_files_are_refused(file, picture, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "*.jpg", "x.jpg"):
        with pytest.raises(ConfigError, match=r"expected files ending in \.jpg .*, found no file"):
            run(file, tmp_path / source, tmp_path / "out")
    save(tmp_path / "a.png", picture)
    with pytest.raises(ConfigError, match="boxes: expected x0,y0,x1,y1"):
        run(file, tmp_path / "a.png", tmp_path / "out", boxes="1,2,3")
    assert not (tmp_path / "out").exists()


def test_smooth_and_aligned_come_beside_the_points(file, picture, tmp_path):
    frames = [np.roll(picture, 2 * (i % 2), axis=1) for i in range(6)]
    write_video(tmp_path / "clip.avi", frames)
    raw, smooth = (
        run(file, tmp_path / "clip.avi", tmp_path / f"out{on}", smooth=on, aligned=64) for on in (False, True)
    )
    found = [np.array([frame["faces"][0]["points"] for frame in entries]) for entries in (raw, smooth)]
    assert (found[1][0] == found[0][0]).all()
    assert found[1][2:].std(0).mean() < 0.8 * found[0][2:].std(0).mean()
    pictures = sorted((tmp_path / "outTrue" / "aligned").iterdir())
    assert [path.name for path in pictures] == [f"clip.avi_{i:06d}_0.png" for i in range(6)]
    assert read_image(pictures[0]).shape == (64, 64, 3)


def test_video_gives_its_frames_and_an_overlay_video(file, picture, tmp_path, capsys):
    write_video(tmp_path / "clip.avi", [np.roll(picture, 3 * i, axis=1) for i in range(5)])
    boxes = tmp_path / "boxes.csv"
    rows = [f"clip.avi,{i},{60 + 3 * i},60,{190 + 3 * i},190\n" for i in (0, 1, 2, 4, 7)]
    boxes.write_text(COLUMNS + "".join(rows))
    found = run(file, tmp_path / "clip.avi", tmp_path / "out", boxes=str(boxes), errors=1)
    assert f"{boxes}: there is no frame 7 of clip.avi" in capsys.readouterr().err
    assert {entry["image"] for entry in found} == {"clip.avi"}
    assert [(entry["frame"], entry["time"]) for entry in found] == [(i, round(i / 12, 4)) for i in range(5)]
    assert [len(entry["faces"]) for entry in found] == [1, 1, 1, 0, 1]
    video = cv2.VideoCapture(str(tmp_path / "out" / "overlays" / "clip.avi.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (5, 12)
    frame = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)
    assert frame.shape == picture.shape
    assert np.abs(frame.astype(int) - picture).mean() < 20


def test_uneven_frames_have_their_time_and_a_sentence(file, picture, tmp_path, capsys):
    """An animation with a duration for each frame, which is what FFmpeg finds in the file, whatever its name says."""
    pictures = [Image.fromarray(np.roll(picture, i, axis=1)) for i in range(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[40, 300, 40, 40])
    (tmp_path / "a.gif").rename(tmp_path / "a.mkv")
    found = run(file, tmp_path / "a.mkv", tmp_path / "out")
    assert [entry["time"] for entry in found] == [0, 0.04, 0.34, 0.38]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as table:
        assert [float(row["time"]) for row in csv.DictReader(table)] == [0, 0.04, 0.34, 0.38]
    assert "a.mkv: its frames last 40 to 300 ms; the overlay has" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_frames(file, tmp_path):
    """In a process of its own: the highest memory that it ever had."""
    rng = np.random.default_rng(0)
    frame = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    peaks = {}
    for count in (100, 1000):
        write_video(tmp_path / f"{count}.avi", [np.roll(frame, i, axis=1) for i in range(count)])
        code = (
            "import re; from awing.inference.predict import predict\n"
            f"predict({str(tmp_path / f'{count}.avi')!r}, {str(tmp_path / f'out{count}')!r}, {file!r}, {BOX!r})\n"
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks[count] = int(done.stdout.split()[-1]) / 1024
    assert peaks[1000] - peaks[100] < 30, f"MiB: {peaks}; 900 frames more are 800 MiB"


def test_predict_command_exits_with_a_sentence(file, picture, tmp_path, monkeypatch):
    save(tmp_path / "in" / "a.png", picture)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    words = f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", f"checkpoint={file}", f"boxes={BOX}"
    done = subprocess.run([sys.executable, "src/predict.py", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "b.png" in done.stderr
    assert "2 images, 1 faces, 1 errors" in done.stdout
    monkeypatch.setattr(sys, "argv", ["awing-predict", *words])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit, match=r"^error: .*overwrite=true$"):
        main()
