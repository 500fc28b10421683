"""The loop: what it computes, what it leaves behind, and what happens when it goes astray."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dl4cv import optim, runtime, training
from dl4cv.metrics import classification
from dl4cv.training import checkpoints, loop, runs
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent

spec = importlib.util.spec_from_file_location("tiny", HERE / "tiny.py")
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
sys.modules["tiny"] = tiny
spec.loader.exec_module(tiny)


pytestmark = pytest.mark.usefixtures("cache")


X, Y = torch.randn(32, 3), torch.randn(32, 2)


def fit(model=None, *, optimizer=None, loss_fn=None, **settings) -> training.History:
    model = model or nn.Linear(3, 2)
    return training.fit(
        model,
        settings.pop("batches", lambda step: (X, Y)),
        loss_fn or (lambda model, x, y: F.mse_loss(model(x), y)),
        optimizer or torch.optim.SGD(model.parameters(), lr=0.1),
        **{"name": "test/run", "steps": 5} | settings,
    )


#: What the tests below look at, done by one process that imports PyTorch once and forks: a run that
#: is killed while it writes its checkpoint, a run that two processes share, and one where the
#: modules that Windows lacks are missing.
ELSEWHERE = """
import os, signal, socket, sys
from pathlib import Path
import torch
import tiny
from dl4cv import storage
from dl4cv.training import checkpoints, loop

def fork(work, cache, **environment):
    child = os.fork()
    if child == 0:
        os.environ.update(environment, DL4CV_CACHE=f"{os.environ['DL4CV_CACHE']}/{cache}")
        work()
        sys.stdout.flush()
        os._exit(0)
    return child

def killed():
    write, count = checkpoints.write, 0

    def write_and_die(path, state):
        nonlocal count
        count += 1
        if count == 23:
            with storage.atomic_path(path) as temporary:
                temporary.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
        write(path, state)

    loop.CHECKPOINT_SECONDS = 0.0
    checkpoints.write = write_and_die
    tiny.train()

def one_of_two():
    model, _, history = tiny.train(dropout=0.0)
    path = f"{os.environ['DL4CV_CACHE']}/{os.environ['RANK']}.pt"
    torch.save((model.state_dict(), history.losses), path)
    torch.distributed.destroy_process_group()

