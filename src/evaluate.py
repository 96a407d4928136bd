"""Evaluate a checkpoint: ``python src/evaluate.py checkpoint=PATH dataset=wflw``; settings: ``conf/evaluate.yaml``."""

from awing.training.launch import run_command

if __name__ == "__main__":
    run_command("evaluate", "awing.training.engine.evaluate")
