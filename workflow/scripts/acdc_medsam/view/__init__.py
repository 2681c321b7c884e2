"""Look at a dataset and try its decoder, on a page that this machine serves to itself: ``acdc-medsam view``."""
