"""``python -m acdc_medsam`` is the command ``acdc-medsam``."""

import sys

from acdc_medsam.cli import main

if __name__ == "__main__":
    sys.exit(main())
