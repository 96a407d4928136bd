"""awing-predict: files in, landmarks, pictures and honest words out."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from awing.data.images import decode, read_bytes
from awing.data.readers.w300 import read_pts
from awing.errors import ConfigError, DataError
from awing.inference.aligner import Aligner
from awing.inference.predict import Options, predict
from awing.training import engine
from awing.words import parse

ROOT = Path(__file__).parents[2]
BOX = "60,60,190,190"
AS_TEXT = {"capture_output": True, "text": True}


@pytest.fixture(scope="module")
def checkpoint(config, rendered, tmp_path_factory) -> str:
    """The last checkpoint of a run of one epoch."""
    output = tmp_path_factory.mktemp("run") / "run"
    cfg = config(
        "train", "dataset=300w", "model=small", "trainer=cpu", "model.channels=8", "model.depth=2", "logger=csv",
        "codec.input_size=64", "codec.heatmap_size=16", "codec.decoder=refined", "data.batch_size=4",
        "data.num_workers=0", "trainer.max_epochs=1", "callbacks.progress=null", "dataset.allow_partial=true",
        "test=false", f"paths.data_dir={rendered}",
    )  # fmt: skip
    engine.fit(cfg, output)
    return str(output / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def picture(rendered) -> np.ndarray:
    file = sorted((rendered / "300w" / "afw").glob("*.jpg"))[0]
    return decode(file, read_bytes(file))


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def run(checkpoint: str, source: Path | str, output: Path, **options: object) -> list[dict]:
    predict(Options(input=str(source), output=str(output), checkpoint=checkpoint, **{"boxes": BOX, **options}))
    return json.loads((output / "predictions.json").read_text())


def test_a_folder_gives_json_table_and_overlays(checkpoint, picture, tmp_path):
    for name in ("b, c=1.png", "a.png", "deeper/a.png"):
        save(tmp_path / "in" / name, picture)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    found = run(checkpoint, tmp_path / "in", tmp_path / "out", pts=True, heatmaps=True)
    assert [entry["image"] for entry in found] == ["a.png", "b, c=1.png", "deeper/a.png"]
    expected = Aligner.load(checkpoint, "cpu")(picture, [[60, 60, 190, 190]])
    for entry in found:
        (face,) = entry["faces"]
        assert face["box"] == [60, 60, 190, 190]
        np.testing.assert_allclose(face["points"], expected.points[0], atol=0.011)
        np.testing.assert_allclose(face["confidence"], expected.confidence[0], atol=0.001)
        overlay = decode("", read_bytes(tmp_path / "out" / "overlays" / entry["image"]))
        changed = (overlay != picture).any(2)
        assert overlay.shape == picture.shape and 100 < changed.sum() < changed.size / 4
        x, y = np.array(face["points"][30]).round().astype(int)  # the nose's tip, inside the picture
        assert overlay[y, x].tolist() == [70, 255, 90]
        np.testing.assert_allclose(
            read_pts(tmp_path / "out/pts" / f"{entry['image']}_0.pts", 68), face["points"], atol=0.01
        )
        assert (tmp_path / "out" / "heatmaps" / f"{entry['image']}_0.png").is_file()
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png", "b, c=1.png", "deeper/a.png"]
    assert [float(rows[0][column]) for column in ("x67", "y67", "confidence67")] == [
        *found[0]["faces"][0]["points"][67],
        found[0]["faces"][0]["confidence"][67],
    ]
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(checkpoint, picture, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture[:200]).save(tmp_path / "camera.jpg", exif=exif, quality=100)
    with Image.open(tmp_path / "camera.jpg") as image:
        ImageOps.exif_transpose(image).save(tmp_path / "upright.png")
    camera, upright = (run(checkpoint, tmp_path / n, tmp_path / f"out {n}")[0] for n in ("camera.jpg", "upright.png"))
    difference = np.subtract(camera["faces"][0]["points"], upright["faces"][0]["points"])
    assert np.abs(difference).max() < 0.5, "the same picture but for a JPEG decoder"


def test_kinds_of_pixels(checkpoint, picture, tmp_path):
    grey = picture[..., 1]
    save(tmp_path / "grey.png", grey)
    save(tmp_path / "colour.png", np.stack([grey] * 3, -1))
    cv2.imwrite(str(tmp_path / "deep.png"), grey.astype(np.uint16) * 257)
    save(tmp_path / "alpha.png", np.dstack([grey, grey, grey, np.full_like(grey, 128)]))
    results = run(checkpoint, tmp_path / "*.png", tmp_path / "out")
    assert [entry["image"] for entry in results] == ["alpha.png", "colour.png", "deep.png", "grey.png"]
    for entry in results:
        assert entry["faces"] == results[1]["faces"], entry["image"]


def test_what_cannot_be_read_is_named_and_the_others_go_on(checkpoint, picture, tmp_path, capsys):
    good = save(tmp_path / "in" / "b.jpg", picture)
    (tmp_path / "in" / "a.jpg").write_bytes(good.read_bytes()[:3000])
    (tmp_path / "in" / "c.png").write_bytes(b"not a picture")
    (tmp_path / "in" / "d.png").write_bytes(b"")
    (tmp_path / "in" / "e.mp4").write_bytes(b"not a video")
    save(tmp_path / "in" / "f.png", np.zeros((40, 40, 3), np.uint8))  # the box lies outside
    options = Options(input=str(tmp_path / "in"), output=str(tmp_path / "out"), checkpoint=checkpoint, boxes=BOX)
    assert predict(options) == 5
    said = capsys.readouterr().err
    found = {entry["image"]: entry for entry in json.loads((tmp_path / "out" / "predictions.json").read_text())}
    assert len(found["b.jpg"]["faces"]) == 1 and "error" not in found["b.jpg"]
    for name, word in {
        "a.jpg": "truncated",
        "c.png": "decoded",
        "d.png": "decoded",
        "e.mp4": "frames",
        "f.png": "outside",
    }.items():
        assert found[name]["faces"] == [] and word in found[name]["error"], found[name]
        assert any(line.startswith(name) and line.endswith(found[name]["error"]) for line in said.splitlines())
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["b.jpg"]


def test_nothing_is_overwritten_and_no_prediction_is_an_input(checkpoint, picture, tmp_path):
    save(tmp_path / "a.png", picture)
    run(checkpoint, tmp_path, tmp_path)
    before = (tmp_path / "predictions.json").read_bytes()
    with pytest.raises(ConfigError, match=r"predictions.json, predictions.csv, overlays already: .* overwrite=true"):
        run(checkpoint, tmp_path, tmp_path)
    assert (tmp_path / "predictions.json").read_bytes() == before
    assert [entry["image"] for entry in run(checkpoint, tmp_path, tmp_path, overwrite=True)] == ["a.png"]
    assert np.array_equal(decode("", read_bytes(tmp_path / "a.png")), picture)


def test_boxes_from_a_table(checkpoint, picture, tmp_path):
    save(tmp_path / "in" / "a.png", picture)
    save(tmp_path / "in" / "b.png", picture)
    table = tmp_path / "boxes.csv"
    table.write_text("image,box_x0,box_y0,box_x1,box_y1,note\na.png,60,60,190,190,\na.png,50,50,150,150,x\n")
    found = run(checkpoint, tmp_path / "in", tmp_path / "out", boxes=str(table))
    assert [[face["box"] for face in entry["faces"]] for entry in found] == [
        [[60, 60, 190, 190], [50, 50, 150, 150]],
        [],
    ]
    again = run(checkpoint, tmp_path / "in", tmp_path / "again", boxes=str(tmp_path / "out" / "predictions.csv"))
    assert again == found  # a prediction's table has boxes
    for text, message in {
        "image,box_x0\na.png,1\n": r"boxes.csv:1: expected the columns .* missing \['box_x1', 'box_y0', 'box_y1'\]",
        "image,box_x0,box_y0,box_x1,box_y1\nA.png,1,1,9,9\n": r"boxes.csv:2: 'A.png' is none of the 2 inputs. Did you",
        "image,box_x0,box_y0,box_x1,box_y1\na.png,1,1,9\n": "boxes.csv:2: expected four numbers",
    }.items():
        table.write_text(text)
        with pytest.raises(DataError, match=message):
            run(checkpoint, tmp_path / "in", tmp_path / "bad", boxes=str(table))
    with pytest.raises(ConfigError, match="boxes: expected x0,y0,x1,y1"):
        run(checkpoint, tmp_path / "in", tmp_path / "bad", boxes="1,2,3")
    assert not (tmp_path / "bad").exists()


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    height, width = pictures[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (width, height))
    for image in pictures:
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()


def test_a_video_gives_its_frames_and_an_overlay_video(checkpoint, picture, tmp_path):
    write_video(tmp_path / "clip.avi", [np.roll(picture, 3 * i, axis=1) for i in range(5)])
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,frame,box_x0,box_y0,box_x1,box_y1\n" + "".join(
        f"clip.avi,{i},{60 + 3 * i},60,{190 + 3 * i},190\n" for i in (0, 1, 2, 4)
    ))  # fmt: skip
    found = run(checkpoint, tmp_path / "clip.avi", tmp_path / "out", boxes=str(boxes), batch_size=2)
    assert [(entry["image"], entry["frame"], len(entry["faces"])) for entry in found] == [
        ("clip.avi", 0, 1), ("clip.avi", 1, 1), ("clip.avi", 2, 1), ("clip.avi", 3, 0), ("clip.avi", 4, 1),
    ]  # fmt: skip
    video = cv2.VideoCapture(str(tmp_path / "out" / "overlays" / "clip.avi.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (5, 12)
    frame = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)
    assert frame.shape == picture.shape and np.abs(frame.astype(int) - picture).mean() < 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_frames_take_no_more_memory_than_a_hundred(checkpoint, tmp_path):
    """In a process of its own: the highest memory that it ever had."""
    rng = np.random.default_rng(0)
    frame = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    peaks = {}
    for count in (100, 1000):
        write_video(tmp_path / f"{count}.avi", [np.roll(frame, i, axis=1) for i in range(count)])
        code = (
            "import re; from awing.inference.predict import Options, predict\n"
            f"predict(Options(input={str(tmp_path / f'{count}.avi')!r}, output={str(tmp_path / f'out{count}')!r},"
            f" checkpoint={checkpoint!r}, boxes={BOX!r}))\n"
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run([sys.executable, "-c", code], **AS_TEXT, check=True, cwd=ROOT / "src")
        peaks[count] = int(done.stdout.split()[-1]) / 1024
    assert peaks[1000] - peaks[100] < 30, f"MiB: {peaks}; 900 frames more are 800 MiB"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photo.jpg"], "expected key=value, found 'photo.jpg'; did you mean 'input=photo.jpg'"),
        (["inptu=a"], r"there is no option 'inptu'.* Did you mean 'input'"),
        (["input=a", "pts=yes"], "pts is true or false"),
        (["input=a", "batch_size=-1"], "batch_size is a whole number"),
        (["output=a"], "expected input=..., see --help"),
        (["input="], "input= is empty: give a value or leave it out"),
        (["input=a", "boxes="], "boxes= is empty"),
        (["input=a", "input=b"], "input= is given twice"),
        (["input=a", "min_confidence=much"], "min_confidence is a number"),
    ],
)
def test_words_that_are_no_options_are_answered(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(words, Options)


def test_inputs_that_are_none_are_answered(checkpoint, tmp_path):
    (tmp_path / "empty").mkdir()
    for source, message in {
        "empty": "has no image or video",
        "*.jpg": "no file, folder or pattern",
        "x.jpg": "no file",
    }.items():
        with pytest.raises(ConfigError, match=message):
            run(checkpoint, tmp_path / source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_exits_with_a_sentence(checkpoint, picture, tmp_path, capsys, monkeypatch):
    save(tmp_path / "in" / "a.png", picture)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    words = [f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", f"checkpoint={checkpoint}", f"boxes={BOX}"]
    done = subprocess.run([sys.executable, "src/predict.py", *words], cwd=ROOT, **AS_TEXT)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "b.png" in done.stderr and "1 with an error" in done.stdout
    again = subprocess.run([sys.executable, "src/predict.py", *words], cwd=ROOT, **AS_TEXT)
    assert again.returncode == 1 and again.stderr.startswith("error: ") and "overwrite=true" in again.stderr
    help_text = subprocess.run([sys.executable, "src/predict.py"], cwd=ROOT, **AS_TEXT)
    assert help_text.returncode == 0 and "input=PATH" in help_text.stdout


def test_a_full_disk_ends_in_a_sentence(checkpoint, picture, tmp_path):
    """No file may grow beyond 4 KiB: the picture fails, and then the JSON."""
    for i in range(4):
        save(tmp_path / "in" / f"{i}.png", picture)
    words = f"input={tmp_path / 'in'} output={tmp_path / 'out'} checkpoint={checkpoint} boxes={BOX}"
    command = f"ulimit -f 4; exec {sys.executable} src/predict.py {words}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, **AS_TEXT)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ") and "File too large" in done.stderr
    assert "0.png: " in done.stderr and not (tmp_path / "out" / "predictions.json").exists()


def test_a_second_prediction_leaves_nothing_of_the_first(checkpoint, picture, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / "in" / name, picture)
    run(checkpoint, tmp_path / "in", tmp_path / "out", pts=True, heatmaps=True)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run(checkpoint, tmp_path / "in" / "b.png", tmp_path / "out", overwrite=True)
    left = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*"))
    assert left == ["notes.txt", "overlays", "overlays/b.png", "predictions.csv", "predictions.json"]


def test_a_users_folder_that_is_called_like_a_predictions_stays(checkpoint, picture, tmp_path):
    save(tmp_path / "in" / "a.png", picture)
    (tmp_path / "in" / "pts").mkdir()
    (tmp_path / "in" / "pts" / "a.pts").write_text("by hand")
    (tmp_path / "in" / "overlays").write_text("a file")
    for overwrite, message in ((False, "or overwrite=true"), (True, "no predictions.json: no prediction's")):
        with pytest.raises(ConfigError, match=f"holds overlays, pts.*{message}"):
            run(checkpoint, tmp_path / "in", tmp_path / "in", overwrite=overwrite)
    assert (tmp_path / "in" / "pts" / "a.pts").read_text() == "by hand"
    assert (tmp_path / "in" / "overlays").read_text() == "a file"


def test_pictures_of_an_earlier_prediction_are_no_input(checkpoint, picture, tmp_path, capsys):
    save(tmp_path / "in" / "a.png", picture)
    save(tmp_path / "in" / "overlays" / "mine.png", picture)
    run(checkpoint, tmp_path / "in", tmp_path / "in" / "out")
    found = run(checkpoint, tmp_path / "in", tmp_path / "second")
    assert [entry["image"] for entry in found] == ["a.png", "overlays/mine.png"]
    assert "left out: 2 pictures that earlier predictions wrote" in capsys.readouterr().err
    assert [entry["image"] for entry in run(checkpoint, tmp_path / "in" / "**" / "*.png", tmp_path / "third")] == [
        "a.png", "overlays/mine.png",
    ]  # fmt: skip


def test_a_pattern_that_leads_up_writes_no_file_of_the_user(checkpoint, picture, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    mine = save(tmp_path / "in" / "a.png", picture)
    save(tmp_path / "in" / "sub" / "b.png", picture)
    before = mine.read_bytes()
    found = run(checkpoint, tmp_path / "in" / "*" / ".." / "*.png", tmp_path / "in" / "out")
    assert [entry["image"] for entry in found] == ["a.png"]
    found = run(checkpoint, tmp_path / "in" / "sub" / ".." / "*" / "*.png", tmp_path / "other")
    assert [entry["image"] for entry in found] == ["b.png"]
    assert mine.read_bytes() == before and (tmp_path / "in" / "out" / "overlays" / "a.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_odd_names_and_shapes_are_an_input_as_others(checkpoint, picture, tmp_path):
    long = "n" * 247 + ".png"
    save(tmp_path / "in" / long, picture)
    good = save(tmp_path / "in" / "z.png", picture)
    os.rename(save(tmp_path / "in" / "x.png", picture), os.fsencode(tmp_path / "in") + b"/caf\xe9.png")
    save(tmp_path / "in" / "thin.png", np.zeros((1, 9000, 3), np.uint8))
    options = Options(str(tmp_path / "in"), str(tmp_path / "out"), checkpoint, boxes=BOX, pts=True)
    assert predict(options) == 2
    found = {entry["image"]: entry for entry in json.loads((tmp_path / "out" / "predictions.json").read_text())}
    assert "too long" in found[long]["error"] and len(found[long]["faces"]) == 1
    assert "outside" in found["thin.png"]["error"]
    assert found["z.png"]["faces"] == found["caf\\xe9.png"]["faces"] and good.exists()
    assert (tmp_path / "out" / "overlays" / "caf\\xe9.png").exists()
    again = run(checkpoint, tmp_path / "in", tmp_path / "again", boxes=str(tmp_path / "out" / "predictions.csv"))
    assert [len(entry["faces"]) for entry in again] == [1, 1, 0, 1]


def test_boxes_of_frames_that_are_not_there_are_named(checkpoint, picture, tmp_path):
    write_video(tmp_path / "in" / "clip.avi", [picture] * 2)
    save(tmp_path / "in" / "a.png", picture)
    table, head = tmp_path / "boxes.csv", "image,frame,box_x0,box_y0,box_x1,box_y1\n"
    table.write_text(head + f"clip.avi,,{BOX}\na.png,0,{BOX}\na.png,,{BOX}\nb.png,,{BOX}\n")
    with pytest.raises(DataError) as caught:
        run(checkpoint, tmp_path / "in", tmp_path / "bad", boxes=str(table))
    lines = str(caught.value).splitlines()
    assert [line.split(": ", 1)[1].split(".")[0] for line in lines] == ["'clip", "'a", "'b"]
    for line, words in zip(lines, ("boxes.csv:2", "boxes.csv:3", "boxes.csv:5"), strict=True):
        assert words in line
    table.write_text(head + f"clip.avi,1,{BOX}\nclip.avi,2,{BOX}\nclip.avi,7,{BOX}\n")
    options = Options(str(tmp_path / "in"), str(tmp_path / "out"), checkpoint, boxes=str(table))
    assert predict(options) == 1
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(entry["image"], entry.get("frame"), len(entry["faces"])) for entry in found] == [
        ("a.png", None, 0), ("clip.avi", 0, 0), ("clip.avi", 1, 1), ("clip.avi", None, 0),
    ]  # fmt: skip
    assert found[-1]["error"].endswith("does not have: 2, 7")
