"""Rule download_checkpoint: fetch the encoder's weights."""

from pathlib import Path

from acdc_medsam.download import download_checkpoint
from acdc_medsam.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        download_checkpoint(url=snakemake.params.url, sha256=snakemake.params.sha256, path=Path(snakemake.output[0]))
