"""Protocols that runs must meet to fill a cell: all values of the composed experiment, and all faces and steps."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from awing.report.runs import Run
from awing.training.engine import complete_config
from awing.training.launch import CONF
from awing.training.resume import training_settings

PAPER = yaml.safe_load(Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8"))
NAMED = {"ablation": "report.row", "dataset": "dataset.name"}  # config group -> key that names the chosen option
# Prefixes of keys that exist for every choice of options: a run without one of these keys is of another version.
ALWAYS = ("codec.", "model.", "training.", "data.", "trainer.", "dataset.c", "dataset.val_fraction")
Override = tuple[str, Any]


@dataclass(frozen=True, eq=False)
class Protocol:
    """Protocol of one training of a table, and of its test."""

    words: tuple[str, ...]  # arguments of src/train.py
    place: Mapping[str, Any]  # keys of config.yaml that distinguish it from the table's other trainings, and values
    training: Mapping[str, Any]  # values of the configuration that determine its weights
    dataset: str  # name of the data set that it is tested on

    @property
    def label(self) -> str:
        """Short text that distinguishes it from the table's other trainings."""
        names = {key: "" if key in NAMED.values() else f"{key.split('.')[-1]} " for key in self.place}
        return ", ".join(f"{names[key]}{text(value)}" for key, value in self.place.items()) or "all runs"

    def differences(self, run: Run) -> tuple[str, ...]:
        """Differences of a run from this protocol, in words, each with the protocol's value and its origin."""
        keys = [k for k in sorted({*self.training, *run.training}) if self.training.get(k) != run.training.get(k)]
        classes = tuple(key.removesuffix("_target_") for key in keys if key.endswith("._target_"))
        implied = [k for k in keys if run.training.get(k) is None and k.startswith(classes)]  # by another class
        shown = [k for k in keys if not (k in implied or k.startswith("dataset.loader."))] or keys
        texts = [f"{k} is {text(run.training.get(k))} ({self.origin(k)}: {text(self.training.get(k))})" for k in shown]
        return (*texts, *self._tested_otherwise(run))

    def origin(self, key: str) -> str:
        """Origin of a value: "paper" and the section, or "chosen here"."""
        section = PAPER["stated"].get(key)
        if key == "dataset.crop_scale" and self.training["dataset.crop"] != "provided":
            section = None
        return f"paper, {section}" if section else "chosen here"

    def _tested_otherwise(self, run: Run) -> Iterator[str]:
        if not (results := run.results):
            return
        yield from _left_out(run)
        wanted: dict[str, Any] = {"dataset": self.dataset, "split": "test", "faces": "official test faces"}
        if run.evaluation:  # the test of a training follows its own configuration
            keys = {"crop": "dataset.crop", "crop_scale": "dataset.crop_scale", "decoder": "codec.decoder",
                    "precision": "trainer.precision", "visible_only": "dataset.reader.visible_only"}  # fmt: skip
            wanted |= {"flip_test": False, **{name: self.training.get(key) for name, key in keys.items()}}
            if (name := Path(results["checkpoint"]).name) != "best.ckpt":
                yield f"tested {name}, not best.ckpt"
        for name, value in wanted.items():
            if results.get(name) != value:
                yield f"tested with {name} {text(results.get(name))}, not {text(value)}"


@cache
def paper_protocol(table: str, job: tuple[Override, ...], settings: tuple[Override, ...] = ()) -> Protocol:
    """The protocol of a table's experiment with some overrides; ``job`` holds those that the table varies."""
    words = (f"experiment={table}", *(f"{key}={value}" for key, value in (*job, *settings)))
    cfg = OmegaConf.create(_composed(*(word for word in words if "." not in word.partition("=")[0])))
    for key, value in (*job, *settings):
        if "." in key:
            OmegaConf.update(cfg, key, value)
    complete_config(cfg)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    place = {NAMED.get(key, key): OmegaConf.select(cfg, NAMED.get(key, key)) for key, _ in job}
    return Protocol(words, place, training_settings(config), cfg.dataset.name)


@cache
def _composed(*words: str) -> DictConfig:
    of_command = GlobalHydra.instance().is_initialized()  # by src/report.py, with the same folder
    with nullcontext() if of_command else initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*words])


def of_another_version(run: Run, protocol: Protocol) -> str:
    """Why a tested run cannot be compared with runs of this version: keys that it lacks; "" if it can be compared."""
    keys = [key for key in protocol.training if key.startswith(ALWAYS)]
    lacking = [key for key in keys if not any(known.startswith(key) for known in run.values)]  # a scheme may be a node
    return shorten(f"config.yaml of another version, without {', '.join(lacking)}", 150) if lacking else ""


def text(value: Any) -> str:
    """Format a value for printing."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _left_out(run: Run) -> Iterator[str]:
    """Messages about faces that were not scored or not trained on, and about steps that were not made."""
    results = run.results
    count, expected = results["subsets"]["full"]["count"], results["expected"]
    if not count == results["found"] == expected:
        yield f"{min(count, results['found'])} of {expected} test faces"
    if (trained := results.get("trained")) is None:
        yield "its metrics.json does not say how many steps were made, on how many faces"
        return
    if trained["found"] != trained["expected"]:
        yield f"{trained['found']} of {trained['expected']} training faces"
    steps = run.get("trainer.max_epochs", 0) * (trained["found"] // run.get("data.batch_size", 1))
    if trained["steps"] != steps:
        yield f"{trained['steps']} steps, not {steps}"
