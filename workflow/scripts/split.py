"""Rule split: tables of slices -> which slice goes to train, val or test."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.split import split_dataset
from acdc_medsam.stages.split_rule import SplitRule

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        split_dataset(
            tables=[Path(path) for path in snakemake.input.tables],
            table=Path(snakemake.output.table),
            rule=SplitRule(**snakemake.params.split),
            file=Path(snakemake.input.file) if snakemake.input.file else None,
        )
