"""What several of the processes that share the tests need, made once."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Let one of the processes that share the tests make something in a folder, and give all what it returned."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = shared / f"{name}.pickle"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            made.write_bytes(pickle.dumps(make(shared / name)))
    result: T = pickle.loads(made.read_bytes())
    return result
