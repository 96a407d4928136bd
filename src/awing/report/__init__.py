"""Comparison of finished runs with the paper's tables, as Markdown, CSV and one HTML page; cost of those tables."""

from awing.report.document import write_report
from awing.report.tables import print_plan

__all__ = ["print_plan", "write_report"]
