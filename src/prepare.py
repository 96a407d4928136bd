"""Verify, cache or show a data set: ``python src/prepare.py dataset=wflw action=verify``."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="prepare", version_base="1.3")
def main(cfg: DictConfig) -> None:
    from awing.training import engine, launch

    if not launch.job(engine.prepare, cfg):
        sys.exit(1)


if __name__ == "__main__":
    from awing.training import launch

    launch.run(main, CONF, "prepare")
