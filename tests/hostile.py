"""Damaged files for every loader: ``python -c "import awing, hostile; hostile.main()" LOADER FIRST LAST``.

A process of its own, with bounds on memory and on the time of each input: native code may crash or hang, and the last
line that was printed then says which input did it. ``awing`` comes first, as it sets OpenCV's limit.
"""

import copy
import faulthandler
import json
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_dir
from miniatures import (
    pts_text,
    save_image,
    texture,
    wflw_line,
    write_aflw,
    write_boxes,
    write_cofw,
    write_joints,
    write_wflw_list,
)
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save
from scipy.io import savemat

from awing.aligner import Aligner
from awing.checkpoint import Checkpoint
from awing.data import read_300w, read_aflw, read_cofw, read_custom, read_lsp, read_wflw, write_dataset
from awing.data.cache import CropCache
from awing.data.crops import record_matrix
from awing.data.images import image_size, read_crop, read_image
from awing.errors import AwingError
from awing.images import decode, read_bytes
from awing.models import StackedHourglass
from awing.models.official import to_official
from awing.prediction.inputs import Boxes, frames
from awing.report import write_report
from awing.schemes import get_scheme, read_scheme

MEMORY = 2e9  # bytes that reading may take besides the libraries' own
SECONDS = 60  # that one input may take, on a machine that is busy
Rng = np.random.Generator


@dataclass
class Loader:
    """One thing that reads a stranger's file.

    Args:
        write: Writes sound files into a folder.
        read: Reads them, and uses what it found; gets the folder and the file that is damaged.
        files: Which of them are damaged, by pattern.
        craft: Writes files that are well formed and wrong.
        text: Words of the files are exchanged, too.
    """

    write: Callable[[Path], object]
    read: Callable[[Path, Path], object]
    files: str
    craft: Callable[[Path, Rng], object] | None = None
    text: bool = False


# Damage


