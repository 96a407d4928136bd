"""Finished runs beside the paper's tables: Markdown, CSV and one HTML page."""

from awing.report.document import write_report

__all__ = ["write_report"]
