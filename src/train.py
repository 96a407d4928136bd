"""Train a landmark detector: ``python src/train.py dataset=wflw loss=awing``; settings: ``conf/train.yaml``."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from awing import cli, engine


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    engine.fit(cfg, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    cli.run(main, "train")
