"""Tests and measurements that need a GPU, by one command of at most eight minutes, written to one page.

    python benchmarks/gpu.py [--data DIR] [--runs runs/gpu] [--output docs/results/gpu.md] [--minutes 7.5]
    python benchmarks/gpu.py --dry --output /tmp/gpu.md --runs /tmp/gpu     # tiny, on the CPU: does every part work?

DIR holds wflw/ and 300w/; rendered faces replace missing ones. Each part is killed at its time limit: what it has
measured until then is kept, the rest is printed as not reached. The page is written anew after each part.

* tests: those marked gpu.
* steps: training steps per second of the WFLW recipe (4 stacks, 256 px, batch 8) with all that src/train.py does in a
  step, share of this time spent waiting for a batch, peak memory. The first steps, which compile, do not count.
* fps: crops per second at batch 1, from pixels to points, as fps=true measures them (Table 12); CUDA graphs are those
  of torch.compile(mode="reduce-overhead").
* jobs: a sweep of two small jobs by joblib, one on a GPU at a time.
* recipe: 300-W with 4 stacks, 256 px, 240 epochs, until the time is over; the same --runs continues it.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning.profilers import SimpleProfiler

from awing.training.builders import build, build_regressor, build_trainer
from awing.training.evaluation import frames_per_second

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"tests": 30, "steps": 140, "fps": 110, "jobs": 50}  # seconds; the recipe has the rest,
EVALUATION = 45  # of which this is for its test
EAGER, NCHW, COMPILED, GRAPHS = "eager", "eager, not channels_last", "compiled", "compiled, CUDA graphs"
FULL, BF16 = "32-true", "bf16-mixed"
WAYS: dict[str, list[tuple[str, ...]]] = {  # the dear ones last
    "steps": [(EAGER, FULL), (EAGER, BF16), (NCHW, FULL), (NCHW, BF16), (COMPILED, BF16), (COMPILED, FULL)],
    "fps": [
        *((stacks, EAGER, precision) for precision in (FULL, BF16) for stacks in "1234"),
        *((stacks, way, precision) for stacks in "41" for precision in (FULL, BF16) for way in (COMPILED, GRAPHS)),
    ],
}
COLUMNS = {
    "tests": ["result"],
    "steps": ["way", "precision", "steps a second", "waits for data", "peak memory"],
    "fps": ["stacks", "way", "precision", "crops a second"],
    "jobs": ["job", "validation NME %", "test NME %"],
    "recipe": ["epochs of 240", "validation NME %, last", "best", "test NME % of the best"],
}
TINY = ["trainer=cpu", "model.channels=8", "model.depth=1", "codec.input_size=64", "codec.heatmap_size=16"]
FEW = ["dataset.reader.expected.train=80", "dataset.reader.expected.test=8"]
Rows = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds wflw/ and 300w/")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"), help="checkpoints of the recipe, logs")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--dry", action="store_true", help="tiny, on the CPU; limits do not count")
    parser.add_argument("--part", choices=WAYS, help=argparse.SUPPRESS)  # in a process of its own, which can be killed
    options = parser.parse_args()
    options.data, options.runs = options.data.resolve(), options.runs.resolve()
    if options.part:
        for row in (training_speeds if options.part == "steps" else inference_speeds)(options):
            print("ROW", json.dumps(row), flush=True)
        return
    if options.dry and not options.output:
        parser.error("a dry run measures nothing: name a page that is not the results', by --output")
    if not (options.dry or torch.cuda.is_available()):
        parser.error("no GPU is available; --dry runs every part on the CPU")
    output, start, sections = options.output or ROOT / "docs/results/gpu.md", time.monotonic(), []
    options.runs.mkdir(parents=True, exist_ok=True)
    for part, columns in COLUMNS.items():
        begun = time.monotonic()
        limit = 600 if options.dry else LIMITS.get(part, 60 * options.minutes - (begun - start))
        rows, status = PARTS[part](options, limit)
        lines = [f"## {part.capitalize()}", "", f"{status}: {time.monotonic() - begun:.0f} of {limit:.0f} s", ""]
        lines += [f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows]]
        sections.append("\n".join(lines))
        print(sections[-1] + "\n", flush=True)
        minutes = f"{(time.monotonic() - start) / 60:.1f} minutes in all."
        output.write_text("\n\n".join([f"{head(options)} {minutes}", *sections]) + "\n")


def head(options: argparse.Namespace) -> str:
    """Title, command and machine."""
    sets = ", ".join(f"{name}: {'its files' if has(options, name) else 'rendered faces'}" for name in ("wflw", "300w"))
    device = "**A dry run: tiny, on the CPU. Its numbers mean nothing.**"
    if not options.dry:  # without a CUDA context in this process: some machines allow one alone
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        device = subprocess.check_output(query, text=True).strip().replace("\n", "; ") + f", CUDA {torch.version.cuda};"
    return (
        f"# On a GPU\n\n```\npython {' '.join(sys.argv)}\n```\n\n{device} {os.cpu_count()} CPU cores, "
        f"{workers(options)} DataLoader workers; Python {platform.python_version()}, torch {torch.__version__}. {sets}."
    )


def workers(options: argparse.Namespace) -> int:
    return 1 if options.dry else min(16, max(1, (os.cpu_count() or 1) - 1))


def has(options: argparse.Namespace, name: str) -> bool:
    return not options.dry and (options.data / name).is_dir()


def words(options: argparse.Namespace, name: str) -> list[str]:
    """Arguments for the data of a command: a data set's files, or rendered faces."""
    if has(options, name):
        return [f"dataset={name}", "dataset.allow_partial=true", f"paths.data_dir={options.data}"]
    return ["dataset=synthetic", f"paths.data_dir={options.runs / 'rendered'}", *(FEW if options.dry else [])]


