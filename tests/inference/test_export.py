"""Other forms of a checkpoint: onnxruntime computes what PyTorch does, weights come back as they went."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from awing import Aligner
from awing.checkpoint import Checkpoint
from awing.data.crops import landmark_box
from awing.data.images import read_image, save_picture
from awing.errors import ConfigError
from awing.inference.export import export
from awing.models import load_official

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def random(checkpoint, tmp_path_factory) -> str:
    """The network of random weights in a file, for crops of 128 px as the shipped one."""
    path = tmp_path_factory.mktemp("random") / "random.safetensors"
    codec = checkpoint.config["codec"] | {"input_size": 128, "heatmap_size": 32}
    replace(checkpoint, config=checkpoint.config | {"codec": codec}).write(path)
    return str(path)


@pytest.fixture(scope="module")
def points_file(random, tmp_path_factory) -> Path:
    """The network with its decoding, in the lowest opset."""
    path = tmp_path_factory.mktemp("onnx") / "points.onnx"
    said = export(random, str(path), decode=True, opset=17)
    assert "points ['batch', 68, 2], confidence ['batch', 68]" in said
    return path


def run(file: Path, crops: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": crops.astype(np.float32).transpose(0, 3, 1, 2) / 255})


def check_points(file: Path, aligner: Aligner, crops: np.ndarray) -> None:
    points, peaks = aligner.codec.decode(aligner.stacks(list(crops))[-1])
    for batch in (1, len(crops)):  # dynamic
        found, confidence = run(file, crops[:batch])
        assert np.abs(found - points[:batch].numpy()).max() < 0.01, "crop px"
        np.testing.assert_allclose(confidence, aligner.checkpoint.confidence_of(peaks[:batch]), atol=1e-3)


def test_onnx_points_are_those_of_pytorch(random, points_file):
    crops = np.random.default_rng(0).integers(0, 255, (3, 128, 128, 3), np.uint8)
    check_points(points_file, Aligner.load(random, "cpu"), crops)


def test_opset_17_holds_the_decoding(points_file):
    model = onnx.load(points_file)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    onnx.checker.check_model(model, full_check=True)


def test_opencv_computes_the_maps(tmp_path):
    export("300w-small", str(tmp_path / "maps.onnx"))
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), np.uint8)
    expected = Aligner.load("300w-small", "cpu").stacks(list(crops))[-1].numpy()
    for engine in (cv2.dnn.ENGINE_CLASSIC, cv2.dnn.ENGINE_NEW):
        net = cv2.dnn.readNetFromONNX(str(tmp_path / "maps.onnx"), engine)
        net.setInput(crops.astype(np.float32).transpose(0, 3, 1, 2) / 255)
        np.testing.assert_allclose(net.forward(), expected, atol=1e-4)


@pytest.mark.slow
def test_opset_that_cannot_be_written_is_refused(random, tmp_path):
    with pytest.raises(ConfigError, match="opset=13: PyTorch cannot write that, but gives 18; expected 17 and up"):
        export(random, str(tmp_path / "13.onnx"), opset=13)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_keeps_the_points(real_faces, tmp_path):
    """The shipped network, on faces that it is not calibrated by: of 0.1 points of NME a face may lose 1."""
    (tmp_path / "photos").mkdir()
    for record in real_faces[::3]:
        (tmp_path / "photos" / record.path.name).symlink_to(record.path)
    said = export("300w-small", str(tmp_path / "int8.onnx"), decode=True, int8=str(tmp_path / "photos"))
    assert float(re.search(r"int8 moves them by ([\d.]+)% of the face's box", said)[1]) < 0.6
    aligner = Aligner.load("300w-small", "cpu")
    crops = np.stack([aligner.crop(read_image(r.path), landmark_box(r))[0] for r in real_faces[1::3]])
    expected = aligner.codec.decode(aligner.stacks(list(crops))[-1])[0].numpy()
    moved = np.linalg.norm(run(tmp_path / "int8.onnx", crops)[0] - expected, axis=-1).mean(1) / 128 * 1.25
    assert 0 < moved.mean() < 0.006
    assert (tmp_path / "int8.onnx").stat().st_size < 4e6
    types = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types


def test_int8_without_faces_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a folder of photographs, found no face in 0 images"):
        export("300w-small", str(tmp_path / "int8.onnx"), int8=str(tmp_path))


@pytest.mark.slow
def test_onnx_of_the_shipped_network_on_real_faces(real_faces, tmp_path):
    aligner = Aligner.load("300w-small", "cpu")
    crops = np.stack([aligner.crop(read_image(r.path), landmark_box(r))[0] for r in real_faces[:7]])
    export("300w-small", str(tmp_path / "points.onnx"), decode=True)
    check_points(tmp_path / "points.onnx", aligner, crops)
    export("300w-small", str(tmp_path / "heatmaps.onnx"))
    np.testing.assert_allclose(run(tmp_path / "heatmaps.onnx", crops)[0], aligner.stacks(list(crops))[-1], atol=1e-4)


def test_onnx_example_of_the_docs_finds_the_aligners_points(random, points_file, picture, rendered_faces, tmp_path):
    """docs/export.md's block, as it stands, needs only onnxruntime, NumPy and OpenCV."""
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S)
    assert set(re.findall(r"^(?:import|from) (\w+)", script, re.M)) <= {"sys", "cv2", "numpy", "onnxruntime"}
    (tmp_path / "use.py").write_text(script)
    save_picture(tmp_path / "face.png", picture)
    box = landmark_box(rendered_faces[0])
    words = [str(points_file), str(tmp_path / "face.png"), *(str(float(v)) for v in box)]
    done = subprocess.run([sys.executable, tmp_path / "use.py", *words], capture_output=True, text=True, check=True)
    found = np.array([line.split() for line in done.stdout.splitlines()], dtype=float)
    expected = Aligner.load(random, "cpu")(picture, [box])
    assert found.shape == (68, 3)
    assert np.abs(found[:, :2] - expected.points[0]).max() < 0.05, "px of the photo"
    np.testing.assert_allclose(found[:, 2], expected.confidence[0], atol=0.001)


