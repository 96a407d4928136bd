"""Faces a second at batch 1 through an exported file, and how far its points lie from PyTorch's on real crops.

python benchmarks/exported.py FILE.onnx [threads=2] [DIR checkpoint=300w-small]

FILE.onnx was written with decode=true; DIR holds 300w/. Crops are the landmark crops of all faces there.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main() -> None:
    file, *words = sys.argv[1:]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(named.get("threads", 2))
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[-1]
    image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)
    seconds = []
    for _ in range(220):
        start = time.perf_counter()
        session.run(None, {"image": image})
        seconds.append(time.perf_counter() - start)
    rate = 1 / statistics.median(seconds[20:])
    print(f"{file}: {rate:.0f} faces a second, {options.intra_op_num_threads} threads, median of 200")
    for folder in (word for word in words if "=" not in word):
        compare(session, Path(folder), named.get("checkpoint", "300w-small"))


def compare(session: onnxruntime.InferenceSession, folder: Path, checkpoint: str) -> None:
    """Largest and median distance of a point in crop px, over the faces of 300-W."""
    from rich.progress import track

    from awing import Aligner
    from awing.data.crops import landmark_box
    from awing.data.images import read_image
    from awing.data.readers import read_300w

    aligner, distances = Aligner.load(checkpoint, "cpu"), []
    for record in track(read_300w(folder / "300w", "train", allow_partial=True).records):
        crop, _ = aligner.crop(read_image(record.path), landmark_box(record))
        expected = aligner.codec.decode(aligner.maps([crop]))[0][0].numpy()
        found = session.run(None, {"image": crop.astype(np.float32).transpose(2, 0, 1)[None] / 255})[0][0]
        distances.append(np.linalg.norm(found - expected, axis=1))
    print(f"{len(distances)} crops: {np.max(distances):.1e} crop px at most, median {np.median(distances):.1e}")


if __name__ == "__main__":
    main()
