"""Run an entry point so that a mistake ends in a sentence, not in a traceback."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from awing.errors import AwingError

CONFIG_DIR = Path(__file__).resolve().parents[2] / "conf"


def run(main: Callable[[], None], config_name: str) -> None:
    """Call a ``hydra.main`` function; print known errors with the nearest valid name and exit with 1.

    Set HYDRA_FULL_ERROR=1 for tracebacks.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
    try:
        main()
    except AwingError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}{_nearest(error, config_name)}")


def _nearest(error: Exception, config_name: str) -> str:
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        wrong, known = Path(str(error.missing_cfg_file)).name, list(error.options)
    elif match := re.search(r"Could not override '([^']+)'", str(error)):
        wrong, known = match[1], list(_keys(config_name))
    else:
        return ""
    near = get_close_matches(wrong, known, n=1)
    return f"\nDid you mean {near[0]!r}?" if near else ""


def _keys(config_name: str) -> Iterator[str]:
    """Every dotted key of the configuration as it is with the group choices of the command line."""
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w/]+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose(config_name, groups)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in map(str, node):
            yield f"{prefix}{key}"
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                yield from walk(child, f"{prefix}{key}.")

    yield from walk(cfg, "")
