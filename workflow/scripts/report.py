"""Rule report: manifest, checks and pictures -> one page."""

from pathlib import Path

from acdc_medsam.jobs import job_log
from acdc_medsam.report import write_report

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        write_report(
            manifest=Path(snakemake.input.manifest),
            quality=Path(snakemake.input.quality),
            template=Path(snakemake.input.template),
            report=Path(snakemake.output.report),
            settings=snakemake.params.settings,
        )
