# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""How a Trainer ends when its sweep says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import besom

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")


from besom_lightning import SweepCallback, SweepLogger  # noqa: E402

BoringModel: Any = boring.BoringModel
Callback: Any = pl.callbacks.Callback
ModelCheckpoint: Any = pl.callbacks.ModelCheckpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Model(BoringModel):  # type: ignore[misc]
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().validation_step(batch, batch_idx)
        self.log("val_loss", out["x"])
        return out


def state(sweeps: Any, run_id: str) -> str:
    found: str = sweeps.store.get_run(run_id).state.value
    return found


def test_the_stoppers_answer_to_a_report_is_taken_at_once(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.stopping())
    callback = SweepCallback()
    with besom.init() as live:
        made = trainer(max_epochs=10, callbacks=[callback, ModelCheckpoint()], enable_checkpointing=True)
        made.fit(Model())
        assert live.told_to_stop
        assert callback.stopped
        assert "above" in callback.stop_reason
    assert made.global_step == 8
    assert made.state.status.value == "finished"
    assert state(sweeps, run.id) == "stopped"
    assert float(made.callback_metrics["besom/stopped"]) == 1.0
    assert len(list((live.dir / "checkpoints").glob("*step=8.ckpt"))) == 1


@pytest.mark.parametrize("least", [{"min_epochs": 5}, {"min_steps": 30}])
def test_a_stop_does_not_wait_for_the_least_epochs_or_steps(
    sweeps: Any, trainer: Callable[..., Any], least: dict[str, int]
) -> None:
    sweeps.enter(sweeps.stopping())
    with besom.init():
        made = trainer(max_epochs=10, callbacks=[SweepCallback()], **least)
        made.fit(Model())
    assert made.global_step == 8


def test_a_stop_ends_an_epoch_in_its_midst(sweeps: Any, trainer: Callable[..., Any]) -> None:
    sweeps.enter(sweeps.stopping())
    with besom.init():
        made = trainer(max_epochs=10, val_check_interval=1, callbacks=[SweepCallback()])
        made.fit(Model())
    assert made.global_step == 2


def test_a_user_can_stop_a_run(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())

    class Impatient(Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 6:
                sweeps.store.request_stop(run.id, "enough")

    callback = SweepCallback()
    with besom.init():
        made = trainer(max_epochs=10, callbacks=[callback, Impatient()])
        made.fit(Model())
    assert (made.global_step, callback.stop_reason) == (8, "enough")
    assert state(sweeps, run.id) == "stopped"


def test_a_trainer_that_was_stopped_can_still_test(sweeps: Any, trainer: Callable[..., Any]) -> None:
    class Tested(Model):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("test_loss", self.step(batch))

    run = sweeps.enter(sweeps.stopping())
    with besom.init():
        made = trainer(max_epochs=10, callbacks=[SweepCallback()], logger=SweepLogger())
        made.fit(model := Tested())
        made.test(model, verbose=False)
    assert sweeps.steps(run.id, "test_loss") == [8]
    assert state(sweeps, run.id) == "stopped"


def test_a_store_that_is_away_does_not_end_the_training(
    sweeps: Any, trainer: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sweeps.enter(sweeps.create())
    monkeypatch.setenv("BESOM_STORE", f"sqlite:///{home}/nowhere/below/besom.db")
    (home / "nowhere").write_text("a file where a folder should be")
    live = besom.init()
    made = trainer(callbacks=[SweepCallback()])
    made.fit(Model())
    assert made.global_step == 8
    live.leave()
    journal = (live.dir / f"journal.{run.attempt}.jsonl").read_text()
    assert journal.count('"val_loss"') >= 2


@pytest.mark.slow
def test_the_agents_next_run_begins_after_one_that_was_stopped(
    sweeps: Any, agent: Callable[..., Any]
) -> None:
    sweeps.program(
        """
        import lightning.pytorch as pl
        from lightning.pytorch.demos.boring_classes import BoringModel
        from besom_lightning import SweepCallback

        class Model(BoringModel):
            def validation_step(self, batch, batch_idx):
                self.log("val_loss", self.step(batch))

        pl.Trainer(max_epochs=9, limit_train_batches=2, limit_val_batches=1, accelerator="cpu",
                   logger=False, enable_progress_bar=False, enable_model_summary=False,
                   callbacks=[SweepCallback()]).fit(Model())
        """
    )
    sweep_id = sweeps.stopping()
    done = agent(sweep_id, "--count", "2")
    runs = sweeps.store.list_runs(sweep_id)
    assert [run.state.value for run in runs] == ["stopped", "stopped"], done.stderr
    assert [sweeps.steps(run.id) for run in runs] == [[2, 4], [2, 4]]
    assert not (sweeps.home / "checkpoints").exists()
    assert all(list((sweeps.home / ".besom/runs" / run.id / "checkpoints").glob("*.ckpt")) for run in runs)


def test_reports_of_several_threads_do_not_deadlock(sweeps: Any) -> None:
    sweeps.enter(sweeps.create())
    with besom.init() as live:
        threads = [
            threading.Thread(target=lambda: [live.ask_stop({"val_loss": 1.0}) for _ in range(50)])
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert len(sweeps.store.history(live.id)) == 150
