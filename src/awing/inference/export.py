"""A checkpoint in other forms: ONNX for other runtimes, safetensors to pass on, the authors' layout."""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from awing.checkpoint import Checkpoint
from awing.errors import AwingError, CheckpointError, ConfigError, check_choice
from awing.models import to_official
from awing.words import run

HELP = """usage: python src/export.py checkpoint=NAME output=FILE [key=value ...]

  checkpoint=NAME   300w-small, which the package brings; a run's best.ckpt; a .safetensors file; official:PATH
  output=FILE       .onnx; .safetensors, to pass on; .pth, in the layout of the authors' code
  decode=true       .onnx: points (crop px) and confidence instead of heatmaps
  half=true         .safetensors: store float16
  confidence=FILE   .onnx and .safetensors: the confidence.json that src/evaluate.py calibrate=0.05 wrote
  overwrite=true    replace the file
"""
LARGEST_DIFFERENCE = 0.1  # crop px, of a decoded point; a correct file stays far below


@dataclass
class Options:
    """What ``src/export.py`` takes; see :data:`HELP`."""

    checkpoint: str
    output: str
    decode: bool = False
    half: bool = False
    confidence: str | None = None
    overwrite: bool = False


def main() -> None:
    """The command."""
    run(_export, Options, HELP)


def _export(options: Options) -> int:
    checkpoint, output = Checkpoint.read(options.checkpoint), Path(options.output)
    if options.confidence:
        if output.suffix == ".pth" or (output.suffix == ".onnx" and not options.decode):
            raise ConfigError(f"confidence=FILE is of .safetensors, and of .onnx with decode=true; output is {output}")
        checkpoint = checkpoint.with_confidence(Path(options.confidence))
    print(export(checkpoint, output, options.decode, options.half, options.overwrite))
    return 0


def export(
    checkpoint: Checkpoint, output: Path, decode: bool = False, half: bool = False, overwrite: bool = False
) -> str:
    """Write a checkpoint as the suffix of ``output`` says.

    Args:
        checkpoint: What was trained.
        output: ``.onnx``; ``.safetensors``, which every command of this project reads; ``.pth``, the layout of the
            authors' code.
        decode: Of ONNX: the graph gives points and confidences instead of heatmaps.
        half: Of safetensors: store float16.
        overwrite: Replace the file if it is there.

    Returns:
        What was written, for people.

    Raises:
        ConfigError: an unknown suffix, an option of another form, an existing file, or a package that is missing.
        CheckpointError: the authors' layout cannot hold the network.
        AwingError: the ONNX file computes something else.
    """
    check_choice("the suffix of output", output.suffix, (".onnx", ".safetensors", ".pth"))
    for name, given, suffix in (("decode", decode, ".onnx"), ("half", half, ".safetensors")):
        if given and output.suffix != suffix:
            raise ConfigError(f"{name}=true is of {suffix} files; output is {output}")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} is there already: choose another output, or overwrite=true")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.part")
    try:
        if output.suffix == ".onnx":
            said = _write_onnx(checkpoint, unfinished, decode)
        elif output.suffix == ".safetensors":
            checkpoint.write(unfinished, half)
            said = f"weights in {'float16' if half else 'float32'}"
        else:
            torch.save({"state_dict": to_official(checkpoint.network())}, unfinished)
            said = f"weights in the layout of the authors' code{_not_kept(checkpoint, unfinished)}"
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return f"{output}: {output.stat().st_size / 1e6:.1f} MB, {said}"


class Graph(nn.Module):
    """What an ONNX file computes: RGB in [0, 1] -> the last stack's maps, or points in crop px and confidence."""

    def __init__(self, checkpoint: Checkpoint, decode: bool) -> None:
        super().__init__()
        self.network, self.codec, self.checkpoint, self.decode = (
            checkpoint.network(), checkpoint.codec(), checkpoint, decode,
        )  # fmt: skip

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        maps: Tensor = self.network(image)[-1]
        if not self.decode:
            return (maps,)
        points, peaks = self.codec.decode(maps)
        return points, self.checkpoint.confidence_of(peaks)


def _write_onnx(checkpoint: Checkpoint, path: Path, decode: bool) -> str:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # the exporter's
    except ImportError as error:
        raise ConfigError(f"ONNX needs {error.name}: pip install 'awing[export]'") from None
    graph = Graph(checkpoint, decode).eval()
    codec, names = graph.codec, ["points", "confidence"] if decode else ["heatmaps"]
    example = torch.rand(2, 3, codec.input_size, codec.input_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, and needs it not
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")  # torch's own affair
        program = torch.onnx.export(
            graph, (example,), dynamo=True, input_names=["image"], output_names=names,
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}}, verbose=False,
        )  # fmt: skip
    if program is None:
        raise AwingError("the exporter of torch gave no program")
    model: Any = program.model_proto
    dataset = checkpoint.config["dataset"]
    about = {
        "input": f"image: RGB in [0, 1], {codec.input_size} px square, pixel centres on integers",
        "crop": f"{dataset['crop_scale']} x the longer side of the box ({dataset['crop']})",
        "landmarks": json.dumps(codec.scheme.names),
    }
    onnx.helper.set_model_props(model, about)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = largest_difference(graph, session)
    if not difference <= LARGEST_DIFFERENCE:
        raise AwingError(f"the ONNX file puts points up to {difference:.2f} px elsewhere than PyTorch; it was not kept")
    outputs = ", ".join(f"{node.name} {node.shape}" for node in session.get_outputs())
    return f"image {session.get_inputs()[0].shape} -> {outputs}; points within {difference:.1e} crop px of PyTorch's"


@torch.no_grad()
def largest_difference(graph: Graph, session: Any) -> float:
    """The largest distance in crop px between a session's points and PyTorch's, over noise in batches of 1 and 3."""
    size, differences = graph.codec.input_size, []
    for batch in (1, 3):
        image = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))
        both = graph(image)[0], torch.from_numpy(np.asarray(session.run(None, {"image": image.numpy()})[0]))
        expected, found = both if graph.decode else (graph.codec.decode(maps)[0] for maps in both)
        differences.append((found - expected).norm(dim=-1).max())
    return float(torch.stack(differences).max())


def _not_kept(checkpoint: Checkpoint, file: Path) -> str:
    """What ``official:`` would do otherwise with a file of these weights, in words."""
    try:
        used = [_use(checkpoint), _use(Checkpoint.read(f"official:{file}"))]
    except CheckpointError:
        return "; official: does not read it, since no scheme of so many landmarks is known: for use, .safetensors"
    changed = [f"{key} {given} becomes {used[1][key]}" for key, given in used[0].items() if given != used[1][key]]
    if not changed:
        return ""
    return f"\nthe layout keeps weights alone: read as official:, {', '.join(changed)}; for use, .safetensors"


def _use(checkpoint: Checkpoint) -> dict[str, Any]:
    """What points depend on beside the weights."""
    codec, dataset = checkpoint.codec(), checkpoint.config["dataset"]
    return {
        "scheme": codec.scheme.name, "input size": codec.input_size, "center": codec.center, "decoder": codec.decoder,
        "crop": f"{dataset['crop']} x {dataset['crop_scale']}",
        "confidence": "calibrated" if checkpoint.confidence else "none",
    }  # fmt: skip
