"""Finished runs beside the paper's tables: ``python src/report.py runs=DIR output=DIR``; see ``conf/report.yaml``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("report")
def main(cfg: DictConfig, output: Path) -> None:
    """Write the report, or print what it takes to fill it."""
    from awing.report import print_plan, write_report

    if cfg.plan:
        print_plan(cfg.step_seconds)
    else:
        write_report(cfg, output)


if __name__ == "__main__":
    main()
