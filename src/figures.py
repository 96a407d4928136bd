"""Redraw the paper's figures: ``python src/figures.py output=DIR [checkpoint=PATH dataset=wflw]``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("figures")
def main(cfg: DictConfig, output: Path) -> None:
    """Print the files, and what was left out."""
    from awing.report.figures import redraw

    print(*redraw(cfg, output), sep="\n")
    if not cfg.checkpoint:
        print("left out: figures 9 and 10, which need a trained network (checkpoint=PATH dataset=NAME)")
    if not cfg.checkpoint_mse:
        print("left out: figure 2, which needs another one trained with MSE (checkpoint_mse=PATH)")


if __name__ == "__main__":
    main()
