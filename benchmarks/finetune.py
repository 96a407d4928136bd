"""Write 100 faces of the private test set of 300-W as a custom data set with 20 points, and the others as its test set.

    python benchmarks/finetune.py DIR OUTPUT
    python src/train.py experiment=finetune dataset.root=OUTPUT dataset.scheme=OUTPUT/scheme.yaml \
        dataset.reader.test=test.csv dataset.reader.images=DIR/300w_private dataset.crop=landmarks

DIR holds 300w_private/; the 100 faces are drawn with seed 0. The package's networks were not trained on these faces.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.data.readers import read_300w_private
from awing.data.records import Record

POINTS = {  # own name -> landmark of ibug68
    "jaw_left": 0, "jaw_lower_left": 4, "chin": 8, "jaw_lower_right": 12, "jaw_right": 16,
    "brow_left_outer": 17, "brow_left_inner": 21, "brow_right_inner": 22, "brow_right_outer": 26,
    "nose_tip": 30, "nostril_left": 31, "nostril_right": 35,
    "eye_left_outer": 36, "eye_left_inner": 39, "eye_right_inner": 42, "eye_right_outer": 45,
    "mouth_left": 48, "mouth_upper": 51, "mouth_right": 54, "mouth_lower": 57,
}  # fmt: skip
SCHEME = {
    "names": list(POINTS),
    "flip_pairs": [[name, name.replace("left", "right")] for name in POINTS if "left" in name],
    "lines": [
        ["jaw_left", "jaw_lower_left", "chin", "jaw_lower_right", "jaw_right"], ["brow_left_outer", "brow_left_inner"],
        ["brow_right_outer", "brow_right_inner"], ["mouth_left", "mouth_upper", "mouth_right"],
        ["mouth_left", "mouth_lower", "mouth_right"],
    ],
    "normalisers": {"inter_ocular": ["eye_left_outer", "eye_right_outer"]},
}  # fmt: skip


def main() -> None:
    folder, output = map(Path, sys.argv[1:])
    root = folder.resolve() / "300w_private"
    records = read_300w_private(root, "test", allow_partial=True, train_root="").records
    order = np.random.default_rng(0).permutation(len(records))
    output.mkdir(parents=True, exist_ok=True)
    (output / "scheme.yaml").write_text(yaml.safe_dump(SCHEME, sort_keys=False))
    for name, part in (("train.csv", order[:100]), ("test.csv", order[100:])):
        write_table(output / name, [records[i] for i in part], root)
        print(f"{output / name}: {len(part)} faces")


def write_table(file: Path, records: list[Record], root: Path) -> None:
    """Write a table for ``dataset=custom``, without boxes."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        columns = [f"{axis}{i}" for i in range(len(POINTS)) for axis in "xy"]
        writer.writerow(["image", *columns])
        for record in records:
            points = record.points[list(POINTS.values())].round(2)
            writer.writerow([record.path.relative_to(root), *points.ravel()])


if __name__ == "__main__":
    main()
