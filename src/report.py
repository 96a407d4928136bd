"""Finished runs beside the paper's tables: ``python src/report.py runs=DIR output=DIR``; see ``conf/report.yaml``."""

from pathlib import Path

from omegaconf import DictConfig

from awing.training.launch import command


@command("report")
def main(cfg: DictConfig, output: Path) -> None:
    """Write the report."""
    from awing.report import write_report

    write_report(cfg, output)


if __name__ == "__main__":
    main()
