"""The run store: what finds a run again, what does not, and what happens when files are harmed."""

import json
import pickle
import threading
from pathlib import Path

import pytest
import torch
from dl4cv import storage, training
from dl4cv.training import History, runs
from safetensors import torch as safetensors
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("cache")


X, Y = torch.randn(16, 3), torch.randn(16, 2)


def run(*, scale=1.0, lr=0.1, weight=0.5, data=X, bias=True, **settings) -> History:
    model = nn.Linear(3, 2, bias=bias)
    for parameter in model.parameters():
        nn.init.constant_(parameter, weight)
    return training.fit(
        model,
        training.Batches((data, Y), settings.pop("batch_size", 4)),
        settings.pop("loss_fn", lambda model, x, y: scale * F.mse_loss(model(x), y)),
        settings.pop("optimizer", torch.optim.SGD)(model.parameters(), lr=lr),
        **{"name": "test/run", "steps": 3} | settings,
    )


def test_the_same_call_is_loaded_from_the_store():
    assert run().trained_now
    assert not run().trained_now
    assert not run(data=X.clone()).trained_now


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 4},
        {"seed": 1},
        {"lr": 0.2},
        {"weight": 0.6},
        {"scale": 2.0},
        {"bias": False},
        {"data": X + 1e-6},
        {"batch_size": 8},
        {"optimizer": torch.optim.Adam},
        {"schedule": training.schedules.cosine(3)},
        {"evaluate": lambda model: {"a": 1.0}},
        {"evaluate_every": 2},
        {"after_step": lambda model: None},
        {"loss_fn": lambda model, x, y: 1.0 * F.l1_loss(model(x), y)},
    ],
)
def test_whatever_determines_the_result_belongs_to_the_key(change):
    before = run()
    after = run(**change)
    assert after.trained_now
    assert after.key != before.key


@pytest.mark.parametrize("surroundings", ["threads", "torch", "device"])
def test_the_surroundings_belong_to_the_key(surroundings, monkeypatch):
    before = run().key
    if surroundings == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    elif surroundings == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        monkeypatch.setattr("dl4cv.runtime.has_fast_bf16", lambda on: on.type == "none")
        monkeypatch.setattr(
            "dl4cv.provenance.running", lambda names: {"dl4cv.training.loop": "edited"}
        )
    assert run().key != before


def test_the_entry_is_safetensors_json_and_tensors_without_code():
    history = run()
    entry = runs.folder(history.name, history.key)
    files = {file.name for file in entry.iterdir()}
    assert files == {"weights.safetensors", "optimizer.pt", "snapshots.pt", "run.json"}
    assert torch.load(entry / "optimizer.pt", weights_only=True).keys() == {"state", "param_groups"}
    weights = safetensors.load_file(entry / "weights.safetensors")
    assert set(weights) == {"weight", "bias"}
    record = json.loads((entry / "run.json").read_text())
    assert History.from_json(record["history"], {}, trained_now=True) == history
    assert set(record["ingredients"]) >= {
        "model",
        "optimizer",
        "batches",
        "loss_fn",
        "code",
        "threads",
    }


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def replace(path: Path) -> None:
    """Write another sound file, as somebody who wants to deceive would."""
    text = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(text.replace(b'"seconds": ', b'"seconds": 9'))
    elif path.suffix == ".safetensors":
        tensors = {name: tensor + 1 for name, tensor in safetensors.load(text).items()}
        path.write_bytes(safetensors.save(tensors))
    else:
        torch.save({}, path)


@pytest.mark.parametrize("harm", [flip, truncate, replace, Path.unlink])
@pytest.mark.parametrize(
    "file", ["weights.safetensors", "optimizer.pt", "snapshots.pt", "run.json"]
)
def test_a_harmed_entry_is_said_and_trained_again(file, harm, capsys):
    def run_with_snapshots():
        return run(evaluate=lambda model: {"weight": model.weight})

    sound = run_with_snapshots()
    harm(runs.folder(sound.name, sound.key) / file)
    capsys.readouterr()
    again = run_with_snapshots()
    printed = capsys.readouterr().out
    assert again.trained_now
    assert again.losses == sound.losses
    assert f"({file}" in printed
    assert len(training.RUN_LINE.findall(printed)) == len(printed.splitlines()) == 1
    assert torch.equal(again.snapshot("weight")[1], sound.snapshot("weight")[1])
    assert not run_with_snapshots().trained_now


def test_an_entry_moved_to_another_key_is_found_out():
    one, other = run(), run(steps=4)
    folder = runs.folder(one.name, one.key)
    runs.shutil.rmtree(folder)
    runs.folder(other.name, other.key).rename(folder)
    with pytest.raises(runs.DamagedError, match=r"run\.json does not match"):
        runs.find(one.name, one.key)


def test_a_failed_write_leaves_no_entry(monkeypatch, cache):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run()
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_what_a_killed_writer_left_goes(cache):
    history = run()
    entry = runs.folder(history.name, history.key)
    runs.shutil.rmtree(entry)
    left = entry.with_name(f".{entry.name}.0123.tmp")
    left.mkdir()
    run()
    assert not left.exists()
    assert entry.is_dir()


def test_of_two_that_want_the_same_run_one_trains():
    results: list[History] = []
    threads = [threading.Thread(target=lambda: results.append(run(steps=30))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(history.trained_now for history in results) == [False, True]
    assert results[0].losses == results[1].losses


def test_states_come_back_as_they_were():
    tied = torch.ones(2)
    state = {
        "state": {0: {"step": torch.tensor(3.0), "moment": torch.rand(2, 3)}},
        "groups": [{"lr": 0.1, "betas": (0.9, 0.99), "fused": None, "params": [0]}],
        "tied": (tied, tied),
        "flag": True,
    }
    back = runs.load_state(runs.dump_state(state))
    torch.testing.assert_close(back, state, rtol=0, atol=0)
    assert back["groups"] == state["groups"]
    assert isinstance(back["groups"][0]["betas"], tuple)


def test_what_would_execute_code_is_not_loaded():
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        runs.load_state(runs.dump_state({"a": Path("/")}))


def test_a_cache_that_cannot_be_written_stops_with_its_name_and_the_variable(cache, monkeypatch):
    (cache / "file").touch()
    monkeypatch.setenv("DL4CV_CACHE", str(cache / "file"))
    with pytest.raises(storage.CacheError, match=r"file cannot be written .* DL4CV_CACHE"):
        run()
