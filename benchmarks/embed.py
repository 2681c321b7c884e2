"""Time whole embedding jobs, from PNG files to .pt files, beside the loops that users would write.

    python benchmarks/embed.py --model lite_medsam --slices 40 400
    python benchmarks/embed.py --model sam_vit_b --slices 6 --precision float32 bfloat16 --beside reference

A loop reads, encodes and writes one image after another. The one called ``reference`` has the encoder that users have,
in float32: segment_anything's own, or LiteMedSAM's published module. The one called ``loop`` has this project's
encoder, and so has ``encoder``, which encodes images in memory. The cold start is a job that ends when its encoder is
ready. Each measurement is a process of its own with the same weights and number of threads.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from child import Finished, run_child

MEASURED_SLICES = 40
"""Number of slices that determines the encoder's time per slice well enough."""


def write_images(folder: Path, count: int) -> None:
    """Write different images of 1024 x 1024 pixels, smooth with some noise, compressed like the workflow's own."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 240, (64, 64), dtype=np.uint8)).resize((1024, 1024))
        pixels = np.asarray(coarse) + random.integers(0, 16, (1024, 1024), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:05d}.png", compress_level=1, compress_type=3)


def write_random_weights(name: str, folder: Path) -> Path:
    """Write a checkpoint of an encoder's model with random weights; returns its path."""
    import torch

    from acdc_medsam.encoders.checkpoint import ARCHITECTURES

    torch.manual_seed(0)
    model = ARCHITECTURES[name]()
    # The architecture may be built without memory for its weights.
    model.image_encoder.to_empty(device="cpu")
    weights = model.state_dict()
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor.data.uniform_(0, 0.05)
    torch.save(weights, folder / "random.pth")
    return folder / "random.pth"


def job(options: dict[str, Any], images: dict[str, Path], store: Path) -> dict[str, Any]:
    """Encode images as the workflow's job does."""
    from acdc_medsam.formats.files import sha256_file
    from acdc_medsam.formats.png import GrayFile
    from acdc_medsam.stages.embed import EncoderOptions, find_or_encode

    asked = {key: options[key] for key in ("name", "precision", "batch_size", "device", "threads")}
    checkpoint = Path(options["checkpoint"])
    recorded = {name: GrayFile(path, sha256_file(path)) for name, path in images.items()}
    find_or_encode(
        recorded, store, EncoderOptions(checkpoint=checkpoint, sha256=None, announced=None, code="benchmark", **asked)
    )
    return {}


