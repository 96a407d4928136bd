"""Conversion of a checkpoint: ONNX for other runtimes, safetensors to share, the authors' layout."""

import json
import logging
import tempfile
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from awing.checkpoint import Checkpoint
from awing.data.images import read_image
from awing.errors import AwingError, ConfigError, check_choice, exit_on_user_error
from awing.inference.aligner import Aligner
from awing.inference.predict import IMAGES, call_with_options
from awing.models import to_official

OPSET = 18
TAKES = {".onnx": {"decode", "confidence", "opset", "int8"}, ".safetensors": {"half", "confidence"}, ".pth": set()}


def main() -> None:
    with exit_on_user_error():
        print(call_with_options(export))


def export(
    checkpoint: str,
    output: str,
    decode: bool = False,
    opset: int = OPSET,
    int8: str | None = None,
    half: bool = False,
    confidence: str | None = None,
    overwrite: bool = False,
) -> str:
    """Convert a checkpoint: python src/export.py checkpoint=NAME output=FILE [key=value ...].

    Args:
        checkpoint: 300w-base or 300w-small, in the package; a run's best.ckpt; a .safetensors file; official:PATH.
        output: An .onnx file; a .safetensors file, to share; a .pth file, in the layout of the authors' code.
        decode: For .onnx: decode=true outputs points (crop px) and confidence instead of heatmaps.
        opset: For .onnx: 17 or higher (default: 18); 17 is for runtimes that cannot read 18.
        int8: For .onnx: a folder of photographs; convolutions then run in 8 bits, calibrated on the faces in them.
        half: For .safetensors: half=true stores float16.
        confidence: For .onnx and .safetensors: the confidence.json that src/evaluate.py calibrate=0.05 wrote.
        overwrite: overwrite=true replaces the file.
    """
    file = Path(output)
    check_choice("the suffix of output", file.suffix, TAKES)
    given = {"decode": decode, "opset": opset != OPSET, "int8": int8, "half": half, "confidence": confidence}
    if wrong := {name for name, value in given.items() if value} - TAKES[file.suffix]:
        raise ConfigError(f"{' and '.join(wrong)}: {file.suffix} files have no such option; output is {file}")
    if file.exists() and not overwrite:
        raise ConfigError(f"{file} is there already: choose another output, or overwrite=true")
    trained = Checkpoint.read(checkpoint)
    if confidence and file.suffix == ".onnx" and not decode:
        raise ConfigError("confidence: an .onnx file has one with decode=true")
    if confidence:
        trained = trained.with_confidence(Path(confidence))
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".onnx":
        summary = _write_onnx(trained, file, decode, opset, int8)
    elif file.suffix == ".safetensors":
        trained.write(file, half)
        summary = f"weights in {'float16' if half else 'float32'}"
    else:
        torch.save({"state_dict": to_official(trained.network())}, file)
        summary = "weights alone: official: reads them with the authors' codec (256 px, floored centres) and crop"
    return f"{file}: {file.stat().st_size / 1e6:.1f} MB, {summary}"


class Graph(nn.Module):
    """The graph of an ONNX file: RGB in [0, 1] -> the last stack's maps, or points in crop px and confidence."""

    def __init__(self, checkpoint: Checkpoint, decode: bool) -> None:
        super().__init__()
        self.checkpoint, self.decode, self.codec = checkpoint, decode, checkpoint.codec()
        self.network = checkpoint.network()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        maps: Tensor = self.network(image)[-1]
        if not self.decode:
            return (maps,)
        points, peaks = self.codec.decode(maps)
        return points, self.checkpoint.confidence_of(peaks)