def without_unix():
    for name in [*sys.modules]:
        if name.split(".")[0] in ("dl4cv", "tiny", "filelock"):
            del sys.modules[name]
    for name in ("resource", "fcntl", "pwd", "grp", "termios"):
        sys.modules[name] = None
    import tiny
    from dl4cv import runtime
    runtime.peak_mib = lambda device: 0.0
    tiny.train()

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports much, now once for all forks
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
children = [fork(killed, "killed"), fork(without_unix, "windows")]
children += [fork(one_of_two, "two", RANK=str(rank), **meeting) for rank in range(2)]
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the caches of ``ELSEWHERE``, and what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    folder = tmp_path_factory.mktemp("elsewhere")
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "DL4CV_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=env, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.splitlines()[-1:] == ["[-9, 0, 0, 0]"], done.stderr
    return folder, done.stdout


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, optim.SGD, optim.Adam])
def test_equals_a_loop_written_by_hand(make):
    torch.manual_seed(0)
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    schedule = training.schedules.step_decay(every=4, factor=0.5)
    history = fit(model, optimizer=make(model.parameters(), lr=0.1), steps=10, schedule=schedule)
    optimizer = make(other.parameters(), lr=0.1)
    losses = []
    for step in range(10):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.5 ** (step // 4)
        optimizer.zero_grad()
        loss = F.mse_loss(other(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tolerance = 1e-2 if runtime.has_fast_bf16(runtime.device()) else 1e-6
    assert history.losses == pytest.approx(losses, rel=tolerance)
    torch.testing.assert_close(model.weight.cpu(), other.weight, atol=tolerance, rtol=tolerance)


def test_evaluates_on_the_way_and_at_the_end(capsys):
    modes = []

    def evaluate(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return {"mode": float(model.training)}

    model = nn.Linear(3, 2)
    history = fit(model, steps=7, evaluate=evaluate, evaluate_every=3)
    assert [step for step, _ in history.metrics["mode"]] == [3, 6, 7]
    assert modes == [(False, False)] * 3
    assert not model.training
    assert history.curve("mode") == ([3, 6, 7], [0.0, 0.0, 0.0])
    assert history.last("mode") == 0.0
    with pytest.raises(ValueError, match=r"'accuracy'.*expected one of: mode"):
        history.last("accuracy")
    assert history.steps == 7
    out, err = capsys.readouterr()
    assert training.RUN_LINE.fullmatch(out.rstrip("\n"))
    assert "test/run: trained now in" in out
    assert err == ""


def test_goes_back_to_training_after_an_evaluation():
    class Noting(nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    modes: list[bool] = []
    model = Noting(3, 2)
    fit(model, steps=3, evaluate=lambda model: {"sum": float(model(X).sum())}, evaluate_every=1)
    assert modes == [True, False] * 3


def test_a_run_from_the_store_leaves_behind_what_training_left(capsys):
    model, optimizer, trained = tiny.train()
    first = capsys.readouterr().out
    other, its_optimizer, loaded = tiny.train()
    assert (trained.trained_now, loaded.trained_now) == (True, False)
    assert "from the run store, trained in" in capsys.readouterr().out
    assert first.split()[-4:] == loaded.line().split()[-4:]
    torch.testing.assert_close(loaded.snapshots, trained.snapshots, rtol=0, atol=0)
    known = {"trained_now": True, "snapshots": trained.snapshots}
    assert vars(loaded) | known == vars(trained)
    same_state(model.state_dict(), other.state_dict())
    same_state(optimizer.state_dict(), its_optimizer.state_dict())
    assert optimizer.param_groups[0]["lr"] == 1e-2
    assert (model.training, other.training) == (False, False)


def same_state(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_callers_randomness_is_left_alone():
    def random_states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    runtime.seed_everything(
        987
    )  # or an earlier run may have left just the states that this one would
    before = random_states()
    tiny.train()
    assert random_states() == before


def test_resumes_after_kill_9_with_the_same_result(elsewhere, monkeypatch, capsys):
    cache = elsewhere[0] / "killed"
    monkeypatch.setenv("DL4CV_CACHE", str(cache))
    (checkpoint,) = cache.glob("runs/test/tiny/*.checkpoint")
    saved = checkpoints.read(checkpoint)
    assert saved
    assert len(saved["history"]["losses"]) == 22
    model, optimizer, resumed = tiny.train()
    assert "(resumed at step 22)" in capsys.readouterr().out
    left = [file.name for file in checkpoint.parent.iterdir() if not file.name.endswith(".lock")]
    assert left == [resumed.key]
    runs.shutil.rmtree(checkpoint.parent)
    undisturbed_model, undisturbed_optimizer, undisturbed = tiny.train()
    assert undisturbed.key == resumed.key
    assert undisturbed.losses == resumed.losses
    assert undisturbed.metrics == resumed.metrics
    torch.testing.assert_close(undisturbed.snapshots, resumed.snapshots, rtol=0, atol=0)
    same_state(model.state_dict(), undisturbed_model.state_dict())
    same_state(optimizer.state_dict(), undisturbed_optimizer.state_dict())


def test_a_broken_checkpoint_is_said_and_ignored(capsys):
    _, _, sound = tiny.train()
    entry = runs.folder(sound.name, sound.key)
    runs.shutil.rmtree(entry)
    path = checkpoints.path_of(entry)
    checkpoints.write(path, {"model": torch.zeros(3)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    _, _, again = tiny.train()
    assert "(the checkpoint does not match its checksum)" in capsys.readouterr().out
    assert again.losses == sound.losses
    assert not path.exists()


def test_a_loss_that_is_not_finite_stops_with_the_step_and_leaves_the_last_good(
    cache: Path, monkeypatch
):
    def loss_fn(model, x, step):
        return model(x).sum() * (torch.inf if step == 7 else 1e-3)

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(
        training.TrainingError, match=r"test/run: the loss is .* at step 7"
    ) as raised:
        fit(loss_fn=loss_fn, steps=100, batches=lambda step: (X, torch.tensor(step)))
    (checkpoint,) = cache.glob("runs/test/run/*.checkpoint")
    assert str(checkpoint) in str(raised.value)
    state = checkpoints.read(checkpoint)
    assert state
    assert len(state["history"]["losses"]) == 7
    assert all(weight.isfinite().all() for weight in state["model"].values())


def test_a_loss_is_checked_within_a_chunk_even_without_checkpoints():
    def loss_fn(model, x, step):
        assert step < loop.CHUNK, "went on after the chunk"
        return model(x).sum() * (torch.nan if step == 3 else 1)

    with pytest.raises(training.TrainingError, match="nan at step 3; there is no checkpoint yet"):
        fit(loss_fn=loss_fn, steps=1000, batches=lambda step: (X, torch.tensor(step)))


def test_weights_that_are_not_finite_are_never_kept(cache: Path):
    def loss_fn(model, x):
        return (model(x) * torch.zeros(2)).sum().sqrt() * 0 + 1  # its gradient is 0 · ∞

    with pytest.raises(training.TrainingError, match="a weight in weight is not finite after"):
        fit(loss_fn=loss_fn, steps=1, batches=lambda step: (X,))
    assert not list(cache.glob("runs/test/run/*/run.json"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "run"}, "name is 'run'"),
        ({"name": "../run"}, r"name is '\.\./run'"),
        ({"name": "test/.."}, r"name is 'test/\.\.'"),
        ({"steps": 0}, "steps is 0"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_errors(settings, said):
    with pytest.raises(ValueError, match=said):
        fit(**settings)


def test_an_optimizer_of_another_model_is_an_error():
    stranger = torch.optim.SGD(nn.Linear(3, 2).parameters())
    with pytest.raises(ValueError, match="2 of 2 tensors that are no parameters of this model"):
        fit(optimizer=stranger)


def test_fused_state_lies_as_its_parameter_does():
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = runs.load_state(runs.dump_state(optimizer.state_dict()))
    loop.install(model, optimizer, model.state_dict(), saved)
    moment = optimizer.state[model.weight]["exp_avg"]
    assert moment.stride() == model.weight.stride()


def test_two_processes_train_the_joint_batch_as_one_does(elsewhere):
    folder, printed = elsewhere
    model, _, alone = tiny.train(dropout=0.0)
    assert alone.trained_now, "the number of processes belongs to the key"
    assert len(list((folder / "two").glob("runs/test/tiny/*/run.json"))) == 1
    outcomes = sorted((folder / "two").glob("*.pt"))
    assert len(outcomes) == 2
    for outcome in outcomes:
        weights, losses = torch.load(outcome, weights_only=True)
        assert losses == pytest.approx(alone.losses, abs=1e-12)
        torch.testing.assert_close(weights, dict(model.state_dict()), rtol=0, atol=1e-12)
    # Two processes write at once, so their lines may run together.
    assert printed.count("[run] test/tiny: trained now") == 2, "one of these, one without Unix"


def test_trains_where_the_modules_of_unix_are_missing(elsewhere):
    assert list((elsewhere[0] / "windows").glob("runs/test/tiny/*/run.json"))


def test_after_step_runs_once_a_step_when_the_weights_have_moved():
    seen = []

    def after_step(model):
        seen.append((model.weight.item(), torch.is_grad_enabled()))
        model.count += 1

    model = nn.Linear(1, 1, bias=False)
    model.register_buffer("count", torch.tensor(0))
    weights = [model.weight.item()]
    fit(
        model,
        loss_fn=lambda model, x: model.weight.sum(),
        batches=lambda step: (X,),
        after_step=after_step,
        steps=3,
    )
    for _ in range(3):
        weights.append(weights[-1] - 0.1)
    assert [weight for weight, _ in seen] == pytest.approx(weights[1:], rel=1e-5)
    assert not any(grad for _, grad in seen)
    assert model.count == 3


def test_snapshots_are_kept_as_they_were_and_come_from_the_store_too():
    def train():
        model = nn.Linear(3, 2)
        nn.init.ones_(model.weight)
        nn.init.zeros_(model.bias)
        model.register_buffer("steps", torch.zeros(2, 1, dtype=torch.uint8))

        def after_step(model):
            model.steps += 1

        return fit(
            model,
            steps=5,
            after_step=after_step,
            evaluate=lambda model: {"steps": model.steps, "first": model.steps[0, 0]},
            evaluate_every=2,
        )

    trained, loaded = train(), train()
    assert not loaded.trained_now
    for history in (trained, loaded):
        assert history.curve("first") == ([2, 4, 5], [2.0, 4.0, 5.0])
        steps, values = history.snapshot("steps")
        assert steps == [2, 4, 5]
        assert values.shape == (3, 2, 1)
        assert values.dtype == torch.uint8
        assert values[:, 0, 0].tolist() == [2, 4, 5]
        with pytest.raises(ValueError, match=r"no snapshot 'first'.*expected one of: steps"):
            history.snapshot("first")
        with pytest.raises(ValueError, match=r"no metric 'steps'.*expected one of: first"):
            history.last("steps")


def test_the_time_of_evaluation_is_recorded(monkeypatch, capsys):
    now = iter(range(1000))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    history = fit(steps=4, evaluate=lambda model: {"a": 1.0}, evaluate_every=2)
    assert (history.evaluation_seconds, history.seconds) == (2.0, 8.0)
    assert ": trained now in 8.0 s (evaluation 2.0 s), peak " in capsys.readouterr().out
    fit(steps=4)
    assert "evaluation" not in capsys.readouterr().out


@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_smoothed_losses_are_the_means_of_windows(window):
    history = fit(steps=5)
    steps, means = history.smoothed(window)
    width = min(window, 5)
    assert steps == list(range(width, 6))
    expected = [sum(history.losses[end - width : end]) / width for end in steps]
    assert means == pytest.approx(expected)
    with pytest.raises(ValueError, match="window is 0"):
        history.smoothed(0)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_of_any_integer_type_train_and_evaluate_alike(dtype):
    images = torch.randint(256, (64, 1, 4, 4), dtype=torch.uint8)
    labels = torch.randint(5, (64,))

    def trained(labels: torch.Tensor) -> tuple[torch.Tensor, float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
        training.fit(
            model,
            training.Batches((images, labels), 16),
            lambda model, x, y: F.cross_entropy(model(x), y),
            torch.optim.SGD(model.parameters(), lr=0.1),
            name="test/labels",
            steps=8,
        )
        return model[1].weight, classification.accuracy(model, images, labels)

    (weight, accuracy), (expected_weight, expected) = trained(labels.to(dtype)), trained(labels)
    assert torch.equal(weight, expected_weight)
    assert accuracy == expected
