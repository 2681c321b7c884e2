"""Rule write_provenance: indexes of all stages and the dataset's documents -> provenance.json."""

from pathlib import Path

from acdc_medsam.jobs import job_log
from acdc_medsam.provenance import Indexes, write_provenance

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        given, provenance = snakemake.input, Path(snakemake.output.provenance)
        write_provenance(
            indexes=Indexes(Path(given.index), [*map(Path, given.h5)], [*map(Path, given.embeddings)]),
            documents=[Path(path) for path in given.documents],
            provenance=provenance,
            output=provenance.parents[2],
            configuration=snakemake.params.configuration,
            code=snakemake.params.stages,
            project=Path(snakemake.scriptdir).resolve().parents[1],
        )
