"""Write synthetic patients: ``python -m acdc_medsam.phantom --out demo/raw --patients 10``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.phantom.cohort import write_cohort


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a cohort as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m acdc_medsam.phantom", description="Write synthetic cardiac MRI patients in ACDC's raw layout."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that gets training/ and testing/")
    parser.add_argument("--patients", type=int, default=10, help="training patients (default: 10)")
    parser.add_argument("--testing", type=int, default=0, help="testing patients (default: 0)")
    parser.add_argument("--depth", type=int, help="slices of each volume (default: drawn from 8 to 12)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of everything drawn (default: 2026)")
    options = parser.parse_args(arguments)
    try:
        folders = write_cohort(
            options.out, options.patients, options.seed, testing=options.testing, depth=options.depth
        )
    except ValueError as error:
        parser.error(str(error))
    print(f"synthetic patients written to {options.out}: {len(folders)}")


if __name__ == "__main__":
    main()
