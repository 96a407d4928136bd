"""Verify, cache, show or import a data set: ``python src/prepare.py dataset=wflw action=verify``."""

from awing.training.launch import run_command

if __name__ == "__main__":
    run_command("prepare", "awing.training.engine.prepare")
