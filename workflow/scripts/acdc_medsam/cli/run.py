"""``acdc-medsam run``: the workflow in the current folder."""

import click

from acdc_medsam.cli._options import PassOn

EPILOG = """\b
Examples:
  acdc-medsam run                          the whole dataset, with all cores
  acdc-medsam run -n                       show what would be done
  acdc-medsam run images --cores 4         only up to the images
  acdc-medsam run train evaluate           train and evaluate a model
  acdc-medsam run --profile slurm          on a Slurm cluster

\b
Targets: volumes, slices, images, embeddings, dataset, verify, report, provenance,
train, evaluate, benchmark, repair, prune, and the layouts of `acdc-medsam export`.
"""


@click.command(cls=PassOn, epilog=EPILOG)
def command(arguments: tuple[str, ...]) -> None:
    """Run the workflow in this folder.

    If there is a config.yaml, its keys replace the defaults. Everything but --help is passed on to Snakemake, see
    `snakemake --help`. --profile also takes the names of the workflow's own profiles: default and slurm.
    """
    from acdc_medsam.cli._snakemake import run_snakemake

    run_snakemake(arguments)
