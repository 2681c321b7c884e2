"""Rule accept: fail with a list of what is wrong, unless every check of quality.json passed."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.verify.accept import accept_dataset

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        accept_dataset(verified=Path(snakemake.input.index), accepted=Path(snakemake.output.accepted))
