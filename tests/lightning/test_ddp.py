"""Two processes that train one model: one run, the same parameters, the same end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pl = pytest.importorskip("lightning.pytorch")

pytestmark = [pytest.mark.slow]

PROGRAM = """
    import os, sys
    import torch
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel
    from besom_lightning import SweepCallback, SweepLogger
    import besom

    class Model(BoringModel):
        def __init__(self, lr):
            super().__init__()
            self.lr = lr

        def on_train_start(self):
            self.say("start", repr(self.lr))

        def say(self, what, word):
            with open(f"{what}.{os.environ['LOCAL_RANK']}", "a") as file:
                file.write(word)

        def training_step(self, batch, batch_idx):
            HOOK
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.step(batch).abs() * 0 + 1 + self.global_rank, sync_dist=False)

        def on_train_end(self):
            self.say("end", str(self.trainer.global_step))

    if __name__ == "__main__":
        torch.set_num_threads(1)
        with besom.init(config={"lr": 0.5}) as run:
            callback = SweepCallback()
            trainer = pl.Trainer(max_epochs=4, limit_train_batches=2, limit_val_batches=1, accelerator="cpu",
                                 devices=2, strategy="STRATEGY", logger=LOGGER, num_sanity_val_steps=1,
                                 enable_progress_bar=False, enable_model_summary=False, callbacks=[callback])
            trainer.fit(Model(run.config.lr), ckpt_path=run.resume_path)
            if os.environ.get("LOCAL_RANK", "0") == "0":
                with open("main", "a") as file:
                    file.write(f"{callback.stopped} {trainer.callback_metrics.get('besom/stopped')}")
"""

STRATEGIES = ["ddp_notebook", "ddp_spawn", "ddp"]


def program(strategy: str, *, logger: str = "SweepLogger()", hook: str = "pass") -> str:
    return PROGRAM.replace("STRATEGY", strategy).replace("LOGGER", logger).replace("HOOK", hook)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_ranks_stop_at_the_same_step_of_one_run(
    sweeps: Any, agent: Callable[..., Any], strategy: str
) -> None:
    sweeps.program(program(strategy))
    sweep_id = sweeps.stopping()
    done = agent(sweep_id, "--count", "1", "-v")
    [run] = sweeps.store.list_runs(sweep_id)
    told = done.stdout + done.stderr
    assert run.state.value == "stopped", told
    assert sweeps.steps(run.id) == [2, 4], told
    assert run.value == 1.0, "the report is rank 0's"
    places = [sweeps.home / f"{what}.{rank}" for what in ("start", "end") for rank in (0, 1)]
    assert [place.read_text() for place in places] == ["0.1", "0.1", "4", "4"]
    assert (sweeps.home / "main").read_text() == "True 1.0"
    assert [path.name for path in (sweeps.home / ".besom/runs" / run.id / "checkpoints").iterdir()] == [
        "epoch=1-step=4.ckpt"
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_of_two_ranks_finishes(sweeps: Any, agent: Callable[..., Any], strategy: str) -> None:
    sweeps.program(program(strategy, logger="False"))
    sweep_id = sweeps.create()
    done = agent(sweep_id, "--count", "1", "-v")
    [run] = sweeps.store.list_runs(sweep_id)
    assert run.state.value == "finished", done.stdout + done.stderr
    assert sweeps.steps(run.id) == [2, 4, 6, 8]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rank_that_is_killed_fails_its_run_and_the_next_begins(
    sweeps: Any, agent: Callable[..., Any], strategy: str
) -> None:
    hook = (
        "import signal\n"
        "            if self.lr == 0.1 and self.global_rank == 1 and self.trainer.global_step == 3:\n"
        "                os.kill(os.getpid(), signal.SIGKILL)"
    )
    sweeps.program(program(strategy, hook=hook))
    sweep_id = sweeps.create()
    done = agent(sweep_id, "--count", "2", "-v")
    states = [run.state.value for run in sweeps.store.list_runs(sweep_id)]
    assert states == ["failed", "finished"], done.stdout + done.stderr


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_error_is_that_of_the_first_rank_that_failed(
    sweeps: Any, agent: Callable[..., Any], strategy: str
) -> None:
    hook = (
        "if self.global_rank == 1 and self.trainer.global_step == 1:\n"
        '                raise ValueError("no such thing")'
    )
    sweeps.program(program(strategy, hook=hook))
    sweep_id = sweeps.create()
    done = agent(sweep_id, "--count", "1", "-v")
    [run] = sweeps.store.list_runs(sweep_id)
    assert run.state.value == "failed", done.stdout + done.stderr
    assert run.error.startswith("on rank 1:")
    assert "ValueError: no such thing" in run.error


@pytest.mark.parametrize("strategy", ["ddp_notebook", "ddp_spawn"])
def test_a_function_agents_run_is_found_in_the_workers(
    sweeps: Any, python: Callable[..., Any], strategy: str
) -> None:
    text = program(strategy).replace('if __name__ == "__main__":', "def train():")
    end = """
    if __name__ == "__main__":
        besom.agent(sys.argv[1], train, count=2)
    """
    sweeps.program(text + end)
    sweep_id = sweeps.stopping()
    done = python("train.py", sweep_id)
    runs = sweeps.store.list_runs(sweep_id)
    assert [run.state.value for run in runs] == ["stopped", "stopped"], done.stdout + done.stderr
    assert [sweeps.steps(run.id) for run in runs] == [[2, 4], [2, 4]]


def test_a_run_outside_every_sweep_is_one_run(sweeps: Any, python: Callable[..., Any]) -> None:
    sweeps.program(program("ddp"))
    done = python("train.py")
    [run] = sweeps.store.list_runs(None)
    assert run.state.value == "finished", done.stdout + done.stderr
    assert sweeps.steps(run.id) == [2, 4, 6, 8]


def test_ranks_with_other_parameters_are_told_so_on_every_rank(
    sweeps: Any, agent: Callable[..., Any]
) -> None:
    text = program("ddp").replace(
        "import besom\n",
        "import besom\n"
        '    if os.environ.get("LOCAL_RANK") == "1":\n'
        '        open("other.json", "w").write(\'{"lr": 9}\')\n'
        '        os.environ["BESOM_PARAMS_FILE"] = "other.json"\n',
    )
    sweeps.program(text)
    sweep_id = sweeps.create()
    done = agent(sweep_id, "--count", "1", "-v")
    [run] = sweeps.store.list_runs(sweep_id)
    told = done.stdout + done.stderr
    assert run.state.value == "failed", told
    assert "do not have the same run with the same parameters" in run.error
    assert told.count("UsageError: the ranks of this Trainer do not have the same") >= 2


@pytest.mark.parametrize("strategy", ["ddp_notebook", "ddp_spawn"])
def test_a_metric_that_is_synchronized_is_the_mean_of_all_ranks(
    sweeps: Any, agent: Callable[..., Any], strategy: str
) -> None:
    told = "* 0 + 1 + self.global_rank, sync_dist=False"
    text = program(strategy)
    assert told in text
    sweeps.program(text.replace(told, "* 0 + 0.3 * (1 + self.global_rank), sync_dist=True"))
    sweep_id = sweeps.create()
    done = agent(sweep_id, "--count", "1", "-v")
    [run] = sweeps.store.list_runs(sweep_id)
    assert run.state.value == "finished", done.stdout + done.stderr
    assert run.value == pytest.approx(0.45)
