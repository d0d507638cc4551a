"""What a caller has set in torch, NumPy or the process changes neither bytes nor pixels."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import codec
from codec import api
from codec.data.reading import batches
from codec.engine import running
from codec.model import registry
from tests.support.pictures import textured

State = Callable[[], AbstractContextManager[Any]]


@contextlib.contextmanager
def setting(get: Callable[[], Any], change: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """Change a setting of the process. It must have its value at the end, too."""
    before = get()
    change(value)
    try:
        now = get()
        yield
        assert get() == now
    finally:
        change(before)


def dtype(value: torch.dtype) -> State:
    return lambda: setting(torch.get_default_dtype, torch.set_default_dtype, value)


def precision(*names: str) -> AbstractContextManager[None]:
    holder: Any = torch.backends
    for name in names:
        holder = getattr(holder, name)
    return setting(
        lambda: holder.fp32_precision, lambda value: setattr(holder, "fp32_precision", value), "bf16"
    )


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
        assert torch.zeros(1).device.type == "meta"
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic(warn_only: bool) -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
    finally:
        torch.use_deterministic_algorithms(False)


class FunctionsRefused(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} is seen by the mode of the caller")


class OperationsRefused(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} is seen by the mode of the caller")


@contextlib.contextmanager
def random_state() -> Iterator[None]:
    torch.manual_seed(5)
    yield
    found = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(found, torch.rand(3))


STATES: dict[str, State] = {
    "float64": dtype(torch.float64),
    "float16": dtype(torch.float16),
    "bfloat16": dtype(torch.bfloat16),
    "default device": default_device,
    "device as a context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "deterministic": lambda: deterministic(False),
    "deterministic, warnings": lambda: deterministic(True),
    "medium precision": lambda: setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "products in bfloat16": lambda: precision("mkldnn", "matmul"),
    "everything in bfloat16": precision,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "fake tensors": FakeTensorMode,
    "a function mode": FunctionsRefused,
    "a dispatch mode": OperationsRefused,
    "random state": random_state,
    "NumPy raises": lambda: np.errstate(all="raise"),
    "NumPy prints": lambda: np.printoptions(precision=1, threshold=1, suppress=True),
}


def work(worker: codec.Codec) -> list[Any]:
    """Results of all kinds of calls."""
    image = textured(32, 48)
    alpha = np.dstack([image, image[:, ::-1, 0]])
    deep = image[:, :, 0].astype(np.uint16) << 8
    deep[::3] += 57
    files = [
        worker.compress(image),
        worker.compress(image, effort=1),
        worker.compress(image, quality=30.0, effort=4),
        worker.compress(image, target_bytes=600),
        worker.compress(image, target_psnr=13.0),
        worker.compress(alpha, quality=50),
        worker.compress(deep, quality=95, bit_depth=16),
        *worker.compress_batch([image, image[:20]], quality=40),
    ]
    damaged = bytearray(files[0])
    damaged[-1] ^= 1
    loaded = batches.synthesise_batch(batches.entropy_decode(files[-2:]), worker)
    return [
        *files,
        *map(worker.decompress, files),
        worker.decompress(files[0], region=(3, 5, 20, 30)),
        *worker.decompress(bytes(damaged), on_error="conceal"),
        *worker.decompress_batch(files),
        *loaded,
    ]


@pytest.fixture(scope="module")
def expected(tiny_weights: Path) -> list[Any]:
    worker = codec.Codec(model=tiny_weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "shared_codec", lambda *_: worker)
        return work(worker)


@pytest.mark.parametrize("name", STATES)
def test_states(
    name: str, expected: list[Any], tiny_weights: Path, never_stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with STATES[name]():
        worker = codec.Codec(model=tiny_weights)  # its weights are loaded in this state
        monkeypatch.setattr(batches, "shared_codec", lambda *_: worker)
        found = work(worker)
    for one, other in zip(found, expected, strict=True):
        same = one == other if isinstance(one, bytes) else bool((one == other).all())
        assert same
    assert worker.compress(textured(32, 48)) == expected[0]  # nothing of the state is left in it


@pytest.mark.parametrize("name", ["medium precision", "products in bfloat16", "everything in bfloat16"])
def test_products_are_in_full_precision(name: str) -> None:
    """Small products always are, so that pictures as small as those above show no difference."""
    factor = torch.rand(256, 256)
    expected = factor @ factor
    with STATES[name](), running.exclusive(None):
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.equal(factor @ factor, expected)


@pytest.mark.parametrize("change", ["content", "folder"])
def test_weights_that_are_written_again(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The functions read a weights file again when it has changed, also in another folder."""
    image = textured(32, 48)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    default = codec.Codec()
    own = tiny_weights.read_bytes()
    shipped = registry.find(None)[1]
    monkeypatch.chdir(tmp_path / "a")
    Path("w.safetensors").write_bytes(own)
    first = codec.compress(image, model="w.safetensors")
    assert codec.inspect(first).model != default.model_id
    if change == "content":
        Path("w.safetensors").write_bytes(shipped)
        assert codec.inspect(codec.compress(image, model="w.safetensors")).model == default.model_id
        return
    about = os.stat("w.safetensors")
    monkeypatch.chdir(tmp_path / "b")
    Path("w.safetensors").write_bytes(own.replace(b"0.0006", b"0.0007"))
    os.utime("w.safetensors", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert os.stat("w.safetensors").st_size == about.st_size
    other = codec.inspect(codec.compress(image, model="w.safetensors")).model
    assert other == codec.Codec(model="w.safetensors").model_id != codec.inspect(first).model


# A codec in other processes


def test_a_codec_travels(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By model and settings, without its weights, whatever the working directory is there."""
    monkeypatch.chdir(tiny_weights.parent)
    image = textured(32, 48)
    worker = codec.Codec(model=tiny_weights.name, threads=1, precision="float32")
    data = worker.compress(image, effort=4)  # the networks with gradients do not travel either
    pickled = pickle.dumps(worker)
    assert len(pickled) < 1000
    monkeypatch.chdir(tmp_path)
    for other in (pickle.loads(pickled), copy.copy(worker), copy.deepcopy({"a": [worker]})["a"][0]):
        assert repr(other) == repr(worker)
        assert (other.model_id, other.weights_sha256) == (worker.model_id, worker.weights_sha256)
        assert other.compress(image, effort=4) == data
    again = [pickle.loads(pickle.dumps(pickle.loads(pickled))) for _ in range(2)]
    assert again[0]._loaded is again[1]._loaded  # loaded once in a process
    assert copy.deepcopy(worker)._loaded is worker._loaded
    default = codec.Codec(threads=3, precision="bfloat16")
    assert repr(pickle.loads(pickle.dumps(default))) == repr(default)


def test_a_codec_whose_weights_are_not_here(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    pickled = pickle.dumps(codec.Codec(model=path))
    path.write_bytes(registry.find(None)[1])
    with pytest.raises(codec.UnknownModel, match=r"needs weights of SHA-256 .*w\.safetensors has"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(codec.UnknownModel, match=r"not available: .*w\.safetensors"):
        pickle.loads(pickled)
    shipped = codec.Codec()
    shipped._source = "0123456789ab"
    with pytest.raises(codec.UnknownModel, match="0123456789ab"):
        pickle.loads(pickle.dumps(shipped))


def test_a_codec_in_worker_processes(tiny_weights: Path) -> None:
    image = textured(32, 32)
    worker = codec.Codec(model=tiny_weights, threads=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map_async(worker.compress, [image]).get(240) == [worker.compress(image)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_while_weights_are_loaded() -> None:
    """The lock that another thread held in the parent is free in the child."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with running.one_thread():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if not child:  # in the child
        asked: list[bool] = []
        probe = threading.Thread(target=lambda: asked.append(bool(api.shared_codec(None, None))), daemon=True)
        probe.start()
        probe.join(60)
        os._exit(0 if asked else 1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        done.set()
        thread.join()


# Numbers of NumPy


NUMBERS: list[Callable[[int], Any]] = [np.int64, np.uint8, np.array, lambda value: np.array([value])[0]]


@pytest.mark.parametrize("kind", NUMBERS)
def test_integers_of_numpy(tiny: codec.Codec, tiny_weights: Path, kind: Callable[[int], Any]) -> None:
    image = textured(32, 48)
    worker = codec.Codec(model=tiny_weights, threads=kind(1))
    assert type(worker.threads) is int
    limits = codec.Limits(max_pixels=kind(200))
    assert type(limits.max_pixels) is int
    data = worker.compress(image, effort=kind(1), quality=kind(50))
    assert data == tiny.compress(image, effort=1, quality=50)
    assert worker.decompress(data, region=tuple(map(kind, (1, 2, 3, 4)))).shape == (3, 4, 3)
    assert worker.compress(image, target_bytes=kind(200)) == tiny.compress(image, target_bytes=200)


@pytest.mark.parametrize("value", [np.float32(50.5), np.float64(50.5), np.float16(50.5), np.array(50.5)])
def test_numbers_of_numpy(tiny: codec.Codec, value: Any) -> None:
    image = textured(32, 48)
    assert tiny.compress(image, quality=value) == tiny.compress(image, quality=50.5)


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True), "1", None, np.array([1, 2]), 1.0])
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(TypeError, match="effort must be an integer, not "):
        codec.compress(textured(9, 9), effort=value)
    with pytest.raises(TypeError, match="max_pixels must be an integer, not "):
        codec.Limits(max_pixels=value)
    if value is not None:
        with pytest.raises(TypeError, match="threads must be an integer, not "):
            codec.Codec(threads=value)


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True), "1", 1j, np.array([1.0])])
@pytest.mark.parametrize("name", ["quality", "target_bpp", "target_bytes", "target_psnr"])
def test_what_is_no_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, not "):
        codec.compress(textured(9, 9), **{name: value})
