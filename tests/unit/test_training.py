"""The loop: what it computes, what it leaves behind, and what happens when it goes astray."""

import importlib.util
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from dl4cv import optim, runtime, training
from dl4cv.training import checkpoints, loop, runs, states
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent

spec = importlib.util.spec_from_file_location("tiny", HERE / "tiny.py")
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
sys.modules["tiny"] = tiny
spec.loader.exec_module(tiny)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    return tmp_path


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


def in_process(code: str, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``code`` in a process of its own, which can import ``tiny``."""
    script = Path(os.environ["DL4CV_CACHE"]) / "script.py"
    script.write_text(textwrap.dedent(code))
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, **environment}
    command = command or (sys.executable,)
    return subprocess.run(
        [*command, str(script)], env=env, capture_output=True, text=True, timeout=240
    )


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
    other, its_optimizer, drawn = tiny.train()
    assert (trained.trained_now, drawn.trained_now) == (True, False)
    assert "from the run store, trained in" in capsys.readouterr().out
    assert first.split()[-4:] == drawn.line().split()[-4:]
    assert {**vars(drawn), "trained_now": True} == vars(trained)
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


def test_resumes_after_kill_9_with_the_same_result(cache: Path, capsys):
    killed = in_process(
        """
        import os, signal
        import tiny
        from dl4cv import storage
        from dl4cv.training import checkpoints, loop

        loop.CHECKPOINT_SECONDS = 0.0
        write, count = checkpoints.write, 0

        def write_and_die(path, state):
            global count
            count += 1
            if count == 23:
                with storage.atomic_path(path) as temporary:
                    temporary.write_bytes(b"half")
                    os.kill(os.getpid(), signal.SIGKILL)
            write(path, state)

        checkpoints.write = write_and_die
        tiny.train()
        """
    )
    assert killed.returncode == -9, killed.stderr
    (checkpoint,) = cache.glob("runs/test/tiny/*.checkpoint")
    assert checkpoints.read(checkpoint)["step"] == 22
    model, optimizer, resumed = tiny.train()
    assert "(resumed at step 22)" in capsys.readouterr().out
    left = [file.name for file in checkpoint.parent.iterdir() if not file.name.endswith(".lock")]
    assert left == [resumed.key]
    runs.shutil.rmtree(checkpoint.parent)
    undisturbed_model, undisturbed_optimizer, undisturbed = tiny.train()
    assert undisturbed.key == resumed.key
    assert undisturbed.losses == resumed.losses
    assert undisturbed.metrics == resumed.metrics
    same_state(model.state_dict(), undisturbed_model.state_dict())
    same_state(optimizer.state_dict(), undisturbed_optimizer.state_dict())


def test_a_broken_checkpoint_is_said_and_ignored(capsys):
    _, _, sound = tiny.train()
    entry = runs.folder(sound.name, sound.key)
    runs.shutil.rmtree(entry)
    path = checkpoints.path_of(entry)
    checkpoints.write(path, {"step": 7})
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
    with pytest.raises(training.TrainingError, match=r"test/run: the loss is .* at step 7") as told:
        fit(loss_fn=loss_fn, steps=100, batches=lambda step: (X, torch.tensor(step)))
    (checkpoint,) = cache.glob("runs/test/run/*.checkpoint")
    assert str(checkpoint) in str(told.value)
    state = checkpoints.read(checkpoint)
    assert state["step"] == 7
    assert len(state["losses"]) == 7
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
    saved = states.load(states.dump(optimizer.state_dict()))
    loop.install(model, optimizer, model.state_dict(), saved)
    moment = optimizer.state[model.weight]["exp_avg"]
    assert moment.stride() == model.weight.stride()


def test_two_processes_train_the_joint_batch_as_one_does():
    code = """
        import os
        import torch
        torch.set_num_threads(1)
        import tiny
        model, _, history = tiny.train(dropout=0.0)
        path = f"{os.environ['DL4CV_CACHE']}/{os.environ['RANK']}.pt"
        torch.save((model.state_dict(), history.losses), path)
    """
    launch = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
    done = in_process(code, *launch, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert len(training.RUN_LINE.findall(done.stdout)) == 1
    model, _, alone = tiny.train(dropout=0.0)
    assert alone.trained_now, "the number of processes belongs to the key"
    outcomes = sorted(Path(os.environ["DL4CV_CACHE"]).glob("*.pt"))
    assert len(outcomes) == 2
    for outcome in outcomes:
        weights, losses = torch.load(outcome, weights_only=True)
        assert losses == pytest.approx(alone.losses, abs=1e-12)
        torch.testing.assert_close(weights, dict(model.state_dict()), rtol=0, atol=1e-12)