@torch.no_grad()
def _write_onnx(checkpoint: Checkpoint, path: Path, decode: bool, opset: int, int8: str | None) -> str:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("ONNX needs onnxruntime: pip install 'awing[export]'") from None
    crops = _face_crops(checkpoint, int8) if int8 else None
    graph = Graph(checkpoint, decode).eval()
    side, content = graph.codec.input_size, to_onnx(graph, opset)
    load = partial(onnxruntime.InferenceSession, providers=["CPUExecutionProvider"])

    def points(session: Any, images: np.ndarray) -> Tensor:
        found = torch.cat([torch.from_numpy(session.run(None, {"image": image[None]})[0]) for image in images])
        return found if decode else graph.codec.decode(found)[0]

    session, image = load(content), torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = graph(image)[0] if decode else graph.codec.decode(graph(image)[0])[0]
    difference = float((points(session, image.numpy()) - expected).norm(dim=-1).max())
    if not difference <= 0.1:  # a correct file stays far below
        raise AwingError(f"the ONNX graph puts points up to {difference:.2f} px elsewhere than PyTorch: not written")
    outputs = ", ".join(f"{node.name} {node.shape}" for node in session.get_outputs())
    summary = f"image {session.get_inputs()[0].shape} -> {outputs}; points within {difference:.1e} crop px of PyTorch's"
    if crops is not None:
        content = quantize(content, crops)
        moved = (points(load(content), crops) - points(session, crops)).norm(dim=-1).mean() * checkpoint.crop[1] / side
        summary += f"; int8 moves them by {moved:.2%} of the face's box, mean of the {len(crops)} calibration faces"
    path.write_bytes(content)
    return summary


def to_onnx(graph: Graph, opset: int) -> bytes:
    """Export a graph to the content of an ONNX file; a ConfigError if PyTorch writes another opset than ``opset``."""
    side, (crop, scale) = graph.codec.input_size, graph.checkpoint.crop
    for name in ("torch.onnx", "onnxscript"):  # they warn that torchvision is missing, which is not needed
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")  # raised inside torch
    program = torch.onnx.export(
        graph, (torch.rand(2, 3, side, side),), dynamo=True, opset_version=opset, verbose=False, input_names=["image"],
        output_names=["points", "confidence"] if graph.decode else ["heatmaps"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    assert program is not None  # as dynamo=True promises
    if (found := program.model.opset_imports[""]) != opset:
        raise ConfigError(f"opset={opset}: PyTorch cannot write that, but gives {found}; expected 17 and up")
    for node in program.model.graph:
        node.metadata_props.clear()  # the place of each node in the Python code: a tenth of the file
    program.model.metadata_props.update(
        input=f"image: RGB in [0, 1], {side} px square, pixel centres on integers",
        crop=f"{scale} x the longer side of the box ({crop})",
        landmarks=json.dumps(graph.codec.scheme.names),
    )
    return bytes(program.model_proto.SerializeToString())


def _face_crops(checkpoint: Checkpoint, folder: str) -> Float[np.ndarray, "f 3 side side"]:
    """Crops, in [0, 1], of the faces that :class:`Aligner` finds in at most 100 images of a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGES)
    aligner = Aligner(checkpoint, "cpu")
    images = [read_image(path, upright=True) for path in files[:: len(files) // 100 + 1]]
    crops = [aligner.crop(image, box)[0] for image in images for box in aligner(image).boxes]
    if not crops:
        raise ConfigError(f"int8={folder}: expected a folder of photographs, found no face in {len(images)} images")
    return np.asarray(np.stack(crops).transpose(0, 3, 1, 2) / 255, np.float32)


def quantize(content: bytes, crops: Float[np.ndarray, "f 3 side side"]) -> bytes:
    """Quantise the convolutions of a graph to 8 bits, with ranges and scales calibrated on the crops."""
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_static

    batches = iter([{"image": crop[None]} for crop in crops])
    with tempfile.TemporaryDirectory() as folder:
        ready, result = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(onnx.load_from_string(content), ready, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            ready, result, SimpleNamespace(get_next=lambda: next(batches, None)), op_types_to_quantize=["Conv"],
            per_channel=True, reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip  # 7-bit weights: without VNNI, sums of two 8-bit products would saturate
        return result.read_bytes()
