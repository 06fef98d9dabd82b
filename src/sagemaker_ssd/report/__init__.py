"""report.html: what a person wants to see of a job, in one file that can be read offline."""

from sagemaker_ssd.report.writing import write_report

__all__ = ["write_report"]