def device(options: argparse.Namespace) -> list[str]:
    """Arguments for the device of a training, and in a dry run for a network that is small enough."""
    return [*(TINY if options.dry else ["trainer=gpu"]), f"data.num_workers={workers(options)}"]


def run(options: argparse.Namespace, name: str, limit: float, *command: str) -> tuple[list[str], str]:
    """Run a command, kill it at its limit; return the lines that it printed, which are also logged, and its status."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if options.dry else {}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **hidden}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        printed, status = process.communicate(timeout=max(limit, 1))[0], "done"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too; a checkpoint is whole at every moment
        printed, status = process.communicate()[0], "stopped at its limit"
    (options.runs / f"{name}.log").write_text(printed)
    lines = printed.strip().splitlines() or [""]
    if status == "done" and process.returncode:
        said = [line for line in lines if line.startswith("error: ")] or lines
        status = f"**failed** with status {process.returncode}, `{said[-1].strip()[:200]}`"
    return lines, status


def run_tests(options: argparse.Namespace, limit: float) -> tuple[Rows, str]:
    lines, status = run(options, "tests", limit, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests")
    return [[lines[-1]]], status


def run_ways(part: str, options: argparse.Namespace, limit: float) -> tuple[Rows, str]:
    """Run one part in another process of this file; return a row for each way, also for those not reached."""
    arguments = ["--part", part, "--data", str(options.data), "--runs", str(options.runs), *["--dry"] * options.dry]
    lines, status = run(options, part, limit, "benchmarks/gpu.py", *arguments)
    rows = [json.loads(line.removeprefix("ROW ")) for line in lines if line.startswith("ROW ")]
    rest = ways(part, options.dry)[len(rows) :]
    return rows + [[*way, "not reached", *["-"] * (len(COLUMNS[part]) - len(way) - 1)] for way in rest], status


def run_jobs(options: argparse.Namespace, limit: float) -> tuple[Rows, str]:
    """Two seeds of a small network, 50 steps each."""
    folder = options.runs / "jobs"
    shutil.rmtree(folder, ignore_errors=True)
    workers = min(2, torch.cuda.device_count() or 1)
    sweep = ["-m", "seed=0,1", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", f"output={folder}"]
    short = ["model=small", "trainer.max_epochs=1", "trainer.limit_train_batches=50", "callbacks.progress=null"]
    data = words(options, "rendered faces")
    _, status = run(options, "jobs", limit, "src/train.py", *sweep, *short, "resume=auto", *data, *device(options))
    tested = [folder / f"seed-{seed}" / "test" / "metrics.json" for seed in (0, 1)]
    return [[file.parts[-3], *(scores(file) if file.is_file() else ["not reached", "-"])] for file in tested], status


def run_recipe(options: argparse.Namespace, limit: float) -> tuple[Rows, str]:
    """Continue the paper's 300-W recipe, and test its best checkpoint."""
    start, folder, data = time.monotonic(), options.runs / "300w", words(options, "300w")
    once = [f"output={folder}", "resume=auto", "callbacks.progress=null", *data, *device(options)]
    _, status = run(options, "recipe", 90 if options.dry else limit - EVALUATION, "src/train.py", *once)
    table, best = folder / "metrics.csv", folder / "checkpoints" / "best.ckpt"
    if not best.is_file():
        return [["none", "-", "-", "-"]], status
    with table.open(newline="") as stream:
        validated = [(int(row["epoch"]) + 1, float(row["val/nme"])) for row in csv.DictReader(stream) if row["val/nme"]]
    (epochs, last), least = validated[-1], min(nme for _, nme in validated)
    if not (results := folder / "test" / "metrics.json").is_file():  # only a finished training has tested
        results = options.runs / f"300w_test_{epochs}" / "metrics.json"
        shutil.rmtree(results.parent, ignore_errors=True)
        command = [f"checkpoint={best}", f"output={results.parent}", *data, *["trainer=cpu"] * options.dry]
        left = limit - (time.monotonic() - start)
        status += f"; its test: {run(options, 'test', left, 'src/evaluate.py', *command)[1]}"
    tested = scores(results)[1] if results.is_file() else "not reached"
    return [[str(epochs), f"{100 * last:.2f}", f"{100 * least:.2f}", tested]], status


