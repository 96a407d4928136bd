"""Compare finished runs with the paper: ``python src/report.py runs=DIR output=DIR``; see ``conf/report.yaml``."""

from awing.training.launch import run_command

if __name__ == "__main__":
    run_command("report", "awing.report.write_report")
