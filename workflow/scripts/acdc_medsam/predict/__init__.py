"""Segment scans that are in no dataset: ``acdc-medsam predict --model training/model.pth SCAN``."""
