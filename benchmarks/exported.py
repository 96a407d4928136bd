"""Latency of one face at batch 1 on the CPU, for every way to run a network; ways are interleaved, times are medians.

    python benchmarks/exported.py [DIR] [--rounds 20] [--threads 2] [--compile]

The aim for 4 stacks (98 points, 256 px, random weights) is at most 0.65 of the latency of the authors' structure; for
300w-small it is 120 faces per second. Every ratio is the median of the rounds' ratios to the first way. "error" is the
largest difference of the maps from the first way's, divided by the largest of these. With DIR, which holds 300w/: NME
of 300w-small on the validation faces, and int8 calibrated on 100 training faces; without it, and for 4 stacks, int8 is
calibrated on noise. --compile adds torch.compile, which takes minutes.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "models"))

from test_official import OfficialNetwork, official_state_dict

from awing.checkpoint import Checkpoint
from awing.data.images import read_crop
from awing.geometry import apply
from awing.inference.export import OPSET, Graph, quantize, to_onnx
from awing.models import load_official, to_official
from awing.training.builders import fastest_precision

CONF = Path(__file__).resolve().parents[1] / "conf"
Way = Callable[[np.ndarray], Any]
Faces = tuple[np.ndarray, np.ndarray]  # crops (F, 3, side, side) in [0, 1], and their points in crop px
LEVEL = onnxruntime.GraphOptimizationLevel


class AuthorsNetwork(OfficialNetwork):
    """The tests' reference network, but with PyTorch's batch normalisation, as in the authors' code."""

    def norm(self, name: str, x: Tensor) -> Tensor:
        values = (self.state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *values).relu_()

    def with_coordinates(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        return super().with_coordinates(x, maps).to(x.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}")
    print(f"{torch.backends.cpu.get_cpu_capability()}, {arguments.threads} threads, {arguments.rounds} rounds")
    print("\n| network | way | ms | faces / s | ratio | error | NME |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        file = Path(folder) / "official.pth"
        torch.save(official_state_dict(4, maps=99, channels=256), file)
        four, small = Checkpoint.read(f"official:{file}"), Checkpoint.read("300w-small")
        rows = table("4 stacks", four, None, arguments)
        faces = faces_of_300w(arguments.dir, small) if arguments.dir else None
        small_rows = table("300w-small", small, faces, arguments)
    ratio, way = min((row.ratio, row.way) for row in rows if row.error < 1e-4)
    print(f"\n4 stacks, equal outputs: {ratio:.2f} by {way}; at most 0.65: {'met' if ratio <= 0.65 else 'missed'}")
    rate, way = max((row.rate, row.way) for row in small_rows if not row.nme > small_rows[0].nme + 0.05)
    print(
        f"300w-small, NME within 0.05 points: {rate:.0f} faces / s by {way}; 120: {'met' if rate >= 120 else 'missed'}"
    )


class Row(NamedTuple):
    way: str
    rate: float  # faces a second
    ratio: float
    error: float  # NaN of points
    nme: float  # percent; NaN without faces


def table(
    name: str, checkpoint: Checkpoint, faces: dict[str, Faces] | None, arguments: argparse.Namespace
) -> list[Row]:
    side = checkpoint.codec().input_size
    noise = np.random.default_rng(0).random((8, 3, side, side), dtype=np.float32)
    ways = make_ways(checkpoint, faces["train"][0] if faces else noise, arguments)
    image, rows = faces["val"][0][:1] if faces else noise[:1], []
    seconds = time_ways(ways, image, arguments.rounds)
    expected, first = (next(iter(values.values())) for values in (ways, seconds))
    expected = np.asarray(expected(image))
    for way, run in ways.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[way], first, strict=True))
        median, found = statistics.median(seconds[way]), np.asarray(run(image))
        error = float(np.abs(found - expected).max() / np.abs(expected).max()) if found.ndim == 4 else math.nan
        rows.append(Row(way, 1 / median, ratio, error, nme(run, checkpoint, *faces["val"]) if faces else math.nan))
        cells = f"{1e3 * median:.1f} | {1 / median:.1f} | {ratio:.2f} | {error:.0e} | {rows[-1].nme:.3f} %"
        print(f"| {name} | {way} | {cells} |".replace("nan %", "").replace("nan", ""), flush=True)
    if fastest_precision("cpu") != "bf16-mixed":
        print(f"| {name} | PyTorch, bfloat16 | not on this processor | | | | |")
    return rows


