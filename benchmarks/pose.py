"""Mean NME by how far the head is turned, for evaluations on faces of 300-W.

    python benchmarks/pose.py DIR EVALUATION [EVALUATION ...]

DIR holds 300w/, the evaluations ``per_image.csv`` by ``src/evaluate.py``. The turn is how much nearer the nose tip
is to one end of the jaw line than to the other, along the line of the eyes: 0 for a frontal head, 1 where they meet.
"""

import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.data.readers import read_300w
from awing.schemes import get_scheme

GROUPS = {"the least turned half": (0, 0.5), "the next three tenths": (0.5, 0.8), "the most turned fifth": (0.8, 1)}


def turned(points: np.ndarray) -> float:
    """How far a head is turned, 0 to 1, from its 68 points."""
    left, right = get_scheme("ibug68").normalisers["inter_ocular"]
    eyes = points[list(right)].mean(0) - points[list(left)].mean(0)
    nose, *jaw = (points[[30, 0, 16]] @ eyes).tolist()
    near, far = sorted(abs(end - nose) for end in jaw)
    return float((far - near) / (far + near))


def main() -> None:
    folder, *evaluations = sys.argv[1:]
    records = read_300w(Path(folder) / "300w", "train", True).records
    measured = {str(record.path.resolve()): turned(record.points) for record in records}
    for evaluation in evaluations:
        with (Path(evaluation) / "per_image.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        poses = np.array([measured[str(Path(row["image"]).resolve())] for row in rows])
        errors = 100 * np.array([float(row["nme_inter_ocular"]) for row in rows])
        print(f"{evaluation}: {len(rows)} faces, NME {errors.mean():.2f} %")
        for name, (low, high) in GROUPS.items():
            places = np.argsort(np.argsort(poses)) / len(poses)
            chosen = (places >= low) & (places < high)
            span = f"{poses[chosen].min():.2f} to {poses[chosen].max():.2f}"
            print(f"  {name}, {chosen.sum()} faces, {span}: {errors[chosen].mean():.2f} %")


if __name__ == "__main__":
    main()
