"""How good the masks are, per patient at the original resolution: ``python -m acdc_medsam.evaluate``."""
