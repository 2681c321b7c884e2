"""Evaluate the masks of whole patients at the original resolution: ``python -m acdc_medsam.evaluate``."""
