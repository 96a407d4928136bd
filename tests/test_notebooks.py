"""The committed notebooks hold what their cells gave; .ci/run executes them anew."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_five():
    assert [file.name[0] for file in NOTEBOOKS] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_committed_as_it_ran_through(file):
    text = file.read_text()
    assert len(text) < 1_000_000
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    for output in outputs:
        said = "".join(output.get("text", []) or output.get("data", {}).get("text/plain", []))
        assert output["output_type"] in ("stream", "display_data", "execute_result"), output
        assert output.get("name", "stdout") == "stdout", said  # no warning
        assert not re.search(r"(?<![\w.])[/\\]\w+[/\\]", said), said  # no path of the machine that it ran on
