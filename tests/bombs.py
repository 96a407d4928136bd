"""Small files that claim or unpack to much: ``python -c "import awing, bombs; bombs.main()"`` reads each in a fork."""

import json
import os
import resource
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import h5py
import hostile
import torch
from omegaconf import OmegaConf

from awing.aligner import Aligner
from awing.data import read_cofw, read_custom
from awing.data.images import image_size, read_image
from awing.data.mat import read_mat
from awing.data.w300 import read_pts
from awing.errors import AwingError
from awing.models import StackedHourglass
from awing.prediction.inputs import Boxes, frames
from awing.report import write_report
from awing.schemes import read_scheme

SIDE = 60_000
BOMBS: dict[str, Callable[[Path], object]] = {}


def bomb(function: Callable[[Path], object]) -> Callable[[Path], object]:
    BOMBS[function.__name__] = function
    return function


def read_both(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with suppress(AwingError):
        assert image_size(file)[0] > 100
    read_image(file)


def sound(suffix: str) -> bytearray:
    return bytearray(cv2.imencode(suffix, hostile.SMALL)[1].tobytes())


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(gigabytes: int) -> bytes:
    """Gigabytes of zeros, deflated; without the sum that zlib has at its end, which nobody should come to."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
    megabyte = squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)  # starts and ends on a byte
    return megabyte * (gigabytes * 1024) + b"\x03\0"


@bomb
def png_head(folder: Path) -> None:
    read_both(folder / "a.png", png(SIDE, SIDE, zlib.compress(bytes(1000))))


@bomb
def png_that_inflates(folder: Path) -> None:
    """20,000 x 20,000 black pixels: 1.2 GB from 5 MB."""
    read_both(folder / "a.png", png(20_000, 20_000, b"\x78\x01" + zeros(2)))


@bomb
def gif_head(folder: Path) -> None:
    data = sound(".gif")
    data[6:10] = struct.pack("<HH", SIDE, SIDE)
    at = data.index(b"\x2c")
    data[at + 5 : at + 9] = struct.pack("<HH", SIDE, SIDE)
    read_both(folder / "a.gif", bytes(data))


@bomb
def jpeg_head(folder: Path) -> None:
    data = sound(".jpg")
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", SIDE, SIDE)
    read_both(folder / "a.jpg", bytes(data))


@bomb
def webp_head(folder: Path) -> None:
    data = sound(".webp")
    at = data.index(b"VP8L") + 9  # 14 bits of width - 1 and of height - 1
    data[at : at + 4] = struct.pack("<I", 0x0FFFFFFF)
    read_both(folder / "a.webp", bytes(data))


@bomb
def webp_canvas(folder: Path) -> None:
    data = bytes(sound(".webp"))[12:]
    canvas = b"VP8X" + struct.pack("<IB3x", 10, 0) + (b"\xff\xff\xff" * 2)
    body = b"WEBP" + canvas + data
    read_both(folder / "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body)


@bomb
def tiff_head(folder: Path) -> None:
    tags = [(256, SIDE), (257, SIDE), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, SIDE), (279, 2**31)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    read_both(folder / "a.tif", b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4))


def cofw_with(folder: Path, name: str, *shape: int, **options: Any) -> None:
    hostile.write_cofw_file(folder)
    with h5py.File(folder / "COFW_train_color.mat", "r+") as content:
        dtype = "u1" if "image" in name else "f8"
        del content[name]
        content.create_dataset(name, shape, dtype, **options)
    (record, *_) = read_cofw(folder, "train", allow_partial=True).records
    read_image(record.path, record.entry)


@bomb
def hdf5_of_a_billion_faces(folder: Path) -> None:
    cofw_with(folder, "phisTr", 87, 10**9, chunks=(87, 1000))


@bomb
def hdf5_of_compressed_faces(folder: Path) -> None:
    cofw_with(folder, "phisTr", 87, 10**6, chunks=(87, 1000), compression="gzip")


@bomb
def hdf5_of_a_billion_pixels(folder: Path) -> None:
    cofw_with(folder, "#refs#/image0", 3, SIDE, SIDE, chunks=(1, 100, 100))


@bomb
def hdf5_of_one_huge_chunk(folder: Path) -> None:
    cofw_with(folder, "phisTr", 87, 2, chunks=(87, 4_000_000), maxshape=(87, None), compression="gzip")


@bomb
def hdf5_of_another_file(folder: Path) -> None:
    cofw_with(folder, "#refs#/image0", 3, 10, 10, external=[("/etc/passwd", 0, 300)])


@bomb
def hdf5_that_links_to_another(folder: Path) -> None:
    (folder / "other").mkdir()
    for place in (folder, folder / "other"):
        hostile.write_cofw_file(place)
    with h5py.File(folder / "COFW_train_color.mat", "r+") as content:
        del content["phisTr"]
        content["phisTr"] = h5py.ExternalLink("other/COFW_train_color.mat", "phisTr")
    read_cofw(folder, "train", allow_partial=True)


@bomb
def mat_that_inflates(folder: Path) -> None:
    squeezed = b"\x78\x01" + zeros(2)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    (folder / "a.mat").write_bytes(head + struct.pack("<II", 15, len(squeezed)) + squeezed)
    read_mat(folder / "a.mat", "a")


@bomb
def safetensors_head(folder: Path) -> None:
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    Aligner.load(folder / "a.safetensors", device="cpu")


@bomb
def safetensors_beyond_its_end(folder: Path) -> None:
    head = json.dumps({"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
    Aligner.load(folder / "a.safetensors", device="cpu")


def zip_of_zeros() -> bytes:
    """An archive as torch.save writes one, but for its first entry: deflated, 2 GB."""
    content, name = zeros(2), b"archive/data.pkl"
    about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(content), 2**31, len(name), 0)
    local = b"PK\3\4" + about + name + content
    central = b"PK\1\2\0\0" + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


@bomb
def ckpt_of_zeros(folder: Path) -> None:
    (folder / "a.ckpt").write_bytes(zip_of_zeros())
    Aligner.load(folder / "a.ckpt", device="cpu")


@bomb
def ckpt_of_a_claimed_length(folder: Path) -> None:
    """A kilobyte; torch may make a bytearray from nothing but its length."""

    class Claim:
        def __reduce__(self) -> tuple[type, tuple[int]]:
            return bytearray, (10**9,)

    torch.save({"x": Claim()}, folder / "a.ckpt")
    Aligner.load(folder / "a.ckpt", device="cpu")


@bomb
def ckpt_of_two_directories(folder: Path) -> None:
    """Python reads the directory that ends where the end record begins, torch the one that the record names."""
    bad = zip_of_zeros()[:-22]
    name = b"a/data.pkl"
    about = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0)
    good = b"PK\1\2\0\0" + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(good), bad.index(b"PK\1\2"), 0)
    (folder / "a.ckpt").write_bytes(bad + good + end)
    Aligner.load(folder / "a.ckpt", device="cpu")


@bomb
def ckpt_of_shared_values(folder: Path) -> None:
    """40 lists, each the one before twice."""
    hostile.write_run(folder)
    state = torch.load(folder / "a.ckpt", weights_only=True)
    values: list[Any] = [0]
    for _ in range(40):
        values = [values, values]
    state["awing"]["config"]["loss"] = values
    torch.save(state, folder / "a.ckpt")
    Aligner.load(folder / "a.ckpt", device="cpu").checkpoint.write(folder / "b.safetensors")


@bomb
def official_of_zeros(folder: Path) -> None:
    (folder / "a.pth").write_bytes(zip_of_zeros())
    Aligner.load(f"official:{folder}/a.pth", device="cpu")


def load_run(folder: Path, state: dict[str, Any] | None = None, **model: Any) -> None:
    about = json.loads(json.dumps(hostile.ABOUT))
    about["config"]["model"] |= model
    run = hostile.run_state(about)
    torch.save(run if state is None else run | {"state_dict": state}, folder / "a.ckpt")
    Aligner.load(folder / "a.ckpt", device="cpu")


@bomb
def ckpt_of_a_billion_stacks(folder: Path) -> None:
    load_run(folder, stacks=10**9)


@bomb
def ckpt_of_a_million_levels(folder: Path) -> None:
    load_run(folder, depth=10**6)


@bomb
def ckpt_of_huge_layers(folder: Path) -> None:
    load_run(folder, channels=80_000)


@bomb
def ckpt_of_one_number_repeated(folder: Path) -> None:
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in StackedHourglass(4, 2, 80_000, 1).state_dict().items()}
    load_run(folder, {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, channels=80_000)


@bomb
def ckpt_of_lists_of_lists(folder: Path) -> None:
    lists: list[Any] = []
    for _ in range(40):
        lists = [lists] * 10
    state = hostile.run_state(hostile.ABOUT)
    state["awing"]["format"] = lists
    torch.save(state, folder / "a.ckpt")
    Aligner.load(folder / "a.ckpt", device="cpu")


LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40))])


@bomb
def yaml_of_laughs(folder: Path) -> None:
    lists = "\n".join(f"  {line}" for line in LAUGHS.splitlines())  # a message would repeat them
    (folder / "scheme.yaml").write_text(f"names: [x]\nflip_pairs: []\nlines:\n{lists}\n")
    read_scheme(folder / "scheme.yaml")


@bomb
def yaml_of_brackets(folder: Path) -> None:
    (folder / "scheme.yaml").write_text("names: " + "[" * 100_000)
    read_scheme(folder / "scheme.yaml")


@bomb
def yaml_of_a_number_in_base_60(folder: Path) -> None:
    (folder / "scheme.yaml").write_text("names: 1" + ":59" * 60_000)
    read_scheme(folder / "scheme.yaml")


def report(folder: Path, file: str, content: bytes) -> None:
    hostile.write_runs(folder)
    (folder / "runs" / "a" / file).write_bytes(content)
    write_report(OmegaConf.merge(hostile.report_config(), {"runs": str(folder / "runs")}), folder / "report")
    if "Not read" not in (folder / "report" / "report.md").read_text():
        raise ValueError("the report says nothing of it")


@bomb
def report_of_laughs(folder: Path) -> None:
    report(folder, "config.yaml", LAUGHS.encode())


@bomb
def report_of_brackets(folder: Path) -> None:
    report(folder, "test/metrics.json", b"[" * 100_000)


@bomb
def report_of_a_long_line(folder: Path) -> None:
    report(folder, "metrics.csv", b"," * 10**8)


def read_own(folder: Path, name: str, content: bytes) -> None:
    hostile.write_own(folder)
    (folder / name).write_bytes(content)
    read_custom(folder, "train", scheme=hostile.SCHEME, train=name)


@bomb
def csv_of_one_line(folder: Path) -> None:
    read_own(folder, "train.csv", b"," * 10**8)


@bomb
def csv_of_one_cell(folder: Path) -> None:
    read_own(folder, "train.csv", b"1" * 10**8)


@bomb
def csv_of_a_record_of_lines(folder: Path) -> None:
    read_own(folder, "train.csv", b'"\n",' * (2 * 10**7))


@bomb
def boxes_of_one_line(folder: Path) -> None:
    (folder / "boxes.csv").write_bytes(b"," * 10**8)
    Boxes(str(folder / "boxes.csv"), {"a"})


@bomb
def pts_of_one_line(folder: Path) -> None:
    (folder / "a.pts").write_bytes(b"version: 1\nn_points: 2\n{\n1 1\n" + b"1 " * (5 * 10**7) + b"\n}\n")
    read_pts(folder / "a.pts", 2)


@bomb
def coco_of_brackets(folder: Path) -> None:
    read_own(folder, "train.json", b"[" * 100_000)


@bomb
def coco_of_objects(folder: Path) -> None:
    read_own(folder, "train.json", b'{"images":' * 100_000)


def avi(folder: Path, frame_count: int, side: int) -> None:
    video = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    video.write(hostile.SMALL)
    video.release()
    data = bytearray((folder / "a.avi").read_bytes())
    head, stream, form = (data.index(kind) + 8 for kind in (b"avih", b"strh", b"strf"))
    for at, value in ((head + 16, frame_count), (stream + 32, frame_count), (head + 32, side), (form + 4, side)):
        data[at : at + 4] = struct.pack("<I", value)
    (folder / "a.avi").write_bytes(data)
    found = list(frames({"a.avi": folder / "a.avi"}))
    assert len(found) < 5 and (found[-1].error or side != 64)


@bomb
def video_of_a_billion_frames(folder: Path) -> None:
    avi(folder, 10**9, 64)


@bomb
def video_of_huge_frames(folder: Path) -> None:
    avi(folder, 1, SIDE)


def main() -> None:
    """Print a JSON line of each bomb: how it ended, its message, seconds, and the memory that it took."""
    hostile.report_config()
    hostile.bound_memory()
    for name in sys.argv[1:] or BOMBS:
        out, back = os.pipe()
        if not (child := os.fork()):
            with tempfile.TemporaryDirectory() as folder:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                about = hostile.measured(lambda name=name, folder=folder: BOMBS[name](Path(folder)))
                about["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            os.write(back, json.dumps(about).encode())
            os._exit(0)
        os.close(back)
        with os.fdopen(out) as stream:
            said = stream.read()
        _, status = os.waitpid(child, 0)
        print(
            json.dumps({"bomb": name} | (json.loads(said) if said else {"outcome": f"ended by {status}"})), flush=True
        )
