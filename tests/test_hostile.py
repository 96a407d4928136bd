"""Files of strangers: whatever is in them gives a value or a sentence, within time and memory, and leaves no folder."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-W", "ignore", "-c", "import awing, hostile; hostile.main()"]  # awing first: OpenCV's limit
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
FEW = 20
MANY = {
    "wflw": 800, "pts": 800, "boxes.mat": 600, "aflw": 600, "lsp": 600, "cofw": 1000, "csv": 800, "coco": 900, "scheme": 800,
    "ckpt": 500, "safetensors": 500, "official": 200, "confidence": 200, "image": 1000, "video": 300, "boxes.csv": 300,
    "report": 160, "figures": 40, "cache": 200, "rendered": 100,
}  # fmt: skip


# Damaged files


def read_damaged(names: list[str], first: int, last: int) -> dict[str, list[dict]]:
    """What became of each input of each loader: a crash or a hang is the outcome of the input that was being read."""
    found: dict[str, list[dict]] = {name: [] for name in names}
    for name in names:
        at = first
        while at < last:
            done = subprocess.run(
                [*COMMAND, name, str(at), str(last)], env=ENVIRONMENT, capture_output=True, text=True, errors="replace"
            )
            said = [json.loads(line) for line in done.stdout.splitlines()]
            assert said, done.stderr[-3000:]
            found[name] += [line for line in said if "outcome" in line]
            if "outcome" not in said[-1]:
                found[name].append(said[-1] | {"outcome": f"ended by {done.returncode}:\n{done.stderr[-3000:]}"})
            at = said[-1]["number"] + 1
    return found


def check_outcomes(found: dict[str, list[dict]]) -> None:
    bad = [
        f"{name} {line['number']} (tests/hostile.py {name} {line['number']}):\n{line['outcome']}"
        for name, lines in found.items()
        for line in lines
        if line["outcome"] not in ("value", "refused")
    ]
    assert not bad, f"{len(bad)} inputs:\n" + "\n".join(bad[:5])


def test_a_few_damaged_files_of_every_kind_give_a_value_or_a_sentence():
    check_outcomes(read_damaged(["all"], 0, FEW))


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_many_damaged_files_give_a_value_or_a_sentence(name, capsys):
    start = time.monotonic()
    found = read_damaged([name], 0, MANY[name])
    seconds = time.monotonic() - start
    counts = Counter(line["outcome"].splitlines()[0] for line in found[name])
    with capsys.disabled():
        slowest = max(line.get("seconds", 0) for line in found[name])
        print(
            f"\n{name}: {len(found[name])} inputs, {len(found[name]) / seconds:.0f}/s, slowest {slowest:.1f} s, {dict(counts)}"
        )
    assert len(found[name]) == MANY[name]
    check_outcomes(found)
    assert counts["refused"] and (counts["value"] or name in ("rendered", "confidence")), "damage that nobody notices"


def test_the_slow_suite_reads_ten_thousand_files():
    assert sum(MANY.values()) >= 10_000