@pytest.mark.parametrize("half", [False, True])
def test_safetensors_come_back(tmp_path, half):
    export("300w-small", str(tmp_path / "weights.safetensors"), half=half)
    shipped, back = Checkpoint.read("300w-small"), Checkpoint.read(tmp_path / "weights.safetensors")
    assert back.confidence == shipped.confidence
    assert back.codec().scheme == shipped.codec().scheme
    for name, value in shipped.state_dict.items():  # float16 as shipped: nothing more is lost
        assert torch.equal(back.state_dict[name], value), name


def test_authors_layout_holds_the_weights_alone(tmp_path):
    said = export("300w-small", str(tmp_path / "small.pth"))
    assert "official: reads them with the authors' codec (256 px, floored centres) and crop" in said
    back, shipped = load_official(tmp_path / "small.pth").state_dict(), Checkpoint.read("300w-small").network()
    assert all(torch.equal(back[name], value) for name, value in shipped.state_dict().items())


def test_export_refuses_what_does_not_fit(random, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is there already: choose another output, or overwrite=true"):
        export(random, str(tmp_path / "a.pth"))
    assert (tmp_path / "a.pth").read_bytes() == b"mine"
    with pytest.raises(ConfigError, match=r"the suffix of output is one of \.onnx, \.safetensors, \.pth"):
        export(random, str(tmp_path / "a.pt"))
    for options in ({"half": True}, {"decode": True}, {"confidence": "c.json"}):
        with pytest.raises(ConfigError, match=rf"{next(iter(options))}: \.pth files have no such option"):
            export(random, str(tmp_path / "b.pth"), **options)
    export("300w-small", str(tmp_path / "a.pth"), overwrite=True)
    assert load_official(tmp_path / "a.pth").depth == 4


def test_export_command_writes_a_file(random, tmp_path):
    words = f"checkpoint={random}", f"output={tmp_path / 'w.safetensors'}"
    done = subprocess.run([sys.executable, "src/export.py", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "weights in float32" in done.stdout
