"""Programs that measure: that they run."""

import os
import subprocess
import sys

import pytest
from tiny import ROOT


@pytest.mark.slow
def test_gpu_runs_every_part_on_a_cpu(tmp_path):
    page, environment = tmp_path / "gpu.md", os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = ["benchmarks/gpu.py", "--dry", "--runs", str(tmp_path / "runs"), "--output", str(page)]
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
    text = page.read_text()
    assert text.count("\n## ") == 5
    assert not [word for word in ("failed", "not reached", "| none") if word in text]
