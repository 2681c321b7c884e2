"""Rule write_provenance: indexes of all stages and the dataset's documents -> provenance.json."""

from pathlib import Path

from acdc_medsam.provenance.write import Indexes, write_provenance
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        lists = {key: [Path(path) for path in snakemake.input[key]] for key in ("h5", "embeddings", "documents")}
        provenance = Path(snakemake.output.provenance)
        write_provenance(
            indexes=Indexes(published=Path(snakemake.input.index), **lists),
            provenance=provenance,
            index=Path(snakemake.output.index),
            output=provenance.parents[2],
            configuration=snakemake.params.configuration,
            code=snakemake.params.stages,
            project=Path(snakemake.scriptdir).resolve().parents[1],
        )
