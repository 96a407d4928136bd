"""Finished runs beside the paper's tables: Markdown, CSV and one HTML page; and what those tables cost."""

from awing.report.document import write_report
from awing.report.tables import print_plan

__all__ = ["print_plan", "write_report"]
