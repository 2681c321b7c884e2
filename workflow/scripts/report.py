"""Rule write_report: manifest, checks, measures and pictures -> one page."""

from pathlib import Path

from acdc_medsam.report.page import ReportInputs, write_report
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = ReportInputs(
            **{name: Path(snakemake.input[name]) for name in ("manifest", "quality", "measures", "published")},
            embeddings=[Path(path) for path in snakemake.input.embeddings],
            benchmarks=Path(snakemake.params.benchmarks),
            template=Path(snakemake.input.template),
            metrics=Path(snakemake.params.metrics),
            benchmark_results=Path(snakemake.params.benchmark_results),
        )
        write_report(
            inputs=inputs,
            report=Path(snakemake.output.report),
            index=Path(snakemake.output.index),
            settings=snakemake.params.settings,
            code=snakemake.params.code,
            threads=snakemake.threads,
        )
