"""Redraw the paper's figures: ``python src/figures.py output=DIR [evaluations=[DIR]]``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("figures")
def main(cfg: DictConfig, output: Path) -> None:
    """Print the files, and what was left out."""
    from awing.report.figures import redraw

    print(*redraw(cfg, output), sep="\n")
    if not cfg.checkpoints:
        print("left out: figure 2, which needs two trained networks (checkpoints=[PATH,PATH] dataset=NAME)")
    if not cfg.evaluations:
        print("left out: figures 9 and 10, which need evaluations (evaluations=[DIR,...])")


if __name__ == "__main__":
    main()
