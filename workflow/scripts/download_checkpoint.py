"""Rule download_checkpoint: address -> the weights of the encoder."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.download_checkpoint import download_checkpoint

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        download_checkpoint(url=snakemake.params.url, sha256=snakemake.params.sha256, path=Path(snakemake.output[0]))
