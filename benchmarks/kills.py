"""Kill a training at random moments, continue with ``resume=auto``, compare bit by bit with an undisturbed run.

    python benchmarks/kills.py --kills 20 --output /tmp/kills

Rendered faces, two worker processes, an average of the weights, learning rates that change by the epoch. Every fourth
kill waits until a checkpoint is being written. A kill is SIGKILL to the training's processes, so none can clean up.
"""

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
WORDS = [
    "dataset=synthetic", "dataset.reader.expected.train=96", "dataset.reader.expected.test=16",
    "model=small", "trainer=cpu", "codec.input_size=64", "codec.heatmap_size=16", "data.batch_size=4",
    "data.num_workers=2", "callbacks=ema", "callbacks.average.decay=0.9", "callbacks.progress=null",
    "optim.optimizer.lr=1e-3", "optim.scheduler.milestones=[2,4]", "trainer.max_epochs=6",
    "trainer.log_every_n_steps=1",
]  # fmt: skip


def start(output: Path, log: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "src" / "train.py"), *WORDS, f"output={output}", *words]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, cwd=ROOT, start_new_session=True)


def finish(output: Path, log: Path, *words: str) -> float:
    begun = time.monotonic()
    if start(output, log, *words).wait():
        sys.exit(f"the training failed, see {log}")
    return time.monotonic() - begun


def rows(output: Path) -> list[dict[str, str]]:
    file = output / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def kill(output: Path, log: Path, at: int, delay: float, writing: bool) -> tuple[int, str] | None:
    """Start a training, wait for step ``at`` and ``delay`` seconds more, kill it.

    Returns:
        Number of logged steps, and the file that was being written, if any; None if the training ended before.
    """
    shutil.rmtree(output, ignore_errors=True)
    training, folder = start(output, log), output / "checkpoints"
    while training.poll() is None and steps_of(output) < at:
        time.sleep(0.01)
    time.sleep(delay)
    while writing and training.poll() is None and not list(folder.glob("*.part")):
        pass
    if training.poll() is not None:
        return None
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    parts = [file.name for file in folder.glob("*.part")]
    return steps_of(output), parts[0] if parts else ""


def steps_of(output: Path) -> int:
    return max((int(row["step"]) + 1 for row in rows(output) if row.get("train/loss")), default=0)


def differences(one: object, other: object, where: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [d for key in one for d in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [d for i in range(len(one)) for d in differences(one[i], other[i], f"{where}[{i}]")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [where]
    return [] if one == other else [where]


def state(output: Path, whole: Path) -> object:
    """Content of ``last.ckpt``, with the folder's name replaced by that of the undisturbed run."""

    def renamed(value: object) -> object:
        if isinstance(value, dict):
            return {renamed(key): renamed(v) for key, v in value.items()}
        if isinstance(value, list | tuple):
            return [renamed(v) for v in value]
        return value.replace(str(output), str(whole)) if isinstance(value, str) else value

    found = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
    found["hyper_parameters"]["resume"] = None
    return renamed(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("/tmp/kills"))
    settings = parser.parse_args()
    folder, rng, console = settings.output.resolve(), random.Random(settings.seed), Console(width=120)
    folder.mkdir(parents=True, exist_ok=True)
    data, whole, log = f"paths.data_dir={folder / 'data'}", folder / "whole", folder / "log.txt"
    WORDS.append(data)
    shutil.rmtree(whole, ignore_errors=True)
    finish(whole, log, "test=false", "trainer.max_epochs=1")  # renders the faces
    shutil.rmtree(whole)
    console.print(f"the undisturbed run took {finish(whole, log):.0f} s")
    expected = state(whole, whole)
    steps = expected["global_step"]  # type: ignore[index]
    table = Table("kill", "at step", "writing", "went on from", "weights and state", "rows", "test", box=box.SIMPLE)
    bad = 0
    for i in range(settings.kills):
        run = folder / "run"
        killed = None
        while killed is None:
            killed = kill(run, log, rng.randrange(steps), rng.uniform(0, 0.3), writing=i % 4 == 3)
        at, part = killed
        end = log.stat().st_size
        finish(run, log, "resume=auto")
        said = re.search(r"(\w+\.ckpt) continues after (step \d+)", log.read_bytes()[end:].decode())
        changed = differences(expected, state(run, whole))
        same_rows = rows(whole) == rows(run)
        one, other = ((f / "test" / "per_image.csv").read_bytes() for f in (whole, run))
        fates = [
            "differ: " + changed[0] if changed else "equal",
            *("equal" if same else "differ" for same in (same_rows, one == other)),
        ]
        bad += fates != ["equal"] * 3
        table.add_row(
            str(i + 1), f"{at} of {steps}", part, ", ".join(said.groups()) if said else "the start",
            *fates,
        )  # fmt: skip
        console.print(f"{i + 1} of {settings.kills}: {', '.join(fates)}")
    console.print(table)
    console.print(f"{bad} of {settings.kills} runs differ; the runs' output is in {log}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
