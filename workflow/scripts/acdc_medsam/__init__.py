"""From raw ACDC cine MRI to a MedSAM fine-tuning dataset: the logic behind the workflow's rules."""

__version__ = "0.1.0"
