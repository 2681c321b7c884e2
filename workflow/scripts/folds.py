"""Rule folds: published dataset -> which patients each fold of a benchmark trains on, and which it measures."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.stages.folds import write_folds
from acdc_medsam.stages.split_rule import SplitRule

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        write_folds(
            manifest=Path(snakemake.input.manifest),
            tables=dict(zip(snakemake.params.folds, map(Path, snakemake.output.tables), strict=True)),
            index=Path(snakemake.output.index),
            folds=snakemake.params.folds,
            subsets=snakemake.params.subsets,
            split=SplitRule(**snakemake.params.split),
        )
