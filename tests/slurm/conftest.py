"""A Slurm cluster for the tests in this folder."""

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
    """A running Slurm cluster with the partitions that the profile names."""
    reason = slurm_cluster.missing()
    if reason:
        pytest.skip(reason)
    rules = [PROFILE["default-resources"], *PROFILE["set-resources"].values()]
    # Not in pytest's own folder, because the path of a socket must not be longer than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = SlurmCluster(folder, {rule["slurm_partition"] for rule in rules if "slurm_partition" in rule})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
