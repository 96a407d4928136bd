"""Evaluate a checkpoint: ``python src/evaluate.py checkpoint=PATH dataset=wflw``; settings: ``conf/evaluate.yaml``."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from awing import cli, engine


@hydra.main(config_path="../conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    engine.evaluate(cfg, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    cli.run(main, "evaluate")
