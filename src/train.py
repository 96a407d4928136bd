"""Train a landmark detector: ``python src/train.py dataset=wflw loss=awing``; settings: ``conf/train.yaml``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("train")
def main(cfg: DictConfig, output: Path) -> float | None:
    """Train, then test; the validation NME is what a Hydra sweeper minimises."""
    from awing.training.engine import fit  # here: loading processes read this file too, and do without

    return fit(cfg, output).get("val_nme_best")


if __name__ == "__main__":
    main()
