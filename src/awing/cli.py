"""Run an entry point so that a mistake ends in a sentence, not in a traceback."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from awing.errors import AwingError, ConfigError, did_you_mean


def run(main: Callable[[], None], config_dir: Path, config_name: str) -> None:
    """Call a ``hydra.main`` function; print known errors with the nearest valid name and exit with 1.

    Set HYDRA_FULL_ERROR=1 for tracebacks.
    """
    for message in (
        "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own affair
        "Experiment logs directory",  # a run's folder holds config.yaml before the CSV logger starts
        "Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its folder
    ):
        warnings.filterwarnings("ignore", message=message)
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    try:
        main()
    except AwingError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}\n{_nearest(error, config_dir, config_name).strip()}".rstrip())


def output_folder(cfg: DictConfig) -> Path:
    """The folder of this job, the same for every process of it.

    Raises:
        ConfigError: a sweep job of several devices; a folder of the moment for several tasks, or to resume in.
    """
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN and OmegaConf.select(cfg, "trainer.devices", default=1) != 1:
        raise ConfigError(
            "a sweep job is one process with one device: leave trainer.devices at 1, or train value by value without -m"
        )
    of_now = "${now:" in str(OmegaConf.to_container(cfg)["output"]) and hydra.run.dir == cfg.output  # type: ignore[index, call-overload]
    if of_now and cfg.get("resume") == "auto":
        raise ConfigError("resume=auto needs the folder of the run: output=DIR")
    tasks = int(os.environ.get("SLURM_NTASKS" if "SLURM_PROCID" in os.environ else "WORLD_SIZE", "1"))
    if tasks > 1 and of_now:
        raise ConfigError(f"{tasks} tasks start at different seconds: name one folder for all of them with output=DIR")
    return Path(hydra.runtime.output_dir)


def _nearest(error: Exception, config_dir: Path, config_name: str) -> str:
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return did_you_mean(Path(str(error.missing_cfg_file)).name, error.options)
    if match := re.search(r"Could not override '([^']+)'", str(error)):
        return did_you_mean(match[1], _keys(config_dir, config_name))
    return ""


def _keys(config_dir: Path, config_name: str) -> Iterator[str]:
    """Every dotted key of the configuration as it is with the group choices of the command line."""
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w/]+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        try:
            cfg = compose(config_name, groups)
        except HydraException:  # one of them is what is wrong
            cfg = compose(config_name)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in map(str, node):
            yield f"{prefix}{key}"
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                yield from walk(child, f"{prefix}{key}.")

    yield from walk(cfg, "")