def with_encoder(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Prepare an encoder and pass it to ``work``."""

    def prepared(options: dict[str, Any], images: dict[str, Path], store: Path) -> dict[str, Any]:
        import torch

        from acdc_medsam.encoders import load_model, make_encoder
        from acdc_medsam.encoders.devices import claimed_device
        from acdc_medsam.encoders.registry import ENCODERS

        torch.set_num_threads(options["threads"])
        with claimed_device(options["device"]) as device:
            model = load_model(options["name"], Path(options["checkpoint"]))
            encoder = make_encoder(model, ENCODERS[options["name"]], options["precision"], device)
            return work(options, encoder, images, store)

    return prepared


@with_encoder
def cold_start(options: dict[str, Any], encoder: Any, images: dict[str, Path], store: Path) -> dict[str, Any]:
    """Do nothing once the encoder is ready."""
    return {"device": str(encoder.device)}


@with_encoder
def encoder_alone(options: dict[str, Any], encoder: Any, images: dict[str, Path], store: Path) -> dict[str, Any]:
    """Encode images in memory, as many at a time as the job does; returns the seconds per slice."""
    import torch

    from acdc_medsam.encoders.batches import fitting_size
    from acdc_medsam.encoders.devices import keep_freed_memory

    auto = options["batch_size"] == "auto"
    size = fitting_size(encoder, options["threads"]) if auto else options["batch_size"]
    on_cpu = encoder.device.type == "cpu"
    pixels = torch.randint(0, 256, (1 if on_cpu else size, 1024, 1024), dtype=torch.uint8)
    if on_cpu:
        size = min(size, options["threads"])
        torch.set_num_threads(max(1, options["threads"] // size))
        keep_freed_memory()

    runs = max(1, min(MEASURED_SLICES, options["slices"]) // len(pixels))
    with ThreadPoolExecutor(size if on_cpu else 1) as pool:
        # The first images of each thread are not timed.
        list(pool.map(encoder.encode, [pixels] * size))
        started = time.perf_counter()
        for embeddings in pool.map(encoder.encode, [pixels] * runs):
            embeddings[0, 0, 0, 0].item()  # Waits for a GPU to finish.
    return {"seconds": (time.perf_counter() - started) / (runs * len(pixels))}


@with_encoder
def plain_loop(options: dict[str, Any], encoder: Any, images: dict[str, Path], store: Path) -> dict[str, Any]:
    """Read, encode and write one image after another."""
    import torch

    store.mkdir()
    for digest, path in images.items():
        pixels = torch.from_numpy(np.array(Image.open(path)))[None]
        torch.save(encoder.encode(pixels)[0].cpu().clone(), store / f"{digest}.pt")
    return {}


def reference_loop(options: dict[str, Any], images: dict[str, Path], store: Path) -> dict[str, Any]:
    """Read, encode and write one image after another, with the reference encoder in float32."""
    import torch

    from acdc_medsam.encoders import prepare_images
    from acdc_medsam.encoders.registry import ENCODERS
    from reference import reference_model

    torch.set_num_threads(options["threads"])
    fastest = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(fastest if options["device"] == "auto" else options["device"])
    model = reference_model(options["name"])
    model.load_state_dict(torch.load(options["checkpoint"], weights_only=True))
    encode: Any = model.eval().image_encoder.to(device)
    store.mkdir()
    with torch.inference_mode():
        for digest, path in images.items():
            pixels = torch.from_numpy(np.array(Image.open(path)))[None].to(device)
            embedding = encode(prepare_images(pixels, ENCODERS[options["name"]]))
            torch.save(embedding[0].cpu().clone(), store / f"{digest}.pt")
    return {}


MEASUREMENTS = {
    "job": job,
    "cold_start": cold_start,
    "encoder": encoder_alone,
    "loop": plain_loop,
    "reference": reference_loop,
}
BESIDE = ("encoder", "loop", "reference")
"""Measurements beside the job that can be left out."""


def describe(job: Finished, slices: int, others: dict[str, Finished]) -> dict[str, Any]:
    """Return the figures of a job beside those of the other measurements that were made."""
    start = others["cold_start"].seconds
    figures: dict[str, Any] = {
        "slices": slices,
        "seconds": job.seconds,
        "slices_per_second": slices / job.seconds,
        "cpu_seconds": job.cpu_seconds,
        "cold_start_seconds": start,
        "peak_memory_mib": job.peak_memory_mib,
    }
    if "encoder" in others:
        encoding = others["encoder"].result["seconds"] * slices
        figures["encoder_seconds"] = encoding
        figures["ratio_to_encoder_and_cold_start"] = job.seconds / (encoding + start)
    for loop, speedup in (("loop", "speedup"), ("reference", "speedup_over_reference")):
        if loop in others:
            figures[f"{loop}_seconds"] = others[loop].seconds
            figures[f"{loop}_cpu_seconds"] = others[loop].cpu_seconds
            figures[f"{loop}_peak_memory_mib"] = others[loop].peak_memory_mib
            figures[speedup] = others[loop].seconds / job.seconds
    return figures


def compare(
    options: dict[str, Any], precisions: list[str], slice_counts: list[int], beside: list[str]
) -> Iterator[dict[str, Any]]:
    """Time every measurement for each number of slices and each precision; the reference has only one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "images", max(slice_counts))
        checkpoint = options["checkpoint"] or str(write_random_weights(options["name"], folder))

        def run(measurement: str, precision: str, slices: int = 0) -> Finished:
            store = folder / f"{measurement}-{precision}-{slices}"
            arguments = {**options, "checkpoint": checkpoint, "precision": precision, "slices": slices}
            files = {"images": str(folder / "images"), "store": str(store)}
            finished = run_child(__file__, {**arguments, **files, "measurement": measurement})
            print(f"{measurement} {precision} {slices or ''}: {finished.seconds:.1f} s", file=sys.stderr)
            return finished

        # This run puts programs and weights into the system's cache for all that follow.
        run("cold_start", precisions[0])
        for slices in slice_counts:
            shared = {"reference": run("reference", "float32", slices)} if "reference" in beside else {}
            for precision in precisions:
                others = {"cold_start": run("cold_start", precision)}
                others |= {name: run(name, precision, slices) for name in beside if name not in shared}
                figures = describe(run("job", precision, slices), slices, others | shared)
                settings = {key: options[key] for key in ("device", "threads", "batch_size")}
                yield {"model": options["name"], "precision": precision, **settings, **figures}


def main() -> None:
    """Read the command line, compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", dest="name", default="lite_medsam")
    parser.add_argument("--checkpoint", help="weights; random by default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--batch", dest="batch_size", default="auto", type=lambda n: n if n == "auto" else int(n))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--slices", type=int, nargs="+", default=[40, 400])
    parser.add_argument("--beside", nargs="*", choices=BESIDE, default=BESIDE, help="what to time beside the job")
    parser.add_argument("--json", action="store_true", help="print one JSON object per job")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    child, as_json = arguments.pop("child"), arguments.pop("json")
    if child:
        options = json.loads(child)
        paths = sorted(Path(options["images"]).iterdir())[: options["slices"]]
        images = {f"{index:05d}": path for index, path in enumerate(paths)}
        print(json.dumps(MEASUREMENTS[options["measurement"]](options, images, Path(options["store"]))))
        return
    precisions, slice_counts, beside = (arguments.pop(key) for key in ("precision", "slices", "beside"))
    for figures in compare(arguments, precisions, slice_counts, beside):
        if as_json:
            print(json.dumps(figures), flush=True)
            continue
        for name, value in figures.items():
            print(f"{name:<34} {value:.4g}" if isinstance(value, float) else f"{name:<34} {value}")
        print(flush=True)


if __name__ == "__main__":
    main()