def make_ways(checkpoint: Checkpoint, calibration: np.ndarray, arguments: argparse.Namespace) -> dict[str, Way]:
    """Ways to compute the last stack's maps (with decoding: points) of one face, the authors' first."""
    network = checkpoint.network()
    state = {name: tensor.contiguous() for name, tensor in to_official(network).items()}
    authors = AuthorsNetwork(state, len(network.stacks), network.depth)
    ours = load_official(state).eval().to(memory_format=torch.channels_last)
    file, decoding = (to_onnx(Graph(checkpoint, decode).eval(), OPSET) for decode in (False, True))
    session = partial(onnx_way, threads=arguments.threads)
    ways: dict[str, Way] = {
        "authors' structure, PyTorch, NCHW": lambda image: authors(torch.from_numpy(image))[-1],
        "ours, PyTorch, channels_last": torch_way(lambda image: ours(image)[-1]),
        "ONNX Runtime, exported": session(file),
        "ONNX Runtime, exported, one thread": onnx_way(file, threads=1),
        "ONNX Runtime, exported, threads do not spin": session(file, spin="0"),
        "ONNX Runtime, exported, extended optimisations": session(file, level=LEVEL.ORT_ENABLE_EXTENDED),
        "ONNX Runtime, exported, basic optimisations": session(file, level=LEVEL.ORT_ENABLE_BASIC),
        "ONNX Runtime, decode=true": session(decoding),
        "ONNX Runtime, int8": session(quantize(file, calibration)),
        "OpenCV's dnn, classic engine": opencv_way(file, cv2.dnn.ENGINE_CLASSIC),
        "OpenCV's dnn, new engine": opencv_way(file, cv2.dnn.ENGINE_NEW),
    }
    if fastest_precision("cpu") == "bf16-mixed":
        ways["PyTorch, bfloat16"] = torch_way(torch.autocast("cpu", torch.bfloat16)(lambda image: ours(image)[-1]))
    if arguments.compile:
        ways["ours, torch.compile"] = torch_way(torch.compile(lambda image: ours(image)[-1]))
    return ways


def time_ways(ways: dict[str, Way], image: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(rounds + 2):  # two to warm up
        for way, run in ways.items():
            time.sleep(0.05)  # until the threads of the way before have stopped spinning
            start = time.perf_counter()
            run(image)
            if i >= 2:
                seconds[way].append(time.perf_counter() - start)
    return seconds


def torch_way(function: Callable[[Tensor], Tensor]) -> Way:
    return lambda image: function(torch.from_numpy(image).to(memory_format=torch.channels_last)).float()


def onnx_way(content: bytes, threads: int, level: Any = LEVEL.ORT_ENABLE_ALL, spin: str = "1") -> Way:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.graph_optimization_level = threads, level
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def opencv_way(content: bytes, engine: int) -> Way:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:  # from memory, OpenCV 5.0 heeds no engine
        Path(file.name).write_bytes(content)
        net = cv2.dnn.readNetFromONNX(file.name, engine)

    def run(image: np.ndarray) -> np.ndarray:
        net.setInput(image)
        return net.forward()

    return run


def nme(run: Way, checkpoint: Checkpoint, crops: np.ndarray, points: np.ndarray) -> float:
    """Inter-ocular NME in percent."""
    found = torch.cat([torch.as_tensor(run(crop[None])) for crop in crops])
    decoded = (checkpoint.codec().decode(found)[0] if found.ndim == 4 else found).numpy()
    distance = np.linalg.norm(decoded - points, axis=2).mean(1)
    return float(100 * (distance / np.linalg.norm(points[:, 36] - points[:, 45], axis=1)).mean())


def faces_of_300w(folder: Path, checkpoint: Checkpoint) -> dict[str, Faces]:
    """Landmark crops of the validation faces, and of 100 training faces."""
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from awing.data.crops import record_matrix

    side, cut = checkpoint.codec().input_size, [f"dataset.{key}={v}" for key, v in checkpoint.held_out.items()]
    fixed = "dataset=300w", "dataset.crop=landmarks", "dataset.scheme=ibug68", "dataset.allow_partial=true"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = f"dataset.loader.input_size={side}", f"paths.data_dir={folder.resolve()}"
        cfg = compose("evaluate", [*fixed, *cut, *given])
    data, found = instantiate(cfg.dataset), {}
    data.setup()
    for split, step in (("val", 1), ("train", len(data.annotations["train"].records) // 100)):
        records = data.annotations[split].records[::step]
        matrices = [record_matrix(record, *checkpoint.crop, side) for record in records]
        crops = [read_crop(record, matrix, side) for record, matrix in zip(records, matrices, strict=True)]
        points = [apply(matrix, record.points) for record, matrix in zip(records, matrices, strict=True)]
        found[split] = np.float32(np.stack(crops).transpose(0, 3, 1, 2)) / 255, np.stack(points)
    return found


if __name__ == "__main__":
    main()
