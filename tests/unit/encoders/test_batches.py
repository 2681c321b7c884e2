"""Encoding of files, with an encoder whose embedding is the single gray value of the image."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acdc_medsam.encoders import Encoder
from acdc_medsam.encoders import batches as module
from acdc_medsam.encoders.batches import encode_files, fitting_size, map_ahead
from acdc_medsam.encoders.devices import describe_device
from acdc_medsam.encoders.registry import ENCODERS
from acdc_medsam.encoders.store import Store, store_path
from acdc_medsam.errors import AcdcError, DatasetError
from acdc_medsam.formats.files import take_record, write_bytes
from acdc_medsam.formats.kept import Kept, find_kept
from acdc_medsam.formats.png import GrayFile, write_png

CPU = torch.device("cpu")


class GrayValue(Encoder):
    """Encodes an image as its first gray value, and fails if more than ``fitting`` images are encoded at a time."""

    def __init__(self, fitting: int = 100, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__(nn.Identity(), ENCODERS["lite_medsam"], "float32", CPU)
        facts: dict[str, Any] = {"fitting": fitting, "error": error, "lock": threading.Lock(), "now": 0, "most": 0}
        self.__dict__.update(facts, threads=[])

    def encode(self, images: Tensor) -> Tensor:
        facts = self.__dict__
        with facts["lock"]:
            facts["threads"].append(torch.get_num_threads())
            facts["now"] += len(images)
            facts["most"] = max(facts["most"], facts["now"])
            too_many = facts["now"] > facts["fitting"]
        time.sleep(0.02)
        with facts["lock"]:
            facts["now"] -= len(images)
        if too_many:
            raise facts["error"]("can't allocate memory")
        return images[:, 0, 0].float().view(-1, 1, 1, 1).expand(-1, 256, 64, 64)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, GrayFile]:
    """Ten images; image n has the gray value n."""
    written = {
        f"{value:02d}": write_png(tmp_path / f"{value}.png", np.full((8, 8), value, np.uint8)) for value in range(10)
    }
    return {digest: GrayFile(image.path, image.sha256) for digest, image in written.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store", {"encoder": "gray value"})


def check(encoded: dict[str, Kept], images: dict[str, GrayFile], store: Store) -> None:
    assert encoded.keys() == images.keys()
    for digest, kept in encoded.items():
        path = store_path(store.folder, digest)
        assert torch.equal(torch.load(path, weights_only=True), torch.full((256, 64, 64), float(digest)))
        assert kept.written == take_record(path)
        assert find_kept(path) == kept and kept.facts == store.made_by


@pytest.mark.parametrize(("batch_size", "threads", "most"), [("auto", 3, 3), (2, 3, 2), (50, 3, 3), (4, 1, 1)])
def test_a_cpu_encodes_one_image_per_thread(
    images: dict[str, GrayFile], store: Store, batch_size: int | str, threads: int, most: int
) -> None:
    encoder = GrayValue()
    check(encode_files(images, store, encoder, batch_size, threads), images, store)
    assert encoder.__dict__["most"] == most


@pytest.mark.parametrize(("threads", "each"), [(4, [1] * 8 + [2] * 2), (16, [1] * 10), (7, [1] * 7 + [2] * 3)])
def test_threads_without_an_image_of_their_own_share_the_last_ones(
    images: dict[str, GrayFile], store: Store, threads: int, each: list[int]
) -> None:
    encoder = GrayValue()
    before = torch.get_num_threads()
    try:
        check(encode_files(images, store, encoder, threads, threads), images, store)
    finally:
        torch.set_num_threads(before)
    assert encoder.__dict__["threads"] == each


@pytest.fixture
def stand_in_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code for a GPU on the CPU, without pinned memory, and with copies that are completed at once."""

    class Event:
        def record(self) -> None: ...
        def synchronize(self) -> None: ...

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(module, "_encode_on_cpu", module._encode_in_batches)


