"""Evaluate a checkpoint: ``python src/evaluate.py checkpoint=PATH dataset=wflw``; settings: ``conf/evaluate.yaml``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("evaluate")
def main(cfg: DictConfig, output: Path) -> None:
    """Evaluate one split of one data set."""
    from awing.training.engine import evaluate  # here: loading processes read this file too, and do without

    evaluate(cfg, output)


if __name__ == "__main__":
    main()
