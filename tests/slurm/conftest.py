"""A Slurm for all tests of this folder, and what runs on it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import slurm_cluster
from slurm_cluster import SlurmCluster
from workflow_run import ROOT

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """A running Slurm with the partitions that the profile names."""
    reason = slurm_cluster.missing()
    if reason:
        pytest.skip(reason)
    rules = [PROFILE["default-resources"], *PROFILE["set-resources"].values()]
    # Not below pytest's own folder: the path of a socket may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = SlurmCluster(folder, {rule["slurm_partition"] for rule in rules if "slurm_partition" in rule})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
