"""Redraw the paper's figures: ``python src/figures.py output=DIR [evaluations=[DIR]]``."""

from awing.training.launch import run_command

if __name__ == "__main__":
    run_command("figures", "awing.report.figures.redraw")
