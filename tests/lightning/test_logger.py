"""SweepLogger, by itself and beside other loggers."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import besom

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")


from besom_lightning import SweepCallback, SweepLogger  # noqa: E402

BoringModel: Any = boring.BoringModel
CSVLogger: Any = pl.loggers.CSVLogger

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_it_logs_to_the_run_of_this_process(sweeps: Any) -> None:
    run = sweeps.enter(sweeps.create())
    logger = SweepLogger()
    logger.log_metrics(metrics={"a": 1.0}, step=3)
    logger.save()
    logger.finalize("success")
    logger.finalize("success")
    logger.log_metrics({"a": 2.0}, step=4)
    assert (logger.name, logger.version) == (run.sweep_id, run.id)
    assert logger.save_dir == logger.log_dir == str(besom.init().dir)
    assert logger.experiment is besom.init()
    besom.finish()
    assert sweeps.steps(run.id, "a") == [3, 4]


def test_outside_a_sweep_it_begins_a_run(store: Any, home: Path) -> None:
    logger = SweepLogger(save_dir=home / "logs", prefix="fold1")
    logger.log_metrics({"a": 1.0}, 0)
    besom.finish()
    [run] = store.list_runs(None)
    assert run.summary == {"fold1-a": 1.0}
    assert logger.save_dir == str(home / "logs")
    assert logger.name == "besom"


def test_a_run_of_a_second_rank_is_a_dummy(sweeps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sweeps.enter(sweeps.create())
    monkeypatch.setenv("RANK", "1")
    logger = SweepLogger()
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_hyperparams({"b": 1})
    logger.experiment.log({"a": 1.0})
    besom.finish()
    assert sweeps.store.history(run.id) == []


def test_a_pickled_logger_goes_on_with_the_run(sweeps: Any) -> None:
    run = sweeps.enter(sweeps.create())
    logger = SweepLogger(prefix="p")
    logger.log_metrics({"a": 1.0}, 0)
    copy = pickle.loads(pickle.dumps(logger))
    copy.log_metrics({"a": 2.0}, 1)
    assert (copy.name, copy.version, copy.save_dir) == (logger.name, logger.version, logger.save_dir)
    besom.finish()
    assert sweeps.steps(run.id, "p-a") == [0, 1]


@pytest.mark.parametrize("given", [{"lr": 0.1, "depth": 3}, argparse.Namespace(lr=0.1000000001, depth=3)])
def test_the_sweeps_own_parameters_are_silent(
    sweeps: Any, caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    run = sweeps.enter(sweeps.create())
    SweepLogger().log_hyperparams(given)
    besom.finish()
    assert sweeps.store.get_run(run.id).config == {"lr": 0.1, "depth": 3}
    assert not caplog.records


def test_other_hyperparameters_are_kept_beside_the_sweeps(
    sweeps: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = sweeps.enter(sweeps.create())
    logger = SweepLogger()
    logger.log_hyperparams({"lr": 0.7, "depth": 3})
    besom.finish()
    assert sweeps.store.get_run(run.id).config == {"lr": 0.1, "depth": 3, "hparams": {"lr": 0.7}}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_it_gets_along_with_another_logger(sweeps: Any, trainer: Callable[..., Any], home: Path) -> None:
    class Model(BoringModel):  # type: ignore[misc]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.step(batch))

    run = sweeps.enter(sweeps.create())
    with besom.init():
        other = CSVLogger(home / "csv")
        trainer(logger=[other, SweepLogger()], callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.steps(run.id) == [4, 8]
    assert (Path(other.log_dir) / "metrics.csv").read_text().count("\n") == 3


def test_hyperparameters_of_any_type_become_json(sweeps: Any) -> None:
    class Own:
        def __repr__(self) -> str:
            return "Own()"

    run = sweeps.enter(sweeps.create())
    given: Any = {
        1: 1,
        "bool": np.bool_(1),
        "whole": np.longlong(5),
        "single": np.single(6.0),
        "double": np.double(8.9),
        "complex": np.cdouble(9 + 4j),
        "tensor": torch.tensor(4),
        "own": Own(),
    }
    SweepLogger().log_hyperparams(given)
    besom.finish()
    assert sweeps.store.get_run(run.id).config == {
        "lr": 0.1,
        "1": 1,
        "bool": True,
        "whole": 5,
        "single": 6.0,
        "double": 8.9,
        "complex": "(9+4j)",
        "tensor": 4,
        "own": "Own()",
    }


def test_two_loggers_of_a_pickled_trainer_log_to_the_same_run(
    sweeps: Any, trainer: Callable[..., Any]
) -> None:
    run = sweeps.enter(sweeps.create())
    made = trainer(logger=[SweepLogger(), SweepLogger(prefix="second")], callbacks=[SweepCallback()])
    for logger in pickle.loads(pickle.dumps(made)).loggers:
        logger.log_metrics({"acc": 1.0}, 0)
    besom.finish()
    assert [row.data for row in sweeps.store.history(run.id)] == [{"acc": 1.0}, {"second-acc": 1.0}]


def test_a_metric_called_step_does_not_move_the_runs_axis(sweeps: Any, trainer: Callable[..., Any]) -> None:
    class Model(BoringModel):  # type: ignore[misc]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log_dict({"val_loss": self.step(batch), "step": 1000.0})

    run = sweeps.enter(sweeps.create())
    with besom.init():
        trainer(logger=SweepLogger(), callbacks=[SweepCallback()]).fit(Model())
    assert sweeps.steps(run.id) == [4, 8]


def test_a_slurm_task_that_has_a_run_alone_logs(
    sweeps: Any, trainer: Callable[..., Any], python: Callable[..., Any]
) -> None:
    """Lightning's rank_zero_only says 1 there, and every logger of its own is silent."""
    sweeps.program(
        """
        import lightning.pytorch as pl
        import besom, sys
        from lightning.pytorch.demos.boring_classes import BoringModel
        from lightning.pytorch.utilities import rank_zero_only
        from besom_lightning import SweepCallback, SweepLogger

        class Model(BoringModel):
            def validation_step(self, batch, batch_idx):
                self.log("val_loss", self.step(batch))

        def train():
            assert rank_zero_only.rank == 1
            trainer = pl.Trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=1, accelerator="cpu",
                                 devices=1, logger=SweepLogger(), enable_progress_bar=False,
                                 enable_model_summary=False, callbacks=[SweepCallback()])
            assert trainer.is_global_zero
            trainer.fit(Model())

        besom.agent(sys.argv[1], train, count=1)
        """
    )
    sweep_id = sweeps.create()
    slurm = {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "7"}
    done = python("train.py", sweep_id, environment=slurm)
    [run] = sweeps.store.list_runs(sweep_id)
    assert run.state.value == "finished", done.stdout + done.stderr
    assert sweeps.steps(run.id) == [2], done.stderr


