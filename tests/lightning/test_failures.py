# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""What a failed fit leaves with its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import besom

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")
torch = pytest.importorskip("torch")


from besom_lightning import SweepCallback  # noqa: E402

BoringModel: Any = boring.BoringModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Failing(BoringModel):  # type: ignore[misc]
    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.error is not None:
            raise self.error
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.step(batch))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError("no more"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_out_of_memory_is_said_first(sweeps: Any, trainer: Callable[..., Any], error: Exception) -> None:
    run = sweeps.enter(sweeps.create())
    with pytest.raises(type(error)), besom.init():
        trainer(callbacks=[SweepCallback()]).fit(Failing(error))
    found = sweeps.store.get_run(run.id)
    assert found.state.value == "failed"
    assert found.error.startswith("out of memory\n")
    assert str(error) in found.error


def test_memory_that_runs_out_while_a_learning_rate_is_sought_is_said_first_too(
    sweeps: Any, trainer: Callable[..., Any]
) -> None:
    """A Tuner puts callbacks of its own in the place of the Trainer's, and leaves them there."""
    run = sweeps.enter(sweeps.create())
    model = Failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    model.lr = 0.1
    with pytest.raises(torch.OutOfMemoryError), besom.init():
        pl.tuner.Tuner(trainer(callbacks=[SweepCallback()])).lr_find(model, num_training=3)
    found = sweeps.store.get_run(run.id)
    assert found.state.value == "failed"
    assert found.error.startswith("out of memory\n")


def test_any_other_error_is_the_end_of_its_traceback(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    with pytest.raises(ValueError, match="odd"), besom.init():
        trainer(callbacks=[SweepCallback()]).fit(Failing(ValueError("odd")))
    found = sweeps.store.get_run(run.id)
    assert found.state.value == "failed"
    assert found.error.endswith("ValueError: odd")
    assert "training_step" in found.error


def test_an_error_that_the_program_got_over_is_forgotten(sweeps: Any, trainer: Callable[..., Any]) -> None:
    run = sweeps.enter(sweeps.create())
    callback = SweepCallback()
    live = besom.init()
    with pytest.raises(ValueError, match="odd"):
        trainer(callbacks=[callback]).fit(Failing(ValueError("odd")))
    trainer(callbacks=[callback]).fit(Failing(None))
    live.end_with(KeyError("later"))
    assert sweeps.store.get_run(run.id).error.endswith("KeyError: 'later'")
    assert sweeps.steps(run.id) == [4, 8]


def test_ctrl_c_ends_a_function_agent_and_gives_its_run_back(sweeps: Any, python: Callable[..., Any]) -> None:
    """Lightning makes an exit of it, which would be the failure of one run."""
    sweeps.program(
        """
        import os, signal, sys
        import lightning.pytorch as pl
        from lightning.pytorch.demos.boring_classes import BoringModel
        from besom_lightning import SweepCallback
        import besom

        class Model(BoringModel):
            def training_step(self, batch, batch_idx):
                os.kill(os.getpid(), signal.SIGINT)
                return super().training_step(batch, batch_idx)

        def train():
            pl.Trainer(max_epochs=1, limit_train_batches=2, accelerator="cpu", logger=False,
                       enable_progress_bar=False, enable_model_summary=False,
                       callbacks=[SweepCallback()]).fit(Model())

        besom.agent(sys.argv[1], train)
        """
    )
    sweep_id = sweeps.create()
    done = python("train.py", sweep_id)
    runs = sweeps.store.list_runs(sweep_id)
    assert [run.state.value for run in runs] == ["preempted"], done.stderr
    assert "KeyboardInterrupt" in done.stderr
