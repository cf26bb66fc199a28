# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""What SweepCallback reports, when, and at which step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import besom
from besom.errors import UsageError

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")
torch = pytest.importorskip("torch")


from besom_lightning import SweepCallback, SweepLogger  # noqa: E402

BoringModel: Any = boring.BoringModel
ManualOptimBoringModel: Any = boring.ManualOptimBoringModel
BatchSizeFinder: Any = pl.callbacks.BatchSizeFinder
LearningRateFinder: Any = pl.callbacks.LearningRateFinder

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Model(BoringModel):  # type: ignore[misc]
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().training_step(batch, batch_idx)
        self.log("train_loss", out["loss"], on_step=True, on_epoch=True)
        return out

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().validation_step(batch, batch_idx)
        self.log("val_loss", out["x"])
        return out

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().test_step(batch, batch_idx)
        self.log("val_loss", out["y"])
        return out


def test_every_validation_is_reported_at_its_global_step(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(val_check_interval=0.5, callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.steps(run.id) == [2, 4, 6, 8]
    assert [row.data["epoch"] for row in sweeps.store.history(run.id) if "val_loss" in row.data] == [
        0,
        0,
        1,
        1,
    ]


def test_what_only_the_epochs_end_has_is_reported_there(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create("train_loss_epoch"))
    with besom.init():
        trainer(val_check_interval=0.5, callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.steps(run.id, "train_loss_epoch") == [4, 8]
    assert sweeps.steps(run.id, "train_loss") == [4, 8]
    assert sweeps.store.get_run(run.id).value is not None


@pytest.mark.parametrize("with_logger", [False, True])
def test_a_metric_of_the_validation_is_reported_once(
    sweeps: Any, trainer: Callable[..., Any], with_logger: bool
) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        logger = SweepLogger() if with_logger else False
        trainer(callbacks=[SweepCallback()], logger=logger, log_every_n_steps=1).fit(Model())
    rows = sweeps.store.history(run.id)
    assert sweeps.steps(run.id) == [4, 8]
    assert sum("train_loss_epoch" in row.data for row in rows) == 2
    if with_logger:
        assert sweeps.steps(run.id, "train_loss_step") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_the_module_logs_at_the_epochs_end_is_reported(sweeps: Any, trainer: Callable[..., Any]) -> None:
    class Late(Model):
        def on_train_epoch_end(self) -> None:
            self.log("late", float(self.current_epoch))

    run = sweeps.enter(sweeps.create("late"))
    with besom.init():
        trainer(callbacks=[SweepCallback()]).fit(Late())
    assert [row.data["late"] for row in sweeps.store.history(run.id) if "late" in row.data] == [0.0, 1.0]


def test_accumulated_batches_count_as_one_step(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(accumulate_grad_batches=3, callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.steps(run.id) == [2, 4]


def test_several_optimizers_do_not_make_the_logger_fall_behind(
    sweeps: Any, trainer: Callable[..., Any]
) -> None:
    class Two(ManualOptimBoringModel):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = None
            for optimizer in self.optimizers():
                loss = self.step(batch)
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val_loss", self.step(batch))

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), 0.01), torch.optim.SGD(self.parameters(), 0.01)]

    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(callbacks=[SweepCallback()], logger=SweepLogger(), log_every_n_steps=1).fit(Two())
    assert sweeps.steps(run.id) == [8, 16]
    assert sweeps.steps(run.id, "train_loss") == [2, 4, 6, 8, 10, 12, 14, 16]


def test_only_fitting_reports(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    model, callback = Model(), SweepCallback()
    with besom.init():
        made = trainer(callbacks=[callback], num_sanity_val_steps=2)
        made.validate(model, verbose=False)
        made.fit(model)
        made.validate(model, verbose=False)
        made.test(model, verbose=False)
    assert sweeps.steps(run.id) == [4, 8]


def test_a_fast_dev_run_reports_nothing(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create("there is no such metric"))
    with besom.init():
        trainer(callbacks=[SweepCallback()], fast_dev_run=True).fit(Model())
    assert sweeps.store.history(run.id) == []


class Tunable(Model):
    def __init__(self, lr: float = 0.1, batch_size: int = 2) -> None:
        super().__init__()
        self.lr, self.batch_size = lr, batch_size

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(boring.RandomDataset(32, 64), batch_size=self.batch_size)


@pytest.mark.parametrize(
    "finder",
    [
        LearningRateFinder(num_training_steps=5),
        BatchSizeFinder(max_trials=2, steps_per_trial=1),
    ],
    ids=["lr", "batch_size"],
)
def test_the_finders_report_nothing(sweeps: Any, trainer: Callable[..., Any], finder: Any) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(callbacks=[finder, SweepCallback()], logger=SweepLogger(), max_epochs=1).fit(Tunable())
    assert sweeps.steps(run.id) == [4]


def test_values_of_an_earlier_fit_are_not_reported_again(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        made, model = trainer(callbacks=[SweepCallback()], max_epochs=1), Model()
        made.fit(model)
        made.fit_loop.max_epochs = 2
        made.limit_val_batches = 0
        made.fit(model)
    assert sweeps.steps(run.id) == [4]


def test_several_fits_in_one_process_follow_each_other(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        for _ in range(3):
            trainer(callbacks=[SweepCallback()], logger=SweepLogger(), max_epochs=1).fit(Model())
    assert sweeps.steps(run.id) == [4, 8, 12]


def test_a_program_that_logs_for_itself_loses_nothing(sweeps: Any, trainer: Callable[..., Any]) -> None:
    class Talks(Model):
        def on_train_batch_end(self, *_: Any) -> None:
            besom.log({"mine": 1.0})
            besom.log({"mine": 2.0})

    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(callbacks=[SweepCallback()], logger=SweepLogger(), log_every_n_steps=1).fit(Talks())
    rows = sweeps.store.history(run.id)
    assert len(sweeps.steps(run.id)) == 2
    assert sum("mine" in row.data for row in rows) == 16
    assert sum("train_loss_step" in row.data for row in rows) == 8


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_kept_and_never_count(
    sweeps: Any, trainer: Callable[..., Any], value: float
) -> None:
    class Odd(BoringModel):  # type: ignore[misc]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", torch.tensor(value))

    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(callbacks=[SweepCallback()]).fit(Odd())
    ended = sweeps.store.get_run(run.id)
    assert len(sweeps.steps(run.id)) == 2
    assert ended.value is None
    assert ended.state.value == "finished"


# ---- names


def test_a_wrong_name_is_an_error_at_the_first_validation(sweeps: Any, trainer: Callable[..., Any]) -> None:
    sweeps.enter(sweeps.create("val/loss"))
    besom.init()
    made = trainer(callbacks=[SweepCallback()], val_check_interval=0.5)
    with pytest.raises(UsageError, match=r"'val/loss' was not logged; did you mean 'val_loss'\?") as caught:
        made.fit(Model())
    assert "train_loss" in str(caught.value)
    assert made.global_step == 2


def test_a_wrong_name_is_an_error_without_validation_too(sweeps: Any, trainer: Callable[..., Any]) -> None:
    sweeps.enter(sweeps.create("loss"))
    besom.init()
    made = trainer(callbacks=[SweepCallback()], limit_val_batches=0, max_epochs=3)
    with pytest.raises(UsageError, match="'train_loss'"):
        made.fit(Model())
    assert made.global_step == 4


def test_the_monitored_metric_is_known_to_the_sweep_by_its_own_name(
    sweeps: Any, trainer: Callable[..., Any]
) -> None:
    run = sweeps.enter(sweeps.create("loss"))
    with besom.init():
        trainer(callbacks=[SweepCallback(monitor="val_loss")]).fit(Model())
    found = sweeps.store.get_run(run.id)
    assert found.value == found.summary["loss"] == found.summary["val_loss"]


def test_a_sweep_may_name_a_summary_of_the_metric(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create("val_loss.min"))
    with besom.init() as live:
        live.define_metric("val_loss", summary="min")
        trainer(callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.store.get_run(run.id).value is not None


def test_without_a_run_the_callback_does_nothing(home: Any, trainer: Callable[..., Any]) -> None:
    trainer(callbacks=[SweepCallback(monitor="no such")]).fit(Model())
    assert not (home / ".besom").exists()


def test_a_metric_of_a_validation_that_is_to_come_is_waited_for(
    sweeps: Any, trainer: Callable[..., Any]
) -> None:
    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(callbacks=[SweepCallback()], check_val_every_n_epoch=3, max_epochs=3).fit(Model())
    assert sweeps.steps(run.id) == [12]


BATCH = ("train_batch_start", "train_batch_end", "before_zero_grad", "before_backward", "after_backward")


def called_in_batches(trainer: Any) -> set[str]:
    """Give the hooks of a SweepCallback that a Trainer with a profiler has called in each batch."""
    actions = (action.rpartition(".on_") for action in trainer.profiler.recorded_durations)
    return {hook for owner, _, hook in actions if owner == "[Callback]SweepCallback" and hook in BATCH}


def test_a_batch_costs_no_call_of_the_callback(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    callback = SweepCallback()
    with besom.init():
        logged = trainer(profiler="simple", logger=SweepLogger(), callbacks=[callback])
        logged.fit(Model())
        alone = trainer(profiler="simple", callbacks=[callback])
        alone.fit(Model())
    assert called_in_batches(logged) == set()
    assert called_in_batches(alone) == {"train_batch_start"}  # it notes the checkpoints that no logger notes
    assert sweeps.steps(run.id) == [4, 8, 12, 16]


def test_a_subclass_may_have_hooks_for_each_batch(sweeps: Any, trainer: Callable[..., Any]) -> None:
    base: Any = SweepCallback

    class Counting(base):  # type: ignore[misc]
        batches = 0

        def on_train_batch_end(self, *given: Any) -> None:
            super().on_train_batch_end(*given)
            super().on_before_zero_grad(*given[:2], None)
            self.batches += 1

    sweeps.enter(sweeps.create())
    callback = Counting()
    with besom.init():
        trainer(logger=SweepLogger(), callbacks=[callback]).fit(Model())
    assert callback.batches == 8


def test_a_trainer_takes_one_callback(trainer: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `SweepCallback`"):
        trainer(callbacks=[SweepCallback(), SweepCallback()])
