"""Rule prepare_scan: a NIfTI file -> the scan, normalized, or the reason why it cannot be used."""

from pathlib import Path

from acdc_medsam.predict.find_scans import ScanFile
from acdc_medsam.predict.prepared import prepare_files
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        prepare_files(
            file=ScanFile(Path(snakemake.input[0]), snakemake.wildcards.scan, snakemake.params.subject),
            index=Path(snakemake.output.index),
            percentile=snakemake.params.percentile,
            announced=snakemake.params.sources,
        )
