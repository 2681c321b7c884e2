"""Compare an image encoder with its reference on the same images and weights, side by side.

    python benchmarks/encoder.py --model sam_vit_b --threads 1
    python benchmarks/encoder.py --model sam_vit_b --device cuda --precision float32 tf32 bfloat16 --batch 8

The reference computes in float32: segment_anything's own encoder, or LiteMedSAM's published module. The weights are
random, except for lite_medsam if its checkpoint is there. Each measurement is a process of its own; they take turns.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acdc_medsam.encoders import make_encoder, prepare_images
from acdc_medsam.encoders.checkpoint import ARCHITECTURES
from acdc_medsam.encoders.devices import keep_freed_memory
from acdc_medsam.encoders.layers import linear
from acdc_medsam.encoders.model import LOW_PRECISIONS, computing_in
from acdc_medsam.encoders.registry import ENCODERS, PRECISIONS
from child import run_child
from reference import CHECKPOINTS, reference_model


def build_reference(name: str) -> nn.Module:
    """Build the model to compare with, with the same weights in every process."""
    torch.manual_seed(0)
    model = reference_model(name)
    checkpoint = CHECKPOINTS / "lite_medsam.pth"
    if name == "lite_medsam" and checkpoint.is_file():
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model.eval()


def count_flop(name: str) -> int:
    """Count the floating-point operations in the reference's matrix products and convolutions for one image."""
    from torch.utils.flop_counter import FlopCounterMode

    spec = ENCODERS[name]
    with torch.device("meta"):
        model = ARCHITECTURES[name]() if name == "lite_medsam" else build_reference(name)
        images = torch.empty(1, 3, spec.input_size, spec.input_size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.image_encoder(images)
    return counter.get_total_flops()


def time_work(work: Callable[[], Any], device: torch.device) -> float:
    """Measure the seconds that ``work`` takes, until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measure_matmul(device: torch.device, precision: str, size: int) -> float:
    """Measure the floating-point operations per second of a product of square matrices, the best of several."""
    dtype = LOW_PRECISIONS.get(precision, torch.float32)
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    with computing_in(precision, device):
        return 2 * size**3 / min(time_work(lambda: linear(a, b), device) for _ in range(8))


def measure(options: dict[str, Any]) -> dict[str, Any]:
    """Time one encoder in this process, and save the embeddings to the file ``options["embeddings"]``."""
    torch.set_num_threads(options["threads"])
    device = torch.device(options["device"])
    spec = ENCODERS[options["model"]]
    precision = options["precision"]
    model = build_reference(options["model"])
    images = torch.randint(0, 256, (options["batch"], 1024, 1024), dtype=torch.uint8)

    if options["which"] == "ours":
        ours = ARCHITECTURES[options["model"]]()
        ours.load_state_dict(model.state_dict(), strict=True, assign=True)
        encoder = make_encoder(ours.eval(), spec, precision, device)
        if options["compile"]:
            encoder.module.compile()
        if device.type == "cpu":
            keep_freed_memory()
        encode: Callable[[], torch.Tensor] = lambda: encoder.encode(images)  # noqa: E731
    else:
        module = model.image_encoder.to(device)
        encode = lambda: module(prepare_images(images.to(device), spec))  # noqa: E731
    del model

    # The speed of a machine varies, so its peak is measured before and after.
    with torch.inference_mode(), computing_in(precision, device):
        peak = measure_matmul(device, precision, options["matrix"])
        torch.save(encode().cpu(), options["embeddings"])
        seconds = min(time_work(encode, device) for _ in range(options["repeat"]))
        peak = max(peak, measure_matmul(device, precision, options["matrix"]))
    memory = torch.cuda.max_memory_allocated() // 2**20 if device.type == "cuda" else None
    return {"seconds": seconds / options["batch"], "matmul": peak, "cuda_memory_mib": memory}


def take_turns(options: dict[str, Any], precisions: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Measure the reference and each precision in turn; returns the best result of each."""
    turns = {"reference": "float32", **{precision: precision for precision in precisions}}
    best: dict[str, dict[str, Any]] = {}
    for turn in range(options["rounds"]):
        for name, precision in turns.items():
            which = "reference" if name == "reference" else "ours"
            arguments = {**options, "which": which, "precision": precision, "embeddings": str(folder / name)}
            finished = run_child(__file__, arguments)
            result = {"peak_memory_mib": finished.peak_memory_mib, **finished.result}
            print(f"round {turn + 1}: {name} {result['seconds']:.4g} s an image", file=sys.stderr)
            seen = best.setdefault(name, result)
            best[name] = {
                key: (min if key == "seconds" else max)(seen[key], result[key]) for key in seen if result[key]
            }
    return best


def compare(options: dict[str, Any], precisions: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the figures of each precision beside those of the reference."""
    flop = count_flop(options["model"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        best = take_turns(options, precisions, folder)
        exact = torch.load(folder / "reference", weights_only=True)
        reference = best["reference"]
        for precision in precisions:
            ours = best[precision]
            error = torch.load(folder / precision, weights_only=True) - exact
            yield {
                **{key: options[key] for key in ("model", "device", "threads", "batch", "compile")},
                "precision": precision,
                "seconds": ours["seconds"],
                "images_per_second": 1 / ours["seconds"],
                "reference_seconds": reference["seconds"],
                "reference_images_per_second": 1 / reference["seconds"],
                "speedup": reference["seconds"] / ours["seconds"],
                "relative_difference": (error.abs().max() / exact.abs().max()).item(),
                "relative_difference_rms": (error.norm() / exact.norm()).item(),
                "gflop": flop / 1e9,
                "matmul_gflops": ours["matmul"] / 1e9,
                "matmul_share": flop / ours["seconds"] / ours["matmul"],
                "reference_matmul_share": flop / reference["seconds"] / reference["matmul"],
                "peak_memory_mib": ours.get("cuda_memory_mib", ours["peak_memory_mib"]),
                "reference_peak_memory_mib": reference.get("cuda_memory_mib", reference["peak_memory_mib"]),
            }


def main() -> None:
    """Read the command line, compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(ENCODERS), default="sam_vit_b")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, default=1, help="number of images encoded at a time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="compile this project's encoder with torch.compile")
    parser.add_argument("--repeat", type=int, default=1, help="timings per process, without the first run")
    parser.add_argument("--matrix", type=int, help="side of the product's matrices; by default 2048, on a GPU 8192")
    parser.add_argument("--rounds", type=int, default=2, help="processes per encoder; the best time is reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object per precision")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    child, as_json, precisions = (arguments.pop(key) for key in ("child", "json", "precision"))
    if child:
        print(json.dumps(measure(json.loads(child))))
        return
    arguments["matrix"] = arguments["matrix"] or (8192 if arguments["device"].startswith("cuda") else 2048)
    for figures in compare(arguments, precisions):
        if as_json:
            print(json.dumps(figures))
            continue
        for name, value in figures.items():
            print(f"{name:<28} {value:.4g}" if isinstance(value, float) else f"{name:<28} {value}")
        print()


if __name__ == "__main__":
    main()
