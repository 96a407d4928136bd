"""Train with the most turned fifth of the training faces twice in each epoch, to see whether that helps turned heads.

    python benchmarks/rare_poses.py experiment=300w_small dataset=300w ...

Takes the arguments of ``src/train.py``. An epoch has a fifth more faces: give it five sixths of the epochs. Results are
in docs/results/models.md.
"""

import runpy
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from pose import turned

from awing.data.datamodule import LandmarkDataModule, Split
from awing.data.records import Annotations


def main() -> None:
    divide = LandmarkDataModule.divide

    def divide_and_repeat(self: LandmarkDataModule, **official: Annotations) -> dict[Split, Annotations]:
        splits = divide(self, **official)
        records = splits["train"].records
        poses = np.array([turned(record.points) for record in records])
        again = [record for record, pose in zip(records, poses, strict=True) if pose >= np.quantile(poses, 0.8)]
        return splits | {"train": splits["train"]._replace(records=[*records, *again])}

    LandmarkDataModule.divide = divide_and_repeat  # type: ignore[method-assign]
    runpy.run_path(str(Path(__file__).parents[1] / "src" / "train.py"), run_name="__main__")


if __name__ == "__main__":
    main()
