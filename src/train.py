"""Train a landmark detector: ``python src/train.py dataset=wflw loss=awing``; settings: ``conf/train.yaml``."""

from awing.training.launch import run_command

if __name__ == "__main__":
    run_command("train", "awing.training.engine.fit")
