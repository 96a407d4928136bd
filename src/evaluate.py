"""Evaluate a checkpoint: ``python src/evaluate.py checkpoint=PATH dataset=wflw``; settings: ``conf/evaluate.yaml``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    from awing.training import engine, launch  # here: worker processes read this file too, and do without

    launch.job(engine.evaluate, cfg)


if __name__ == "__main__":
    from awing.training import launch

    launch.run(main, CONF, "evaluate")
