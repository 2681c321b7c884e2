"""The tests' server remembers parsed rules, embeddings and charts, because most runs make the same ones.

It remembers the results of Snakemake's ``parse`` and of ``Encoder.encode``, and what ``Pieces.look_up`` draws; the rest
of a run and of its jobs is as for a user. The name of a result is a digest of everything that it depends on.
"""

import hashlib
import json
import marshal
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

COMPUTE = "TEST_COMPUTES"
"""Environment variable of runs in which nothing is remembered, because it is the computation that is tested."""


class Remembering:
    """Finder that changes two modules when they are imported."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the results."""
        self.folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module as always, and change it after its code has run."""
        if name not in CHANGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def run_and_change(module: ModuleType) -> None:
            run(module)
            CHANGES[name](module, self.folder)

        spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec


def remember_embeddings(module: Any, folder: Path) -> None:
    """Have encoders look up the images that were encoded before."""
    import torch

    encode = module.Encoder.encode
    code = b"".join(path.read_bytes() for path in sorted(Path(module.__file__).parent.glob("*.py")))

    @cache
    def weights_of(network: Any) -> bytes:
        values = [value.flatten().view(torch.uint8).numpy().tobytes() for value in network.state_dict().values()]
        return hashlib.blake2b(b"".join(values)).digest()

    def look_up_or_encode(encoder: Any, images: Any) -> Any:
        facts = repr((encoder.spec, encoder.precision, images.shape)).encode()
        path = folder / name_of(code, weights_of(encoder.module), facts, images.numpy().tobytes())
        if path.exists():
            return torch.load(path, weights_only=True)
        embeddings = encode(encoder, images)
        write(path, lambda own: torch.save(embeddings, own))
        return embeddings

    module.Encoder.encode = look_up_or_encode


def remember_pieces(module: Any, folder: Path) -> None:
    """Have reports look up the pieces that were drawn before."""
    look_up = module.Pieces.look_up

    def look_up_or_draw(pieces: Any, shown: str, draw: Callable[[], dict[str, str]]) -> Any:
        path = folder / name_of(pieces._maker.encode(), shown.encode())

        def recall() -> Any:
            if not path.exists():
                write(path, lambda own: own.write_text(json.dumps(draw())))
            return json.loads(path.read_text())

        return look_up(pieces, shown, recall)

    module.Pieces.look_up = look_up_or_draw


def remember_parsing(folder: Path) -> None:
    """Have this run of Snakemake look up the Python code that an earlier one made of the same rules."""
    import snakemake.workflow

    parse = snakemake.workflow.parse

    def look_up_or_parse(path: Any, workflow: Any, linemap: dict[int, int], rulecount: int) -> tuple[str, int]:
        with workflow.sourcecache.open(path) as rules:
            shown = (str(path), rulecount, rules.read())
        memory = folder / name_of(repr(shown).encode())
        if not memory.exists():
            code, count = parse(path, workflow, linemap=linemap, rulecount=rulecount)
            write(memory, lambda own: own.write_bytes(marshal.dumps((code, count, linemap))))
        code, count, lines = marshal.loads(memory.read_bytes())
        linemap.update(lines)
        return code, count

    snakemake.workflow.parse = look_up_or_parse


CHANGES = {"acdc_medsam.encoders.model": remember_embeddings, "acdc_medsam.report.pieces": remember_pieces}


def name_of(*parts: bytes) -> str:
    """Return a digest of what a result depends on."""
    return hashlib.blake2b(b"".join(parts)).hexdigest()[:32]


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Write a result; a job that is killed meanwhile leaves no half of one."""
    own = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    save(own)
    own.rename(path)