def damaged(content: bytes, rng: Rng) -> bytes:
    """Bytes flipped, overwritten, deleted, inserted, doubled, moved or cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.choice([1, 2, 4, 8, 64, 512]))
        # the heads of most formats are where it matters
        at = at % 512 if rng.random() < 0.3 else at
        other = int(rng.integers(len(data)))
        match rng.integers(7):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                extreme = int(rng.choice([0, 0xFF, 0x7F, 0x80, 0x01, 0x40, 0x10]))
                data[at : at + length] = bytes([extreme]) * len(data[at : at + length])
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = rng.bytes(length)
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                data[at : at + length] = data[other : other + length]
            case 6:
                del data[at:]
    return bytes(data)


WORDS = [
    "nan", "-nan", "inf", "-inf", "-1", "0", "-0.0", "1e308", "-1e308", "1e400", "1e-320", "0x10", "1_0", "1,5", "9" * 400,
    "9" * 5000, str(2**31), str(2**63), str(-(2**63) - 1), str(2**64), "", " ", "''", '""', '"', "'", "\x00", "\ufeff",
    "\u0663", "\u202e", "é" * 300, "x" * 140_000, "1 " * 5000, "," * 5000, "\n", "\r", "\u2028", "../../etc/passwd", "/etc/passwd",
    "a/../../b", "<script>alert(1)</script>", "${oc.env:HOME}", "{{7*7}}", "=1+1", "true", "null", "~", "[]", "{}", "[[[]]]",
    "[" * 3000, "{" * 3000, "&a [*a, *a]", "*a", "!!int x", "!!bool x", "!!timestamp x", "!!float ''", "!!python/name:os.system",
    "!!binary x", "2001-13-41", "? {}", "- -", "190:20:30", "%",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**64), 10**30, 10**400, 0.5, -0.0, 1e308, -1e308, float("nan"), float("inf"), "",
    "x", "nan", "1e3", "../../etc/passwd", "/etc/passwd", "<script>'\"&", "${oc.env:HOME}", "x" * 10_000, "\x00", "\ud800", [], [1], [[]],
    ["a", "b"], {}, {"a": 1}, {"full": {"nme": {}}}, [None] * 1000,
]  # fmt: skip


def damaged_text(content: bytes, rng: Rng) -> bytes:
    """Words exchanged for others, lines and cells doubled, dropped or moved."""
    text = content.decode()
    for _ in range(rng.integers(1, 4)):
        lines = text.split("\n")
        at, other = rng.integers(len(lines), size=2)
        match rng.integers(6):
            case 0:
                lines.insert(at, lines[other])
            case 1:
                del lines[at]
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                words = re.split(r"([\s,:\[\]{}\"]+)", lines[at])
                words[rng.integers(len(words))] = WORDS[rng.integers(len(WORDS))]
                lines[at] = "".join(words)
        text = "\n".join(lines)
    return text.encode("utf-8", "replace")


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of plain values, with each of its keys."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)


def changed(tree: Any, rng: Rng) -> Any:
    """Plain values with one to three of them exchanged, dropped or nested."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.integers(1, 4)):
        found = list(places(tree))
        if not found:
            return tree
        node, key = found[rng.integers(len(found))]
        match rng.integers(5):
            case 0:
                del node[key]
            case 1:
                node[key] = {"nested": node[key]} if rng.random() < 0.5 else [node[key]] * 2
            case _:
                node[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return tree


def json_text(tree: Any, rng: Rng) -> bytes:
    return json.dumps(changed(tree, rng)).encode("utf-8", "surrogatepass")


def craft_json(name: str, tree: Any) -> Callable[[Path, Rng], object]:
    return lambda folder, rng: (folder / name).write_bytes(json_text(tree, rng))


def array(rng: Rng, good: np.ndarray) -> Any:
    """Numbers of another shape, type or size, or with values that are none."""
    if good.dtype == object:
        other = good.copy().ravel()
        if other.size:
            other[rng.integers(other.size)] = [1.5, "../../x", "/x", "", np.zeros((0, 2)), "é", np.array(["a", "b"])][
                rng.integers(7)
            ]
        return [other, other[:-1], other.reshape(1, -1), np.zeros(0), "text"][rng.integers(5)]
    other = np.array(good)
    if other.size:
        values = [np.nan, np.inf, -1, 0, 1e308, -1e308, 2**31, 0.5]
        other.ravel()[rng.integers(other.size)] = (
            values[rng.integers(8)] if other.dtype.kind == "f" else rng.integers(255)
        )
    with np.errstate(all="ignore"):
        return [
            other, other, other, other.T, other[:-1], other[..., None], other[:0], other.ravel(), other.astype("f4"),
            np.nan_to_num(other).astype("i1"), other.astype(bool), other + 1j, "text", np.float64(3), np.concatenate([other, other]),
        ][rng.integers(15)]  # fmt: skip


# What is read


def use(records: list[Any], points: int) -> None:
    """What verifying, training and evaluating do with faces."""
    for record in records:
        assert record.points.shape == (points, 2) and record.labelled.shape == (points,)
        assert np.isfinite(record.points[record.labelled]).all()
        assert ".." not in record.path.parts and record.path.is_file()
        for crop in ("provided", "landmarks"):
            try:
                matrix = record_matrix(record, crop, 1.25, 32)
                assert read_crop(record, matrix, 32).shape == (32, 32, 3)
            except AwingError:
                pass


def read_faces(reader: Callable[..., Any], points: int, expected: Any = None) -> Callable[[Path, Path], None]:
    kwargs = {"expected": expected} if expected else {}
    return lambda folder, _: use(reader(folder, "train", allow_partial=True, **kwargs).records, points)


POINTS = np.random.default_rng(0).uniform(5, 40, (2, 98, 2))
SMALL = texture(48, 64)


def write_wflw(folder: Path) -> None:
    save_image(folder / "WFLW_images/a/b.jpg", SMALL)
    lines = [wflw_line(points, (2, 3, 50, 44), (0, 1, 0, 1, 0, 0), "a/b.jpg") for points in POINTS]
    write_wflw_list(folder, "train", "\n".join(lines))


def write_pts(folder: Path) -> None:
    save_image(folder / "afw/image 1.jpg", SMALL)
    (folder / "afw/image 1.pts").write_text(pts_text(POINTS[0, :68]))


def write_300w_boxes(folder: Path) -> None:
    write_pts(folder)
    write_boxes(folder / "bounding_boxes_afw.mat", {"image 1.jpg": (1, 2, 30, 40), "image 2.jpg": (1, 2, 3, 4)})


def craft_300w_boxes(folder: Path, rng: Rng) -> None:
    cells = np.empty((1, 2), dtype=object)
    for i in range(2):
        entry = {"imgName": "image 1.jpg", "bb_detector": np.array([[1.0, 2.0, 30.0, 40.0]]), "x": 1}
        entry["bb_detector"] = array(rng, entry["bb_detector"])
        entry["imgName"] = ["image 1.jpg", "../a.jpg", 3.0, np.zeros((0, 0)), "é" * 300, "", "a\0b"][rng.integers(7)]
        if rng.random() < 0.1:
            del entry["bb_detector"]
        cells[0, i] = entry if rng.random() < 0.9 else array(rng, np.ones((2, 2)))
    content = {"bounding_boxes": cells if rng.random() < 0.9 else array(rng, np.ones((2, 2)))}
    savemat(folder / "bounding_boxes_afw.mat", content, do_compression=bool(rng.random() < 0.5))


AFLW = {
    "boxes": [[2, 40, 3, 44]] * 3, "points": POINTS[[0, 1, 0], :19], "visible": np.ones((3, 19)), "order": [2, 1, 3],
}  # fmt: skip


def write_aflw_files(folder: Path) -> None:
    save_image(folder / "data/flickr/0/a.jpg", SMALL)
    write_aflw(folder, ["0/a.jpg"] * 3, **AFLW)


def craft_aflw(folder: Path, rng: Rng) -> None:
    names = np.empty((3, 1), dtype=object)
    names[:, 0] = "0/a.jpg"
    points = np.array(AFLW["points"])
    content = {
        "nameList": names, "bbox": np.array(AFLW["boxes"], float), "data": np.concatenate([points[..., 0], points[..., 1]], 1),
        "mask_new": np.array(AFLW["visible"]), "ra": np.array([AFLW["order"]], float),
    }  # fmt: skip
    key = rng.choice(list(content))
    content[key] = array(rng, content[key])
    if rng.random() < 0.1:
        del content[rng.choice(list(content))]
    savemat(folder / "AFLWinfo_release.mat", content, do_compression=bool(rng.random() < 0.5))


def write_lsp(folder: Path) -> None:
    joints = np.concatenate([np.tile(POINTS[:, :14], (2, 1, 1)), np.ones((4, 14, 1))], -1)
    write_joints(folder, joints, joints[:2])
    for name in ("lsp_dataset/images/im0001.jpg", "lspet_dataset/images/im00001.jpg"):
        save_image(folder / name, SMALL)


def craft_lsp(folder: Path, rng: Rng) -> None:
    joints = np.concatenate([np.tile(POINTS[:, :14], (2, 1, 1)), np.ones((4, 14, 1))], -1)
    savemat(folder / "lsp_dataset/joints.mat", {"joints": array(rng, joints.transpose(2, 1, 0))}, do_compression=True)


def write_cofw_file(folder: Path) -> None:
    write_cofw(folder, "train", [SMALL, SMALL[..., 0]], [[1, 1, 20, 15]] * 2, POINTS[:, :29], np.zeros((2, 29)))


def craft_cofw(folder: Path, rng: Rng) -> None:
    with h5py.File(folder / "COFW_train_color.mat", "r+") as content:
        name = rng.choice(["IsTr", "bboxesTr", "phisTr", "#refs#/image0", "#refs#/image1"])
        if name == "IsTr":
            targets = [
                h5py.Reference(),
                content.ref,
                content["phisTr"].ref,
                content["#refs#"].ref,
                content["#refs#/image0"].ref,
            ]
            content[name][0, 0] = targets[rng.integers(5)]
            return
        good = content[name][()]
        del content[name]
        kind = rng.integers(8)
        if kind == 0:
            content.create_group(name)
        elif kind == 1:
            content[name] = h5py.SoftLink("/nowhere")
        elif kind == 2:
            content[name] = h5py.ExternalLink("/etc/passwd", "/x")
        elif kind == 3:
            content.create_dataset(name, (*good.shape[:-1], 10 ** int(rng.integers(3, 10))), good.dtype, chunks=True)
        elif kind == 4:
            content[name] = h5py.Empty("f8")
        elif kind == 5:
            content.create_dataset(name, data=["a", "b"])
        else:
            content[name] = array(rng, good)


SCHEME = {
    "name": "bird", "names": ["left eye", "right eye", "beak", "tail"], "flip_pairs": [["left eye", "right eye"]],
    "lines": [["left eye", "beak", "right eye"]], "normalisers": {"inter_ocular": ["left eye", ["right eye"]]},
    "groups": {"head": ["left eye", 1]},
}  # fmt: skip
TABLE = """image,box_x0,box_y0,box_x1,box_y1,x0,y0,x1,y1,x2,y2,x3,y3,note
a b.jpg,3,4,50,40,10,10,30,10,20,30,,,"quoted, text"
a b.jpg,,,,,10.5,10,30,10,20,30,25,40,
"""
COCO = {
    "images": [{"id": 1, "file_name": "a b.jpg"}, {"id": "2", "file_name": "a b.jpg"}],
    "categories": [{"id": 1, "keypoints": SCHEME["names"]}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "keypoints": [10, 10, 2, 30, 10, 1, 20, 30, 2, 0, 0, 0], "bbox": [3, 4, 40, 40], "iscrowd": 0},
        {"image_id": "2", "category_id": 1, "keypoints": [10, 10, 2, 30, 10, 1, 20, 30, 2, 0, 0, 0]},
    ],
}  # fmt: skip


