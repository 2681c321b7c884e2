"""Make something once that several test processes need."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """Have one test process make something, and return it in all of them.

    Args:
        factory: pytest's factory of temporary folders.
        name: Name of what is made, and of its folder.
        make: Function that makes it in a folder. What it returns is pickled.

    Returns:
        What ``make`` returned in the process that called it.
    """
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = shared / f"{name}.pickle"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            made.write_bytes(pickle.dumps(make(shared / name)))
    result: T = pickle.loads(made.read_bytes())
    return result
