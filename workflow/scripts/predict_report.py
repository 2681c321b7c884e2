"""Rule predict_report: prepared scans and their masks -> measurements, pictures and the page on all of them."""

from pathlib import Path

from acdc_medsam.predict.report import report_scans
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        report_scans(
            prepared=[Path(path) for path in snakemake.input.prepared],
            unusable=snakemake.params.unusable,
            model=Path(snakemake.input.model),
            encoder=snakemake.params.encoder,
            output=Path(snakemake.params.output),
            template=Path(snakemake.input.template),
            index=Path(snakemake.output.index),
            threads=snakemake.threads,
        )
