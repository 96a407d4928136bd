"""Verify, cache, show or import a data set: ``python src/prepare.py dataset=wflw action=verify``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("prepare")
def main(cfg: DictConfig, output: Path) -> None:
    """Exit with 1 where "verify" finds a problem, or "import" what it cannot read."""
    from awing.training.engine import prepare

    if not prepare(cfg, output):
        sys.exit(1)


if __name__ == "__main__":
    main()
