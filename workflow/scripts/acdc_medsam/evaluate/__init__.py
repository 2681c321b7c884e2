"""Evaluate the masks of whole patients at the original resolution: ``acdc-medsam evaluate``."""
