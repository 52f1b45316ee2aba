"""The report: one static page for finance leads, made of the published file alone."""

from publish.report.page import ReportError, build_of, write_report

__all__ = ["ReportError", "build_of", "write_report"]
