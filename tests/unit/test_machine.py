"""How many chapters run at once: what JOBS says, else what cores, memory and the device allow."""

import pytest
from dl4cv.book import machine


@pytest.fixture
def four_cores(tmp_path, monkeypatch):
    """Return a function that gives a machine of four cores so much free memory, in MiB."""

    def free(mib: int) -> None:
        text = f"MemTotal:  99999999 kB\nMemAvailable:   {mib * 1024} kB\n"
        (tmp_path / "meminfo").write_text(text)

    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(machine, "device", lambda: "cpu")
    monkeypatch.delenv("JOBS", raising=False)
    return free


def test_a_chapter_for_each_core(four_cores, capsys):
    four_cores(8192)
    assert machine.jobs() == 4
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("free", "fit"), [(8191, 3), (4096, 2), (2047, 1), (100, 1)])
def test_fewer_where_memory_is_short_and_that_is_said(four_cores, capsys, free, fit):
    four_cores(free)
    assert machine.jobs() == fit
    assert f"{free:,} MiB of memory are free: {fit} of 4 chapters" in capsys.readouterr().out


def test_cores_alone_count_where_memory_is_not_shown(four_cores):
    assert machine.jobs() == 4


@pytest.mark.parametrize("device", ["NVIDIA H200", "mps"])
def test_one_on_a_gpu(four_cores, monkeypatch, device):
    monkeypatch.setattr(machine, "device", lambda: device)
    assert machine.jobs() == 1


def test_jobs_decides(four_cores, monkeypatch):
    four_cores(2048)
    monkeypatch.setattr(machine, "device", lambda: "mps")
    monkeypatch.setenv("JOBS", "7")
    assert machine.jobs() == 7
    monkeypatch.setenv("JOBS", "")
    assert machine.jobs() == 1


@pytest.mark.parametrize("wanted", ["0", "x", "-1", "2.5", "²"])
def test_jobs_that_are_no_number_are_an_error(four_cores, monkeypatch, wanted):
    monkeypatch.setenv("JOBS", wanted)
    with pytest.raises(ValueError, match=rf"JOBS is '{wanted}'; expected a whole number"):
        machine.jobs()


def test_a_hidden_gpu_is_no_device(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine.device.cache_clear()
    assert machine.device() == "cpu"
    machine.device.cache_clear()
