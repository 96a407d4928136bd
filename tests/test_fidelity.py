"""docs/fidelity.md names configuration keys, values and tests that exist."""

import re
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).parents[1]
TABLE_ROW = re.compile(r"^\|(.*)\|(.*)\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
ROWS = TABLE_ROW.findall((ROOT / "docs" / "fidelity.md").read_text())


def named(column: int) -> list[list[str]]:
    """The words in code of a column, row by row."""
    return [" ".join(re.findall(r"`(.*?)`", row[column])).split() for row in ROWS]


def load(group: str, name: str) -> DictConfig:
    """A file of conf/ with its defaults, from the root."""
    node, parts = OmegaConf.load(ROOT / "conf" / group / f"{name}.yaml"), []
    node.pop("hydra", None)  # of a sweep
    for default in node.pop("defaults", []):
        ((other, choice),) = [(group, default)] if isinstance(default, str) else default.items()
        parts.append(load(other.removeprefix("override /"), choice))
    return OmegaConf.merge(*parts, node if group in ("experiment", "ablation") else {group: node})


def test_fidelity_names_keys_and_values_that_hold(config):
    defaults = config("train")
    OmegaConf.set_struct(defaults, False)
    for words in named(2):
        cfg = defaults
        for key, equals, value in (word.partition("=") for word in words):
            if (ROOT / "conf" / key).is_dir():
                cfg = OmegaConf.merge(cfg, load(key, value))
                continue
            parent, _, last = key.rpartition(".")
            assert last in (OmegaConf.select(cfg, parent) if parent else cfg), key
            assert not equals or OmegaConf.select(cfg, key) == yaml.safe_load(value), key


def test_fidelity_names_tests_that_exist():
    sources = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    tests = {word for words in named(3) for word in words}
    assert len(tests) > 60
    assert not tests - known
