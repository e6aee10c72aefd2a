"""The report: finished folders read, and put on one page."""

from esegeta.compare.pages.build import report_place, write_report

__all__ = ["report_place", "write_report"]