@pytest.mark.parametrize("root", ["lightning.pytorch", "pytorch_lightning"])
def test_the_other_import_root_is_never_imported(sweeps: Any, python: Callable[..., Any], root: str) -> None:
    other = {"lightning.pytorch": "pytorch_lightning", "pytorch_lightning": "lightning.pytorch"}[root]
    done = python(
        "-c",
        f"import sys, {root} as pl\n"
        "from besom_lightning import SweepCallback, SweepLogger\n"
        "assert isinstance(SweepCallback(), pl.Callback) and issubclass(SweepLogger, pl.loggers.Logger)\n"
        f"assert {other!r} not in sys.modules\n",
    )
    assert done.returncode == 0, done.stderr


def test_with_both_import_roots_loaded_the_classes_are_of_both(python: Callable[..., Any]) -> None:
    done = python(
        "-c",
        "import lightning.pytorch as a, pytorch_lightning as b\n"
        "from besom_lightning import SweepCallback, SweepLogger\n"
        "for root in (a, b):\n"
        "    assert issubclass(SweepCallback, root.Callback)\n"
        "    assert issubclass(SweepLogger, root.loggers.Logger)\n"
        "    root.Trainer(logger=SweepLogger(), callbacks=[SweepCallback()], accelerator='cpu')\n",
    )
    assert done.returncode == 0, done.stderr
