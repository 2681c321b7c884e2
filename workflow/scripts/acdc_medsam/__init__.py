"""Turns raw ACDC cine MRI into a dataset for fine-tuning MedSAM: the logic behind the workflow's rules."""

__version__ = "0.1.0"