@pytest.mark.usefixtures("stand_in_for_cuda")
@pytest.mark.parametrize("size", [1, 3, 4, 10])
def test_batches_are_split_into_embeddings(images: dict[str, GrayFile], store: Store, size: int) -> None:
    encoder = GrayValue()
    check(encode_files(images, store, encoder, size, 10), images, store)
    assert encoder.__dict__["most"] == size


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_out_of_memory_halves_the_images_at_a_time(
    images: dict[str, GrayFile], store: Store, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = GrayValue(fitting=2, error=error)
    check(encode_files(images, store, encoder, 8, 8), images, store)
    assert "continuing with 4 images at a time" in caplog.text
    assert "continuing with 2 images at a time" in caplog.text


@pytest.mark.usefixtures("stand_in_for_cuda")
def test_out_of_memory_halves_batches(images: dict[str, GrayFile], store: Store) -> None:
    check(encode_files(images, store, GrayValue(fitting=2), 10, 10), images, store)


def test_too_little_memory_for_one_image_is_an_error_for_users(images: dict[str, GrayFile], store: Store) -> None:
    with pytest.raises(AcdcError, match=r"not enough memory on cpu to encode one image with lite_medsam"):
        encode_files(images, store, GrayValue(fitting=0), 2, 2)


@pytest.fixture
def short_trial(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Measure memory as on a GPU, and raise the exception under the key ``error``."""
    failing = {"error": Exception()}

    def fail(encoder: Encoder) -> tuple[int, int]:
        raise failing["error"]

    monkeypatch.setattr(module, "_measure_gpu_memory", fail)
    fit = module.fitting_size

    def fit_as_on_gpu(encoder: Encoder, threads: int) -> int:
        return fit(Encoder(encoder.module, encoder.spec, encoder.precision, torch.device("cuda")), threads)

    monkeypatch.setattr(module, "fitting_size", fit_as_on_gpu)
    return failing


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
]


@pytest.mark.usefixtures("stand_in_for_cuda")
@pytest.mark.parametrize("error", SHORT, ids=repr)
def test_a_trial_out_of_memory_means_one_image_at_a_time(
    error: Exception, short_trial: dict[str, Exception], images: dict[str, GrayFile], store: Store
) -> None:
    short_trial["error"] = error
    encoder = GrayValue(fitting=1)
    check(encode_files(images, store, encoder, "auto", 10), images, store)
    assert encoder.__dict__["most"] == 1


@pytest.mark.usefixtures("stand_in_for_cuda")
def test_a_trial_and_an_image_out_of_memory_are_a_user_error(
    short_trial: dict[str, Exception], images: dict[str, GrayFile], store: Store
) -> None:
    short_trial["error"] = torch.OutOfMemoryError()
    with pytest.raises(AcdcError, match="there is not enough memory on cpu to encode one image with lite_medsam"):
        encode_files(images, store, GrayValue(fitting=0), "auto", 10)


def test_other_errors_of_the_trial_are_raised(
    short_trial: dict[str, Exception], images: dict[str, GrayFile], store: Store
) -> None:
    short_trial["error"] = RuntimeError("device-side assert triggered")
    with pytest.raises(RuntimeError, match="device-side assert"):
        encode_files(images, store, GrayValue(), "auto", 10)


def test_the_log_names_device_precision_and_threads(
    images: dict[str, GrayFile], store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    encode_files(images, store, GrayValue(), 2, 3)
    lines = [line for line in caplog.messages if line.startswith("encoding")]
    assert lines == ["encoding with lite_medsam on cpu, in float32, by 3 threads"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    gpu = describe_device(torch.device("cuda", 0))
    assert gpu == f"cuda:0 (NVIDIA H100, PyTorch {torch.__version__})"


def test_other_errors_of_encoding_are_raised(images: dict[str, GrayFile], store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        encode_files(images, store, GrayValue(fitting=0, error=ZeroDivisionError), 2, 2)


def test_a_damaged_image_ends_the_job_and_keeps_earlier_ones(images: dict[str, GrayFile], store: Store) -> None:
    written = write_bytes(images["05"].path, b"nothing")
    images["05"] = GrayFile(written.path, written.sha256)
    with pytest.raises(DatasetError, match=r"5\.png: not a readable PNG"):
        encode_files(images, store, GrayValue(), 1, 1)
    assert find_kept(store_path(store.folder, "00"))
    assert not store_path(store.folder, "09").is_file()


def test_a_changed_image_ends_the_job(images: dict[str, GrayFile], store: Store) -> None:
    write_png(images["05"].path, np.full((8, 8), 6, np.uint8))
    with pytest.raises(DatasetError, match=r"5\.png has changed since it was made"):
        encode_files(images, store, GrayValue(), 1, 1)


def test_few_results_are_computed_ahead() -> None:
    started = []

    def count() -> Iterator[int]:
        for number in range(100):
            started.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, lambda number: number * number, count(), ahead=4)
        for number in range(20):
            assert next(results) == number * number
            assert len(started) <= number + 4
        results.close()  # type: ignore[attr-defined]
    assert len(started) < 30


def test_the_number_of_images_follows_threads_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = GrayValue()
    monkeypatch.setattr(module, "CPU_BYTES", 1000)

    def free(available: int) -> None:
        monkeypatch.setattr(module.psutil, "virtual_memory", lambda: type("Memory", (), {"available": available}))

    free(10**6)
    assert fitting_size(encoder, 16) == 16
    free(5100)
    assert fitting_size(encoder, 16) == 4
    free(10)
    assert fitting_size(encoder, 16) == 1


def test_the_embedding_does_not_depend_on_images_at_a_time(tmp_path: Path, checkpoint: Path) -> None:
    from acdc_medsam.encoders import load_model, make_encoder

    pixels = np.random.default_rng(0).integers(0, 256, (2, 256, 256), dtype=np.uint8)
    written = {f"{number}0": write_png(tmp_path / f"{number}.png", image) for number, image in enumerate(pixels)}
    images = {digest: GrayFile(image.path, image.sha256) for digest, image in written.items()}
    encoder = make_encoder(load_model("lite_medsam", checkpoint), ENCODERS["lite_medsam"], "float32", CPU)
    threads = torch.get_num_threads()
    try:
        one, two = (encode_files(images, Store(tmp_path / str(number), {}), encoder, number, 2) for number in (1, 2))
    finally:
        torch.set_num_threads(threads)
    assert {digest: kept.written.sha256 for digest, kept in one.items()} == {
        digest: kept.written.sha256 for digest, kept in two.items()
    }
