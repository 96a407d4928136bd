"""Trainings of seconds: a few rendered faces, a network of a few channels."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from awing.training import engine

ROOT = Path(__file__).parents[1]
COUNTS = ["dataset.reader.expected.train=24", "dataset.reader.expected.test=8"]
TINY = [
    "model=small", "trainer=cpu", "model.channels=8", "model.depth=2",
    "codec.input_size=64", "codec.heatmap_size=16", "data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=2",
    "callbacks.progress=null",
]  # fmt: skip


def run(config, rendered: Path, output: Path, *overrides: str) -> dict:
    wanted = [*TINY, f"paths.data_dir={rendered}", *overrides]
    if not any(word.startswith("dataset=") for word in wanted):
        wanted += ["dataset=synthetic", *COUNTS]
    return engine.fit(config("train", *wanted), output)


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def call(script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HYDRA_FULL_ERROR")}
    environment |= variables
    command = [sys.executable, str(ROOT / "src" / script), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
