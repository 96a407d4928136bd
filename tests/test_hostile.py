"""Files of strangers: whatever is in them gives a value or a sentence, within time and memory, and leaves no folder."""

import ast
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-W", "ignore", "-c", "import awing, hostile; hostile.main()"]  # awing first: OpenCV's limit
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
FEW = 10
MANY = {
    "wflw": 800, "pts": 800, "boxes.mat": 600, "aflw": 600, "lsp": 600, "cofw": 1000, "csv": 800, "coco": 900,
    "scheme": 800,
    "ckpt": 500, "safetensors": 500, "official": 200, "confidence": 200, "image": 1000, "video": 300, "boxes.csv": 300,
    "report": 160, "figures": 40, "cache": 200, "rendered": 100,
}  # fmt: skip


# Damaged files


def read_damaged(names: Iterable[str], count: int) -> dict[str, list[dict]]:
    """What became of each input of each loader: a crash or a hang is the outcome of the input that was being read."""
    found: dict[str, list[dict]] = {name: [] for name in names}
    while words := [word for name, read in found.items() if len(read) < count for word in (name, len(read), count)]:
        done = subprocess.run(
            [*COMMAND, *map(str, words)], env=ENVIRONMENT, capture_output=True, text=True, errors="replace"
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert said, done.stderr[-3000:]
        if "outcome" not in said[-1]:
            said[-1]["outcome"] = f"ended by {done.returncode}:\n{done.stderr[-3000:]}"
        for line in said:
            if "outcome" in line:
                found[line["loader"]].append(line)
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
    check_outcomes(read_damaged(MANY, FEW))


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_many_damaged_files_give_a_value_or_a_sentence(name, capsys):
    start = time.monotonic()
    found = read_damaged([name], MANY[name])
    seconds = time.monotonic() - start
    counts = dict(Counter(line["outcome"].splitlines()[0] for line in found[name]))
    slowest = max(line.get("seconds", 0) for line in found[name])
    with capsys.disabled():
        print(f"\n{name}: {len(found[name])} inputs, {MANY[name] / seconds:.0f}/s, slowest {slowest:.1f} s, {counts}")
    check_outcomes(found)
    # a video's frames carry its error; a cache that cannot be used is made anew, runs that cannot be read are listed
    assert counts.get("refused") or name in ("video", "cache", "report", "figures")
    assert counts.get("value") or name in ("rendered", "confidence")


def test_the_slow_suite_reads_ten_thousand_files():
    assert sum(MANY.values()) >= 10_000


# Small files that claim or unpack to much


def test_what_claims_much_takes_little():
    command = [sys.executable, "-W", "ignore", "-c", "import awing, bombs; bombs.main()"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) > 30, done.stderr[-3000:]
    for bomb in found:
        # a report lists what it cannot read; a video's frames carry its error
        kept = bomb["bomb"].startswith(("report", "video"))
        assert bomb["outcome"] == ("value" if kept else "refused"), bomb
        assert bomb["seconds"] < 60 and bomb["megabytes"] < 800, bomb


# No code of theirs runs


def test_nothing_here_runs_what_a_file_says():
    """No eval, exec or pickle; torch reads weights only, YAML is safe, NumPy reads no objects."""
    refused = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                if names & {"pickle", "marshal", "shelve", "dill", "joblib"}:
                    refused.append((file.name, node.lineno))
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                arguments = {word.arg: ast.unparse(word.value) for word in node.keywords}
                if (
                    called in ("eval", "exec", "compile", "__import__", "os.system", "yaml.load", "yaml.unsafe_load")
                    or (called == "torch.load" and arguments.get("weights_only") != "True")
                    or "allow_pickle" in arguments
                    or "shell" in arguments
                ):
                    refused.append((file.name, node.lineno))
    assert not refused
