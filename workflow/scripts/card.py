"""Rule card: manifest and checks -> dataset card and Croissant description."""

from pathlib import Path

from acdc_medsam.card.card import write_card
from acdc_medsam.runtime.jobs import job_log

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        write_card(
            manifest=Path(snakemake.input.manifest),
            quality=Path(snakemake.input.quality),
            template=Path(snakemake.input.template),
            card=Path(snakemake.output.card),
            croissant=Path(snakemake.output.croissant),
            index=Path(snakemake.output.index),
            settings=snakemake.params.settings,
        )
