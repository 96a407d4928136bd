"""Finished runs beside the paper's tables: ``python src/report.py runs=DIR output=DIR``; see ``conf/report.yaml``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

CONF = Path(__file__).resolve().parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="report", version_base="1.3")
def main(cfg: DictConfig) -> None:
    from awing.report import write_report
    from awing.training import launch

    launch.job(write_report, cfg)


if __name__ == "__main__":
    from awing.training import launch

    launch.run(main, CONF, "report")
