"""Budget, seed, device and precision."""

import os
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dl4cv import runtime


def test_budget_picks_by_the_environment(monkeypatch):
    for name, want in (("smoke", 1), ("book", 2), ("full", 3)):
        monkeypatch.setenv("DL4CV_BUDGET", name)
        assert runtime.budget(smoke=1, book=2, full=3) == want
    monkeypatch.delenv("DL4CV_BUDGET")
    assert runtime.current_budget() is runtime.Budget.BOOK


def test_an_unknown_budget_is_an_error_that_lists_the_three(monkeypatch):
    monkeypatch.setenv("DL4CV_BUDGET", "tiny")
    with pytest.raises(ValueError, match="'tiny'; expected one of: smoke, book, full"):
        runtime.current_budget()


def test_seed_everything_makes_every_global_generator_repeat():
    def draw():
        runtime.seed_everything(7)
        return random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002

    assert draw() == draw()


def test_a_generator_repeats_and_leaves_the_global_ones_alone():
    before = torch.get_rng_state()
    first, second = (torch.rand(3, generator=runtime.generator(7)) for _ in range(2))
    assert first.equal(second)
    assert torch.get_rng_state().equal(before)


def test_a_process_computes_with_one_thread():
    assert torch.get_num_threads() == int(os.environ.get("OMP_NUM_THREADS", "1"))


def test_device_is_a_device_that_works():
    assert torch.ones(2, device=runtime.device()).sum() == 2


def test_autocast_follows_the_device():
    device = runtime.device()
    with runtime.autocast(device):
        product = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    want = torch.bfloat16 if runtime.has_fast_bf16(device) else torch.float32
    assert product.dtype == want


@pytest.mark.parametrize(("amx", "avx512"), [(True, True), (False, True), (False, False)])
def test_bf16_is_fast_where_the_processor_multiplies_it(monkeypatch, amx, avx512):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert runtime.has_fast_bf16(torch.device("cpu")) == (amx or avx512)
    assert not runtime.has_fast_bf16(torch.device("meta"))


@pytest.mark.parametrize(
    ("kind", "fast", "last"),
    [
        ("cpu", False, True),
        ("cpu", True, True),
        ("cuda", True, True),
        ("cuda", False, False),
        ("mps", False, False),
    ],
)
def test_images_lie_channels_last_on_cpus_and_where_bf16_is_fast(monkeypatch, kind, fast, last):
    monkeypatch.setattr(runtime, "has_fast_bf16", lambda on: fast)
    layout = runtime.image_layout(torch.device(kind))
    assert layout is (torch.channels_last if last else torch.preserve_format)


def test_convolutions_are_laid_out_as_images_are():
    convolution = torch.nn.Conv2d(3, 8, 3)
    convolution.register_buffer("film", torch.zeros(2, 5, 3, 8, 8))
    convolution = runtime.to_fast_layout(convolution, torch.device("cpu"))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_cache_dir_moves(monkeypatch, tmp_path):
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    assert runtime.cache_dir() == tmp_path
    monkeypatch.delenv("DL4CV_CACHE")
    assert runtime.cache_dir().name == "dl4cv"


def test_the_peak_of_memory_on_windows_is_its_own(monkeypatch):
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3 * 2**20))
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setattr(sys, "platform", "win32")
    assert runtime.peak_mib(torch.device("cpu")) == 3.0
