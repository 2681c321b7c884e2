"""Command line: ``python -m acdc_medsam verify data/ACDC``, ``python -m acdc_medsam weights lite_medsam FILE``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.index_check import Digests, check_indexes
from acdc_medsam.layout import MANIFEST, PROVENANCE, find_indexes
from acdc_medsam.verify.copy import OUTPUT, Difference, check_copy


def verify(options: argparse.Namespace) -> int:
    """Compare a dataset with its provenance.json and, where ``work/`` is still there, with what it was made from.

    Returns:
        0 if everything matches, 1 after printing a line for each difference, 2 if there is no dataset.
    """
    root: Path = options.dataset
    if not root.is_dir():
        return _report_usage(f"{root} is not a folder; give the folder that holds {PROVENANCE}, such as data/ACDC")
    if not any((root / name).exists() for name in (PROVENANCE, MANIFEST)):
        return _report_usage(f"{root} holds no {PROVENANCE}; give the folder that does, such as data/ACDC")

    digest = Digests()
    files, differences = check_copy(root, options.threads, digest)
    work = root / OUTPUT / "work"
    has_work = (work / "published.tsv").is_file()
    if has_work:
        files_of_work, more = _check_work(root, work, options.threads, digest, {name for name, _ in differences})
        files += files_of_work
        differences += more

    for name, reason in differences:
        print(f"{name if name.isprintable() else ascii(name)}: {reason}")
    if not differences:
        print(f"{root}: all {files} files match {PROVENANCE}")
        return 0
    print(f"{root} does not match {PROVENANCE}; differences: {len(differences)}")
    if has_work:
        print("to make what is damaged again, run the command that made the dataset with `repair`: snakemake repair")
    return 1


def _check_work(root: Path, work: Path, threads: int, digest: Digests, known: set[str]) -> tuple[int, list[Difference]]:
    """Read every file that the indexes in ``work/`` name.

    Args:
        root: The dataset's folder.
        work: The folder ``work/`` that the dataset was made in.
        threads: Number of files read at a time.
        digest: Sha256 of files, with those that were read before.
        known: Names of files that are known to differ, as below the dataset's folder or as H5 files.

    Returns:
        Number of files read, and the differences that are not known yet.
    """
    indexes = find_indexes(work)
    tables = [work / "split.tsv"]
    findings = check_indexes(indexes, tables, root / OUTPUT, read_all=True, threads=threads, digest=digest)

    damaged = {os.path.relpath(path, root): reason for path, reason in findings.files.items()}
    # A published file is below the dataset's folder or an H5 file, and must not be listed a second time.
    new = [name for name in damaged if name not in known and name.removeprefix(f"{OUTPUT}/") not in known]
    return findings.read, [(name, damaged[name]) for name in sorted(new)]


def check_weights(options: argparse.Namespace) -> int:
    """Load a checkpoint as an embedding job does.

    Returns:
        0 if it can be used, 1 after printing what is wrong with it.
    """
    from acdc_medsam.encoders import load_model

    try:
        load_model(options.encoder, options.checkpoint, options.sha256)
    except CheckpointError as error:
        print(error)
        return 1
    print(f"{options.checkpoint}: the weights of {options.encoder}")
    return 0


def positive(text: str) -> int:
    """Read a whole number of at least 1. For anything else, argparse reports an "invalid positive value"."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def _report_usage(message: str) -> int:
    """Print a mistake in the arguments; return the exit status for it."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names, and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m acdc_medsam", description="Tools for a dataset made from ACDC.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("verify", help=f"compare each file of a dataset with its {PROVENANCE}")
    command.add_argument("dataset", type=Path, help="folder of the dataset, such as data/ACDC")
    threads = min(16, os.cpu_count() or 1)
    command.add_argument(
        "--threads", type=positive, default=threads, help=f"number of files read at a time (default: {threads})"
    )
    command.set_defaults(run=verify)

    command = commands.add_parser("weights", help="check whether a checkpoint can be used, without running it")
    command.add_argument("encoder", choices=ENCODERS, help="value of encoder.name in config.yaml")
    command.add_argument("checkpoint", type=Path, help="file of weights")
    command.add_argument("--sha256", help="expected sha256 of the checkpoint, in hex")
    command.set_defaults(run=check_weights)

    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