def write_own(folder: Path) -> None:
    save_image(folder / "a b.jpg", SMALL)
    (folder / "train.csv").write_text(TABLE)
    (folder / "train.json").write_text(json.dumps(COCO, indent=0))
    (folder / "scheme.yaml").write_text(yaml.safe_dump(SCHEME))


def read_own(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, _: use(read_custom(folder, "train", True, scheme=SCHEME, train=name).records, 4)


def craft_scheme(folder: Path, rng: Rng) -> None:
    text = (
        json_text(SCHEME, rng)
        if rng.random() < 0.3
        else yaml.safe_dump(changed(SCHEME, rng), allow_unicode=True).encode(errors="replace")
    )
    (folder / "scheme.yaml").write_bytes(text)


def read_scheme_file(folder: Path, _: Path) -> None:
    scheme = read_scheme(folder / "scheme.yaml")
    assert get_scheme(json.loads(json.dumps(scheme.__dict__))) == scheme


NETWORK = {"stacks": 2, "channels": 8, "depth": 1}
CONFIG = {
    "codec": {"_target_": "awing.codec.HeatmapCodec", "scheme": SCHEME, "input_size": 32, "heatmap_size": 8, "boundary": True,
              "sigma": 1.75, "support": 7, "center": "subpixel", "boundary_sigma": 1.0, "decoder": "quarter"},
    "model": {"_target_": "awing.models.StackedHourglass", **NETWORK, "coord_conv": True, "boundary": True, "boundary_coords": True},
    "dataset": {"name": "custom", "crop": "landmarks", "crop_scale": 1.25},
    "trainer": {"precision": "32-true"}, "matmul_precision": "high", "seed": 0,
}  # fmt: skip
CUT = {"val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0}
ABOUT = {
    "format": 1, "config": CONFIG, "cut": CUT, "step": 3,
    "confidence": {"slope": 5.0, "offset": -2.0, "radius": 0.05, "normaliser": "inter_ocular"},
}  # fmt: skip


def weights(landmarks: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return StackedHourglass(landmarks, **NETWORK).state_dict()


def run_state(about: Any) -> dict[str, Any]:
    state = {f"network.{name}": value for name, value in weights().items()}
    about = about if isinstance(about, dict) else {}
    return {
        "awing": {"format": about.get("format"), "config": about.get("config")}, "LandmarkDataModule": about.get("cut"),
        "global_step": about.get("step"), "state_dict": state,
    }  # fmt: skip


def changed_tensors(state: dict[str, Any], rng: Rng) -> dict[str, Any]:
    state = dict(state)
    for _ in range(rng.integers(1, 3)):
        key = str(rng.choice(list(state)))
        value = state[key]
        match rng.integers(8):
            case 0:
                del state[key]
            case 1:
                state["other" * 50] = value
            case 2:
                state[key] = value[..., None]
            case 3:
                state[key] = torch.full_like(value.float(), float("nan"))
            case 4:
                state[key] = value.to([torch.float16, torch.int64, torch.bool, torch.complex64][rng.integers(4)])
            case 5:
                state[key] = torch.zeros(0)
            case 6:
                state[key] = torch.zeros(1).expand(10 ** int(rng.integers(1, 12)))
            case 7:
                state[key] = [1, "x", None, {}, torch.zeros(3).to_sparse()][rng.integers(5)]
    return state


def write_run(folder: Path) -> None:
    torch.save(run_state(ABOUT), folder / "a.ckpt")


def craft_run(folder: Path, rng: Rng) -> None:
    state = run_state(changed(ABOUT, rng) if rng.random() < 0.7 else ABOUT)
    if rng.random() < 0.4:
        state["state_dict"] = changed_tensors(state["state_dict"], rng)
    if rng.random() < 0.1:
        state[str(rng.choice(list(state)))] = VALUES[rng.integers(len(VALUES))]
    torch.save(state, folder / "a.ckpt", _use_new_zipfile_serialization=bool(rng.random() < 0.8))


def write_safetensors(folder: Path) -> None:
    (folder / "a.safetensors").write_bytes(save(weights(), {"awing": json.dumps(ABOUT)}))


def craft_safetensors(folder: Path, rng: Rng) -> None:
    about = json_text(ABOUT, rng).decode(errors="replace")
    tensors = {name: value.clone() for name, value in weights().items()}
    if rng.random() < 0.3:
        made = changed_tensors(tensors, rng)
        tensors = {
            k: v.clone().contiguous()
            for k, v in made.items()
            if torch.is_tensor(v) and v.layout == torch.strided and v.numel() < 1e6
        }
    (folder / "a.safetensors").write_bytes(save(tensors, {"awing": about} if rng.random() < 0.95 else None))


def write_official(folder: Path) -> None:
    torch.save(to_official(StackedHourglass(68, **NETWORK)), folder / "a.pth")


def craft_official(folder: Path, rng: Rng) -> None:
    state = changed_tensors(to_official(StackedHourglass(68, **NETWORK)), rng)
    torch.save(state if rng.random() < 0.8 else {"state_dict": state}, folder / "a.pth")


def align(name: str) -> Callable[[Path, Path], None]:
    """Load weights and find landmarks with them."""

    def read(folder: Path, _: Path) -> None:
        aligner = Aligner.load(name.format(folder), device="cpu")
        found = aligner(SMALL, [[5, 5, 40, 40]])
        assert found.points.shape == (1, aligner.scheme.num_landmarks, 2)

    return read


def write_confidence(folder: Path) -> None:
    (folder / "confidence.json").write_text(json.dumps(ABOUT["confidence"]))


def read_confidence(folder: Path, _: Path) -> None:
    checkpoint = Checkpoint.read("300w-small").with_confidence(folder / "confidence.json")
    checkpoint.confidence_of(torch.zeros(3))


def write_pictures(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for suffix in ("jpg", "png", "bmp", "tif", "webp", "ppm", "jp2", "gif", "avif", "exr", "hdr", "sr", "pam", "pfm"):
        try:
            pixels = noise.astype(np.float32) / 255 if suffix in ("exr", "hdr", "pfm") else noise
            worked, data = cv2.imencode(f".{suffix}", pixels)
        except cv2.error:  # this build cannot write it
            continue
        if worked:
            (folder / f"a.{suffix}").write_bytes(data.tobytes())
    for name, pixels in (
        ("deep.png", noise.astype(np.uint16) * 257),
        ("deep.tif", noise.astype(np.uint16)),
        ("grey.png", noise[..., 0]),
    ):
        save_image(folder / name, pixels)
    save_image(folder / "progressive.jpg", texture(60, 80), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def read_picture(_: Path, file: Path) -> None:
    for work in (
        lambda: image_size(file),
        lambda: decode(file, read_bytes(file), 8),
        lambda: decode(file, read_bytes(file), upright=True),
    ):
        with suppress(AwingError):
            work()
    image = read_image(file)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def write_videos(folder: Path) -> None:
    for suffix, code in ((".mp4", "mp4v"), (".avi", "MJPG"), (".mkv", "mp4v"), (".webm", "VP80"), (".mov", "mp4v")):
        video = cv2.VideoWriter(str(folder / f"a{suffix}"), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
        for shift in range(5):
            video.write(np.roll(SMALL, shift, 1))
        video.release()


def read_video(_: Path, file: Path) -> None:
    for n, frame in enumerate(frames({file.name: file})):
        assert (frame.image is None) == (frame.error is not None)
        if n == 200:
            break


BOXES = "image,frame,box_x0,box_y0,box_x1,box_y1\na b.jpg,,1,2,30,40\nclip.mp4,3,1,2,30,40\n"


def write_boxes_table(folder: Path) -> None:
    (folder / "boxes.csv").write_text(BOXES)


def read_boxes_table(folder: Path, _: Path) -> None:
    Boxes(str(folder / "boxes.csv"), {"a b.jpg", "clip.mp4"})


RESULTS = {
    "dataset": "wflw", "split": "test", "faces": "official test faces", "crop": "landmarks", "crop_scale": 1.25, "decoder": "quarter",
    "seed": 0, "expected": 2, "found": 2, "commit": "abc", "fps": 3.5, "subsets": {
        "full": {"count": 2, "nme": {"inter_ocular": 0.04}, "fr": {"inter_ocular": {"0.10": 0.0}}, "auc": {"inter_ocular": {"0.10": 0.6}}},
        "pose": {"count": 1, "nme": {"inter_ocular": 0.05}},
    },
}  # fmt: skip
RUN = {
    "seed": 0, "test": True, "loss": {"_target_": "awing.losses.AdaptiveWingLoss", "omega": 14}, "weight_map": {"_target_": "torch.ones_like"},
    "dataset": {"name": "wflw", "crop": "landmarks", "val_fraction": 0.1}, "report": {"table": "table7", "row": "AW", "scale": "cpu"},
    "codec": {"input_size": 256}, "trainer": {"max_epochs": 2}, "model": {"stacks": 1},
}  # fmt: skip


def write_runs(folder: Path, table: str | None = None) -> None:
    run_config = {**RUN, "report": {**RUN["report"], "table": table}}
    for name in ("a", "b"):
        run = folder / "runs" / name
        (run / "test").mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump(run_config))
        (run / "test" / "metrics.json").write_text(json.dumps(RESULTS))
        (run / "metrics.csv").write_text(
            "epoch,step,train/loss,train/mse_all,train/mse_fg,val/nme\n0,1,2,3,4,0.5\n1,2,1,2,3,0.4\n"
        )
        lines = "index,image,subsets,nme_inter_ocular\n0,a.jpg,pose,0.05\n1,b c.jpg,,0.03\n"
        (run / "test" / "per_image.csv").write_text(lines)
    (folder / "runs/b/error.txt").write_text("it failed")


def craft_runs(folder: Path, rng: Rng) -> None:
    run = folder / "runs" / "a"
    if rng.random() < 0.5:
        (run / "config.yaml").write_bytes(
            yaml.safe_dump(changed(RUN, rng), allow_unicode=True).encode(errors="replace")
        )
    else:
        (run / "test" / "metrics.json").write_bytes(json_text(RESULTS, rng))


@cache
def report_config() -> DictConfig:
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return compose("report", ["runs=runs", "output=report"])


def read_runs(folder: Path, _: Path) -> None:
    write_report(OmegaConf.merge(report_config(), {"runs": str(folder / "runs")}), folder / "report")


INDEX = {"a b.jpg": [1234, 5678, "0" * 64], "b.jpg": [1, 2, "1" * 64]}


def write_cache(folder: Path) -> None:
    write_own(folder)
    (folder / "cache").mkdir()
    (folder / "cache" / "index.json").write_text(json.dumps(INDEX))


def read_cache(folder: Path, _: Path) -> None:
    (record, *_) = read_custom(folder, "train", scheme=SCHEME, train="train.csv").records
    matrix = record_matrix(record, "landmarks", 1.25, 4)
    crops = CropCache(folder / "cache", folder, 4, 0.6)
    crops.picture(record, matrix)
    crops.write(record, matrix)
    crops.finish()


RENDERED = {"train": 0, "test": 0, "seed": 0}


def write_rendered(folder: Path) -> None:
    write_dataset(folder, **RENDERED, workers=1)


def read_rendered(folder: Path, _: Path) -> None:
    write_dataset(folder, **RENDERED, workers=1)


LOADERS = {
    "wflw": Loader(write_wflw, read_faces(read_wflw, 98, {"train": 2}), "WFLW_annotations/*/*.txt", text=True),
    "pts": Loader(write_pts, read_faces(read_300w, 68), "afw/*.pts", text=True),
    "boxes.mat": Loader(write_300w_boxes, read_faces(read_300w, 68), "*.mat", craft_300w_boxes),
    "aflw": Loader(write_aflw_files, read_faces(read_aflw, 19, {"train": 2, "test": 1}), "*.mat", craft_aflw),
    "lsp": Loader(write_lsp, read_faces(read_lsp, 14, {"lsp_dataset": 4, "lspet_dataset": 2}), "*/*.mat", craft_lsp),
    "cofw": Loader(write_cofw_file, read_faces(read_cofw, 29), "*.mat", craft_cofw),
    "csv": Loader(write_own, read_own("train.csv"), "train.csv", text=True),
    "coco": Loader(write_own, read_own("train.json"), "*.json", craft_json("train.json", COCO), text=True),
    "scheme": Loader(write_own, read_scheme_file, "*.yaml", craft_scheme, text=True),
    "ckpt": Loader(write_run, align("{}/a.ckpt"), "*.ckpt", craft_run),
    "safetensors": Loader(write_safetensors, align("{}/a.safetensors"), "*.safetensors", craft_safetensors),
    "official": Loader(write_official, align("official:{}/a.pth"), "*.pth", craft_official),
    "confidence": Loader(
        write_confidence, read_confidence, "*.json", craft_json("confidence.json", ABOUT["confidence"]), text=True
    ),
    "image": Loader(write_pictures, read_picture, "*"),
    "video": Loader(write_videos, read_video, "*"),
    "boxes.csv": Loader(write_boxes_table, read_boxes_table, "*.csv", text=True),
    "report": Loader(write_runs, read_runs, "runs/a/**/*.*", craft_runs, text=True),
    "figures": Loader(partial(write_runs, table="table7"), read_runs, "runs/a/**/*.*", craft_runs, text=True),
    "cache": Loader(write_cache, read_cache, "cache/*.json", craft_json("cache/index.json", INDEX), text=True),
    "rendered": Loader(write_rendered, read_rendered, "*.json", craft_json("settings.json", RENDERED), text=True),
}


def main() -> None:
    """Damage files, as LOADER FIRST LAST ... says; print a JSON line before each input is read, and one after it."""
    words = sys.argv[1:]
    out, sys.stdout = sys.stdout, sys.stderr  # loaders may print
    report_config()  # with torch, Hydra and OpenCV it is there before memory is bounded
    bound_memory()
    for name, first, last in zip(words[::3], map(int, words[1::3]), map(int, words[2::3]), strict=True):
        with tempfile.TemporaryDirectory() as sound, tempfile.TemporaryDirectory() as folder:
            LOADERS[name].write(Path(sound))
            check_sound(LOADERS[name], Path(sound), Path(folder))
            for number in range(first, last):
                shutil.rmtree(folder)
                shutil.copytree(sound, folder)
                about = {"loader": name, "number": number}
                print(json.dumps(about), file=out, flush=True)
                rng = np.random.default_rng([zlib.crc32(name.encode()), number])
                about |= measured(partial(attempt, LOADERS[name], Path(folder), rng))
                print(json.dumps(about), file=out, flush=True)


def bound_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + int(MEMORY), mapped + int(MEMORY)))


def check_sound(loader: Loader, sound: Path, folder: Path) -> None:
    """Sound files are no test of damage unless they can be read."""
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    for file in filter(Path.is_file, sorted(folder.glob(loader.files))):
        loader.read(folder, file)
        shutil.rmtree(folder / "report", ignore_errors=True)


def measured(work: Callable[[], object]) -> dict[str, Any]:
    """How some work ended, "value", "refused" or a traceback; its message; and how long it took."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    start, said = time.monotonic(), ""
    try:
        work()
        outcome = "value"
    except AwingError as error:
        said = str(error)
        outcome = "refused" if said.strip() else "refused without a word"
    except BaseException:
        outcome = traceback.format_exc()
    faulthandler.cancel_dump_traceback_later()
    return {"outcome": outcome, "said": said[:2000], "length": len(said), "seconds": round(time.monotonic() - start, 3)}


def attempt(loader: Loader, folder: Path, rng: Rng) -> None:
    """Damage one file and read it."""
    files = sorted(file for file in folder.glob(loader.files) if file.is_file())
    file = files[rng.integers(len(files))]
    ways = [damaged, *[damaged_text] * loader.text, *[None] * (loader.craft is not None)]
    way = ways[rng.integers(len(ways))]
    if way:
        file.write_bytes(way(file.read_bytes(), rng))
    else:
        loader.craft(folder, rng)
    loader.read(folder, file)
