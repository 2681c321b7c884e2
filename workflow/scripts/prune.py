"""Rule prune: remove embeddings that no table names."""

from pathlib import Path

from acdc_medsam.encoders.store import prune_store
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        prune_store([Path(path) for path in snakemake.input.tables])