def scores(file: Path) -> list[str]:
    """Validation and test NME of a test's results, in per cent."""
    found = json.loads(file.read_text())
    tested = ", ".join(f"{100 * nme:.2f} {name}" for name, nme in found["subsets"]["full"]["nme"].items())
    about = f"{tested}; {found['found']} of {found['expected']} {found['faces']}, crop {found['crop']}"
    return [f"{100 * found['val_nme_best']:.2f}" if "val_nme_best" in found else "-", about]


PARTS: dict[str, Any] = {
    "tests": run_tests, "steps": partial(run_ways, "steps"), "fps": partial(run_ways, "fps"), "jobs": run_jobs,
    "recipe": run_recipe,
}  # fmt: skip


def ways(part: str, dry: bool) -> list[tuple[str, ...]]:
    """Ways that a part measures; in a dry run each once, with one stack and in bf16."""
    return [way for way in WAYS[part] if not dry or (way[-1] == BF16 and way[0] not in "234")]


class Clock(pl.Callback):
    """Record when each step ends; the device is synchronised where counting begins and ends."""

    def __init__(self, first: int, last: int) -> None:
        self.ends: list[float] = []
        self.waited = (first, last)

    def on_train_batch_end(self, *_: object) -> None:
        if torch.cuda.is_available() and len(self.ends) + 1 in self.waited:
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def recipe(options: argparse.Namespace, *overrides: str) -> Any:
    """The WFLW recipe's configuration."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [*words(options, "wflw"), *device(options), *overrides])
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    torch.compiler.reset()
    return cfg


def training_speeds(options: argparse.Namespace) -> Iterator[list[str]]:
    first, last = (3, 9) if options.dry else (15, 90)  # steps
    off = [f"callbacks.{name}=null" for name in ("best", "last", "progress", "learning_rate", "pictures")]
    length = ["trainer.max_epochs=-1", f"trainer.max_steps={last}", "trainer.limit_val_batches=0"]
    nothing = [*off, *length, "+trainer.enable_checkpointing=false", f"output={options.runs / 'steps'}"]
    for way, precision in ways("steps", options.dry):
        cfg = recipe(options, *nothing, f"trainer.precision={precision}")
        regressor, trainer = build_regressor(cfg), build_trainer(cfg, Path(cfg.output))
        if way == COMPILED:
            regressor.network.compile()
        elif way == NCHW:
            regressor.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            regressor.network.register_forward_pre_hook(lambda _, image: (image[0].contiguous(),))
        trainer.profiler, clock = SimpleProfiler(cfg.output, "profile"), Clock(first, last)
        trainer.callbacks.append(clock)
        trainer.fit(regressor, datamodule=build(cfg.dataset))
        seconds = clock.ends[last - 1] - clock.ends[first - 1]
        waits = trainer.profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"][first:last]
        memory = "-"
        if torch.cuda.is_available():
            memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
            torch.cuda.reset_peak_memory_stats()
        yield [way, precision, f"{(last - first) / seconds:.1f}", f"{100 * sum(waits) / seconds:.0f} %", memory]


def inference_speeds(options: argparse.Namespace) -> Iterator[list[str]]:
    for stacks, way, precision in ways("fps", options.dry):
        cfg = recipe(options, f"model.stacks={stacks}", f"trainer.precision={precision}")
        regressor, trainer = build_regressor(cfg), build(cfg.trainer, logger=False, enable_checkpointing=False)
        if way != EAGER:
            regressor.network.compile(mode="reduce-overhead" if way == GRAPHS else "default")
        yield [stacks, way, precision, f"{frames_per_second(regressor, trainer)['fps']:.1f}"]


if __name__ == "__main__":
    main()
