"""report.html: what a training or an evaluation gave, in figures, sentences and pictures, for a person to read."""

from sagemaker_ssd.report.writing import write_report

__all__ = ["write_report"]
