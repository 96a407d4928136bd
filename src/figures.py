"""Redraw the paper's figures: ``python src/figures.py output=DIR [checkpoint=PATH dataset=wflw]``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="figures", version_base="1.3")
def main(cfg: DictConfig) -> None:
    from awing.report.redrawing import redraw
    from awing.training import launch

    print(*launch.job(redraw, cfg), sep="\n")
    if not cfg.checkpoint:
        print("left out: figures 9 and 10, which need a trained network (checkpoint=PATH dataset=NAME)")
    if not cfg.checkpoint_mse:
        print("left out: figure 2, which needs another one trained with MSE (checkpoint_mse=PATH)")


if __name__ == "__main__":
    from awing.training import launch

    launch.run(main, CONF, "figures")
