"""Command line: ``python -m acdc_medsam verify data/ACDC``, ``python -m acdc_medsam weights lite_medsam FILE``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.index import Digests, check_indexes
from acdc_medsam.layout import MANIFEST, PROVENANCE, find_indexes
from acdc_medsam.verify.copy import OUTPUT, check_copy


def verify(options: argparse.Namespace) -> int:
    """Compare a dataset with its provenance.json, and in its place also what it was made from in ``work/``.

    Returns:
        0 if they agree, 1 with a line for each difference, 2 without a dataset.
    """
    root: Path = options.dataset
    if not root.is_dir():
        return _usage(f"{root} is not a folder; give the folder that holds {PROVENANCE}, such as data/ACDC")
    if not any((root / name).exists() for name in (PROVENANCE, MANIFEST)):
        return _usage(f"{root} holds no {PROVENANCE}; give the folder that does, such as data/ACDC")
    digest = Digests()
    files, differences = check_copy(root, options.threads, digest)
    work = root / OUTPUT / "work"
    in_place = (work / "published.tsv").is_file()
    if in_place:
        findings = check_indexes(
            find_indexes(work),
            [work / "split.tsv"],
            root / OUTPUT,
            read_all=True,
            threads=options.threads,
            digest=digest,
        )
        known = {name for name, _ in differences}
        damaged = {os.path.relpath(path, root): reason for path, reason in findings.files.items()}
        # What is published is named once, as below the dataset's folder or as an H5 file.
        new = [name for name in damaged if name not in known and name.removeprefix(f"{OUTPUT}/") not in known]
        differences += [(name, damaged[name]) for name in sorted(new)]
        files += findings.read
    for name, reason in differences:
        print(f"{name if name.isprintable() else ascii(name)}: {reason}")
    if differences:
        print(f"{root} is not as {PROVENANCE} says; differences: {len(differences)}")
        if in_place:
            print("the command that made it, with the target `repair`, makes what is damaged again: snakemake repair")
        return 1
    print(f"{root}: all {files} files are as {PROVENANCE} says")
    return 0


def check_weights(options: argparse.Namespace) -> int:
    """Load a checkpoint as an embedding job does; 0 if it can be used, 1 with what is wrong with it."""
    from acdc_medsam.encoders import load_model

    try:
        load_model(options.encoder, options.checkpoint, options.sha256)
    except CheckpointError as error:
        print(error)
        return 1
    print(f"{options.checkpoint}: the weights of {options.encoder}")
    return 0


def positive(text: str) -> int:
    """Read a whole number from 1; ValueError, which argparse puts into words, for anything else."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def _usage(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m acdc_medsam", description="Tools for a dataset made from ACDC.")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("verify", help=f"compare each file of a dataset with its {PROVENANCE}")
    command.add_argument("dataset", type=Path, help="folder of the dataset, such as data/ACDC")
    threads = min(16, os.cpu_count() or 1)
    command.add_argument("--threads", type=positive, default=threads, help=f"files read at a time (here: {threads})")
    command.set_defaults(run=verify)
    command = commands.add_parser("weights", help="look whether a checkpoint can be used, without running it")
    command.add_argument("encoder", choices=ENCODERS, help="what encoder.name in config.yaml says")
    command.add_argument("checkpoint", type=Path, help="file of weights")
    command.add_argument("--sha256", help="what its sha256 must be, in hex")
    command.set_defaults(run=check_weights)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
