"""Embeddings that earlier jobs of the tests have computed: most runs encode the same few images with the same weights.

What is remembered is the result of one call of ``Encoder.encode``; all else of a job is as for a user. The name of a
remembered embedding is a digest of everything that the call depends on, the encoders' code included.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "acdc_medsam.encoders.model"
COMPUTE = "TEST_COMPUTES"
"""Environment variable of runs in which nothing is remembered, because it is the computation that is tested."""


class Remembering:
    """Finder that changes one module when it is imported."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of remembered embeddings."""
        self.folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the module as always, and change it after its code has run."""
        if name != MODULE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def run_and_change(module: ModuleType) -> None:
            run(module)
            remember(module, self.folder)

        spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec


def remember(module: Any, folder: Path) -> None:
    """Have encoders look up images that were encoded before, and note what they encode."""
    import torch

    encode = module.Encoder.encode
    code = b"".join(path.read_bytes() for path in sorted(Path(module.__file__).parent.glob("*.py")))

    @cache
    def weights_of(network: Any) -> bytes:
        values = [value.flatten().view(torch.uint8).numpy().tobytes() for value in network.state_dict().values()]
        return hashlib.blake2b(b"".join(values)).digest()

    def look_up_or_encode(encoder: Any, images: Any) -> Any:
        facts = repr((encoder.spec, encoder.precision, images.shape)).encode()
        parts = (code, weights_of(encoder.module), facts, images.numpy().tobytes())
        path = folder / hashlib.blake2b(b"".join(parts)).hexdigest()[:32]
        if path.exists():
            return torch.load(path, weights_only=True)
        embeddings = encode(encoder, images)
        own = path.with_suffix(f".{os.getpid()}")
        torch.save(embeddings, own)
        own.rename(path)
        return embeddings

    module.Encoder.encode = look_up_or_encode
