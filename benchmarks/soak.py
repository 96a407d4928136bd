"""Train for an hour and record every five minutes the resources in use: memory, files, processes, /dev/shm.

    python benchmarks/soak.py --minutes 60 --output /tmp/soak

The quickstart's network on rendered faces, two persistent DataLoader workers, validation and pictures in every epoch.
Memory is the proportional set size (PSS) of all the training's processes, in which shared memory counts once.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
WORDS = [
    "experiment=quickstart", "callbacks.progress=null", "data.num_workers=2", "callbacks.pictures.every_n_epochs=1",
    "optim=rmsprop", "trainer.max_epochs=100000", "test=false",
]  # fmt: skip


def measure(process: psutil.Process) -> dict[str, int]:
    """Resources that a process and its children hold; children that end meanwhile are not counted."""
    sums = {"MB": 0, "files": 0, "processes": 0, "threads": 0}
    for one in [process, *process.children(recursive=True)]:
        try:
            found = {
                "MB": one.memory_full_info().pss, "files": one.num_fds(), "processes": 1, "threads": one.num_threads(),
            }  # fmt: skip
        except psutil.NoSuchProcess:
            continue
        sums = {key: sums[key] + value for key, value in found.items()}
    sums["MB"] //= 2**20
    sums["/dev/shm KB"] = psutil.disk_usage("/dev/shm").used // 2**10
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="minutes between two rows")
    parser.add_argument("--output", type=Path, default=Path("/tmp/soak"))
    settings = parser.parse_args()
    run, log = settings.output / "run", settings.output / "log.txt"
    settings.output.mkdir(parents=True, exist_ok=True)
    words = [*WORDS, f"output={run}", f"paths.data_dir={settings.output / 'data'}"]
    console, pictures = Console(), run / "pictures"
    with log.open("wb") as stream:
        training = subprocess.Popen([sys.executable, "src/train.py", *words], stdout=stream, stderr=stream, cwd=ROOT)
    try:
        while not list(pictures.glob("overlay_epoch002.png")):  # all that is made once is made
            time.sleep(1)
            if training.poll() is not None:
                sys.exit(f"the training ended, see {log}")
        begun, table = time.monotonic(), None
        while (minutes := (time.monotonic() - begun) / 60) < settings.minutes + 1:
            found = measure(psutil.Process(training.pid))
            row = {"minute": f"{minutes:.0f}", "epoch": len(list(pictures.glob("overlay_*"))), **found}
            print(*(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)
            table = table or Table(*row, box=box.MARKDOWN)
            table.add_row(*map(str, row.values()))
            time.sleep(60 * settings.every)
            if training.poll() is not None:
                sys.exit(f"the training ended, see {log}")
        console.print(table)
    finally:
        training.terminate()
        training.wait()


if __name__ == "__main__":
    main()
