"""Conversion of a checkpoint: ONNX for other runtimes, safetensors to pass on, the authors' layout."""

import json
import logging
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awing.checkpoint import Checkpoint
from awing.errors import AwingError, ConfigError, check_choice, exit_on_user_error
from awing.inference.command import call_with_options
from awing.models import to_official

TAKES = {".onnx": {"decode", "confidence"}, ".safetensors": {"half", "confidence"}, ".pth": set()}


def main() -> None:
    with exit_on_user_error():
        print(call_with_options(export))


def export(
    checkpoint: str,
    output: str,
    decode: bool = False,
    half: bool = False,
    confidence: str | None = None,
    overwrite: bool = False,
) -> str:
    """Convert a checkpoint: python src/export.py checkpoint=NAME output=FILE [key=value ...].

    Args:
        checkpoint: 300w-small, which the package brings; a run's best.ckpt; a .safetensors file; official:PATH.
        output: An .onnx file; a .safetensors file, to pass on; a .pth file, in the layout of the authors' code.
        decode: decode=true, of .onnx: points (crop px) and confidence instead of heatmaps.
        half: half=true, of .safetensors: store float16.
        confidence: Of .onnx and .safetensors: the confidence.json that src/evaluate.py calibrate=0.05 wrote.
        overwrite: overwrite=true replaces the file.
    """
    file = Path(output)
    check_choice("the suffix of output", file.suffix, TAKES)
    given = {"decode": decode, "half": half, "confidence": confidence}
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
        said = _write_onnx(trained, file, decode)
    elif file.suffix == ".safetensors":
        trained.write(file, half)
        said = f"weights in {'float16' if half else 'float32'}"
    else:
        torch.save({"state_dict": to_official(trained.network())}, file)
        said = "weights alone: official: reads them with the authors' codec (256 px, floored centres) and crop"
    return f"{file}: {file.stat().st_size / 1e6:.1f} MB, {said}"


class Graph(nn.Module):
    """What an ONNX file computes: RGB in [0, 1] -> the last stack's maps, or points in crop px and confidence."""

    def __init__(self, checkpoint: Checkpoint, decode: bool) -> None:
        super().__init__()
        self.checkpoint, self.decode = checkpoint, decode
        self.network, self.codec = checkpoint.network(), checkpoint.codec()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        maps: Tensor = self.network(image)[-1]
        if not self.decode:
            return (maps,)
        points, peaks = self.codec.decode(maps)
        return points, self.checkpoint.confidence_of(peaks)


@torch.no_grad()
def _write_onnx(checkpoint: Checkpoint, path: Path, decode: bool) -> str:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("ONNX needs onnxruntime: pip install 'awing[export]'") from None
    graph, (crop, scale) = Graph(checkpoint, decode).eval(), checkpoint.crop
    side, names = graph.codec.input_size, ["points", "confidence"] if decode else ["heatmaps"]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, and needs it not
    warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")  # torch's own affair
    program = torch.onnx.export(
        graph, (torch.rand(2, 3, side, side),), dynamo=True, input_names=["image"], output_names=names,
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}}, verbose=False,
    )  # fmt: skip
    assert program is not None  # as dynamo=True promises
    program.model.metadata_props.update(
        input=f"image: RGB in [0, 1], {side} px square, pixel centres on integers",
        crop=f"{scale} x the longer side of the box ({crop})",
        landmarks=json.dumps(graph.codec.scheme.names),
    )
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    image = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    both = graph(image)[0], torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
    expected, found = both if decode else (graph.codec.decode(maps)[0] for maps in both)
    difference = float((found - expected).norm(dim=-1).max())
    if not difference <= 0.1:  # a correct file stays far below
        raise AwingError(f"the ONNX graph puts points up to {difference:.2f} px elsewhere than PyTorch: not written")
    path.write_bytes(content)
    outputs = ", ".join(f"{node.name} {node.shape}" for node in session.get_outputs())
    return f"image {session.get_inputs()[0].shape} -> {outputs}; points within {difference:.1e} crop px of PyTorch's"
