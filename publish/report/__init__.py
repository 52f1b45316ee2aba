"""The report: one static page for finance leads, made of the published file alone."""

from publish.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
