"""Rule write_benchmark: metrics of all folds -> table, results and page of the benchmark."""

from pathlib import Path

from acdc_medsam.runtime.jobs import job_log
from acdc_medsam.train import require_libraries

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        require_libraries()
        from acdc_medsam.benchmark.run import write_benchmark

        write_benchmark(
            folders=[Path(path).parent for path in snakemake.input.evaluated],
            template=Path(snakemake.input.template),
            index=Path(snakemake.output.index),
            settings=snakemake.params.settings,
        )
