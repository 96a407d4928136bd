"""Other forms of a checkpoint: onnxruntime computes what PyTorch does, weights come back as they went."""

import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from awing import Aligner
from awing.checkpoint import SHIPPED, Checkpoint
from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.data.readers import read_300w
from awing.errors import CheckpointError, ConfigError
from awing.inference.export import Options, _export, export
from awing.models import StackedHourglass, load_official, to_official
from awing.schemes import Scheme
from awing.words import parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return Checkpoint.read("300w-small")


@pytest.fixture(scope="module")
def files(shipped, tmp_path_factory) -> Path:
    """The shipped network as ONNX: heatmaps.onnx and points.onnx."""
    folder = tmp_path_factory.mktemp("onnx")
    export(shipped, folder / "heatmaps.onnx")
    export(shipped, folder / "points.onnx", decode=True)
    return folder


def run(file: Path, crops: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": crops.astype(np.float32).transpose(0, 3, 1, 2) / 255})


def test_onnx_agrees_with_pytorch_on_real_crops(shipped, files, real_data):
    records = read_300w(real_data / "300w", "train", allow_partial=True).records[:7]
    aligner = Aligner(shipped, "cpu")
    crops = np.stack([aligner.crop(read_image(r.path), landmark_box(r))[0] for r in records])
    maps = aligner.maps(list(crops))
    points, peaks = aligner.codec.decode(maps)
    for batch in (1, 7):  # dynamic
        np.testing.assert_allclose(run(files / "heatmaps.onnx", crops[:batch])[0], maps[:batch], atol=1e-4)
        found, confidence = run(files / "points.onnx", crops[:batch])
        assert np.abs(found - points[:batch].numpy()).max() < 0.01, "crop px"
        np.testing.assert_allclose(confidence, shipped.confidence_of(peaks[:batch]), atol=1e-3)


def test_the_script_of_the_docs_finds_the_aligners_points(files, rendered, tmp_path):
    """docs/export.md's block, as it stands, needs only onnxruntime, NumPy and OpenCV."""
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S)
    assert len(script.splitlines()) <= 30
    imports = set(re.findall(r"^(?:import|from) (\w+)", script, re.M))
    assert imports <= {"sys", "cv2", "numpy", "onnxruntime"}
    (tmp_path / "use.py").write_text(script)
    record = read_300w(rendered / "300w", "train", allow_partial=True).records[0]
    cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(read_image(record.path), cv2.COLOR_RGB2BGR))
    box = landmark_box(record)
    words = [str(files / "points.onnx"), str(tmp_path / "face.png"), *(str(float(v)) for v in box)]
    done = subprocess.run([sys.executable, tmp_path / "use.py", *words], capture_output=True, text=True, check=True)
    found = np.array([line.split() for line in done.stdout.splitlines()], dtype=float)
    expected = Aligner.load("300w-small", "cpu")(read_image(tmp_path / "face.png"), [box])
    assert found.shape == (68, 3)
    assert np.abs(found[:, :2] - expected.points[0]).max() < 0.05, "px of the photo"
    np.testing.assert_allclose(found[:, 2], expected.confidence[0], atol=0.001)


@pytest.mark.parametrize("half", [False, True])
def test_safetensors_come_back(shipped, tmp_path, half):
    export(shipped, tmp_path / "weights.safetensors", half=half)
    back = Checkpoint.read(tmp_path / "weights.safetensors")
    assert (back.config, back.held_out, back.step, back.confidence) == (
        shipped.config, shipped.held_out, shipped.step, shipped.confidence,
    )  # fmt: skip
    for name, value in shipped.state_dict.items():  # float16 as shipped: nothing more is lost
        assert torch.equal(back.state_dict[name], value), name


def test_weights_that_float16_cannot_hold_are_not_written(shipped, tmp_path):
    name, value = next(iter(shipped.state_dict.items()))
    large = replace(shipped, state_dict={**shipped.state_dict, name: value + 1e5})
    with pytest.raises(CheckpointError, match=r"float16 cannot hold these weights; leave half=true away"):
        export(large, tmp_path / "weights.safetensors", half=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("dataset", "crop", "foo", "no such crop: 'foo'"),
        ("dataset", "crop_scale", 0, "no such crop: 'landmarks', scale 0"),
        ("dataset", "crop_scale", float("nan"), "expected a plain value as its crop_scale, found nan"),
        ("confidence", "slope", float("nan"), "expected a plain value as its slope, found nan"),
        ("state_dict", "stem.0.weight", float("nan"), "expected finite numbers as its stem.0.weight"),
    ],
)
def test_values_that_give_no_landmarks_are_refused(shipped, tmp_path, section, key, value, message):
    parts = {"dataset": dict(shipped.config["dataset"]), "confidence": dict(shipped.confidence or {})}
    weights = dict(shipped.state_dict)
    if section == "state_dict":
        weights[key] = torch.full_like(weights[key], value)
    else:
        parts[section][key] = value
    config = {**shipped.config, "dataset": parts["dataset"]}
    changed = replace(shipped, config=config, confidence=parts["confidence"], state_dict=weights)
    changed.write(tmp_path / "changed.safetensors")
    with pytest.raises(CheckpointError, match=f"changed.safetensors: {re.escape(message)}"):
        Aligner.load(tmp_path / "changed.safetensors", device="cpu")


