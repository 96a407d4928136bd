"""Write 100 faces of 300-W that 300w-small was not trained on as own data with 20 points, and the others as its test.

    python benchmarks/finetune.py DIR OUTPUT
    python src/train.py experiment=finetune dataset.root=OUTPUT dataset.scheme=OUTPUT/scheme.yaml \
        dataset.reader.test=test.csv dataset.reader.images=DIR/300w dataset.crop=landmarks

DIR holds 300w/. Training and validation faces are drawn with seed 0 from the held-out tenths of 300w-small.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.data.records import Record

CONF = Path(__file__).resolve().parents[1] / "conf"
CUT = ["dataset.val_fraction=0.1", "dataset.test_fraction=0.1", "dataset.split_seed=0"]
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
    words = ["dataset=300w", "dataset.crop=landmarks", "dataset.loader.input_size=128", "dataset.scheme=ibug68", *CUT]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", [*words, "dataset.allow_partial=true", f"paths.data_dir={folder.resolve()}"])
    data = instantiate(cfg.dataset)
    data.setup()
    records = [*data.annotations["val"].records, *data.annotations["test"].records]
    order = np.random.default_rng(0).permutation(len(records))
    output.mkdir(parents=True, exist_ok=True)
    (output / "scheme.yaml").write_text(yaml.safe_dump(SCHEME, sort_keys=False))
    for name, part in (("train.csv", order[:100]), ("test.csv", order[100:])):
        write_table(output / name, [records[i] for i in part], data.root)
        print(f"{output / name}: {len(part)} faces")


def write_table(file: Path, records: list[Record], root: Path) -> None:
    """The rows of ``dataset=custom``, without boxes."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        columns = [f"{axis}{i}" for i in range(len(POINTS)) for axis in "xy"]
        writer.writerow(["image", *columns])
        for record in records:
            points = record.points[list(POINTS.values())].round(2)
            writer.writerow([record.path.relative_to(root), *points.ravel()])


if __name__ == "__main__":
    main()