@pytest.mark.parametrize("stacks", [1, 2, 3, 4])
def test_the_authors_layout_loses_nothing(stacks, tmp_path):
    network = StackedHourglass(98, stacks=stacks, channels=16, boundary_coords=stacks > 1)
    torch.save(to_official(network), tmp_path / "W.pth")
    back = load_official(tmp_path / "W.pth").state_dict()
    assert list(back) == list(network.state_dict())
    assert all(torch.equal(back[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "without", [{"boundary": False, "boundary_coords": False}, {"coord_conv": False, "boundary_coords": False},
                {"boundary_coords": False}],
)  # fmt: skip
def test_the_authors_layout_refuses_what_it_has_no_place_for(without):
    with pytest.raises(CheckpointError, match="authors' layout holds networks with"):
        to_official(StackedHourglass(5, stacks=2, channels=16, **without))


def test_the_authors_file_is_a_checkpoint_of_their_protocol(tmp_path):
    network = StackedHourglass(98, stacks=2, channels=16).eval()
    torch.save({"state_dict": to_official(network)}, tmp_path / "WFLW_4HG.pth")
    checkpoint = Checkpoint.read(f"official:{tmp_path / 'WFLW_4HG.pth'}")
    assert checkpoint.config["dataset"] == {"name": "wflw", "crop": "official", "crop_scale": 1.0}
    codec = checkpoint.codec()
    assert (codec.scheme.name, codec.center, codec.decoder, codec.input_size) == ("wflw98", "floor", "quarter", 256)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(checkpoint.network()(image)[-1], network(image)[-1])


def test_the_authors_layout_says_what_it_does_not_keep(shipped, tmp_path):
    """What it says is what differs when the file is given back as official:."""
    said = export(shipped, tmp_path / "small.pth")
    back = Checkpoint.read(f"official:{tmp_path / 'small.pth'}")
    assert (back.codec().input_size, back.codec().decoder, back.confidence) == (256, "quarter", None)
    for words in (
        "input size 128 becomes 256", "center subpixel becomes floor", "decoder refined becomes quarter",
        "confidence calibrated becomes none", "for use, .safetensors",
    ):  # fmt: skip
        assert words in said, said
    assert "scheme" not in said and "crop" not in said, "both are landmarks x 1.25 of ibug68"
    assert "becomes" not in export(back, tmp_path / "again.pth")
    network = StackedHourglass(5, stacks=1, channels=16, depth=2, boundary_coords=False)
    scheme = Scheme("five", tuple("abcde"), flip_pairs=(), lines=((0, 1),))
    codec = {**shipped.config["codec"], "scheme": asdict(scheme)}
    model = {**shipped.config["model"], "stacks": 1, "channels": 16, "depth": 2, "boundary_coords": False}
    five = replace(shipped, config={**shipped.config, "codec": codec, "model": model}, state_dict=network.state_dict())
    assert "no scheme of so many landmarks is known" in export(five, tmp_path / "five.pth")


def test_nothing_is_overwritten_and_mistakes_are_answered(shipped, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is there already: choose another output, or overwrite=true"):
        export(shipped, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").read_bytes() == b"mine"
    with pytest.raises(ConfigError, match=r"the suffix of output is one of \.onnx"):
        export(shipped, tmp_path / "a.pt")
    for name in ("b.pth", "b.onnx"):
        with pytest.raises(ConfigError, match=r"confidence=FILE is of \.safetensors, and of \.onnx with decode=true"):
            _export(Options("300w-small", str(tmp_path / name), confidence="confidence.json"))
    with pytest.raises(ConfigError, match=r"half=true is of \.safetensors files"):
        export(shipped, tmp_path / "b.onnx", half=True)
    export(shipped, tmp_path / "a.pth", overwrite=True)
    assert load_official(tmp_path / "a.pth").depth == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth"]


def test_the_command_writes_and_answers(tmp_path):
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "src/export.py", *words], cwd=ROOT, capture_output=True, text=True)

    done = call("checkpoint=300w-small", f"output={tmp_path / 'w.safetensors'}")
    assert done.returncode == 0 and "weights in float32" in done.stdout, done.stderr
    unwritable = call("checkpoint=300w-small", "output=/proc/x/v.pth")
    assert unwritable.returncode == 1 and unwritable.stderr == "error: /proc/x: No such file or directory\n"
    wrong = call("checkpoint=300w-smal", f"output={tmp_path / 'v.pth'}")
    assert wrong.returncode == 1 and "Did you mean '300w-small'?" in wrong.stderr and "Traceback" not in wrong.stderr


def test_options_need_what_has_no_default():
    with pytest.raises(ConfigError, match=r"expected output=\.\.\."):
        parse(["checkpoint=a"], Options)


def test_shipped_weights_are_small_and_whole(shipped, tmp_path, monkeypatch):
    (file,) = SHIPPED.glob("*.safetensors")
    assert file.stat().st_size <= 8e6
    broken = bytearray(file.read_bytes())
    broken[-1] ^= 1
    (tmp_path / file.name).write_bytes(broken)
    (tmp_path / "SHA256SUMS").write_text((SHIPPED / "SHA256SUMS").read_text())
    monkeypatch.setattr("awing.checkpoint.SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256"):
        Checkpoint.read("300w-small")


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 5000])
def test_a_truncated_file_is_refused(shipped, tmp_path, kept):
    (file,) = SHIPPED.glob("*.safetensors")
    (tmp_path / "w.safetensors").write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        Checkpoint.read(tmp_path / "w.safetensors")


def test_a_strangers_safetensors_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights that this project wrote"):
        Checkpoint.read(tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors", {"awing": '{"format": 9}'})
    with pytest.raises(CheckpointError, match="has format 9"):
        Checkpoint.read(tmp_path / "w.safetensors")
