"""What Optuna's pruning callback does for a Trainer, SweepCallback does in its place; see pruning.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning.pytorch")
pytest.importorskip("optuna")

PROGRAM = """
    import json, sys
    import optuna, torch
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel
    from optuna.testing.pruners import DeterministicPruner
    from pruning import PyTorchLightningPruningCallback

    class Model(BoringModel):
        def validation_step(self, batch, batch_idx):
            self.log("accuracy", torch.tensor(0.3 * (1 + self.global_rank)), sync_dist=True)

    def objective(trial):
        callback = PyTorchLightningPruningCallback(trial, "accuracy")
        pl.Trainer(max_epochs=2, limit_train_batches=2, limit_val_batches=1, accelerator="cpu", logger=False,
                   enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                   callbacks=[callback], **MORE).fit(Model())
        if MORE:
            callback.check_pruned()
        return 1.0

    if __name__ == "__main__":
        torch.set_num_threads(1)
        storage, MORE = json.loads(sys.argv[1])
        found = []
        for prunes in (True, False):
            study = optuna.create_study(storage=storage, pruner=DeterministicPruner(prunes))
            study.optimize(objective, n_trials=1)
            [trial] = study.trials
            found.append([trial.state.name, list(trial.intermediate_values.items())])
        print("found", json.dumps(found))
"""
TWO_RANKS = {"devices": 2, "strategy": "ddp_spawn"}


def outcomes(
    sweeps: Any, python: Callable[..., Any], storage: str | None, more: dict[str, Any]
) -> list[tuple[str, dict[int, float]]]:
    """Give how a trial of a pruner that always prunes ends, and one of a pruner that never does.

    Each is the trial's state and what was reported by epoch, to six decimals.
    """
    sweeps.program(PROGRAM)
    path = os.pathsep.join([python_path(), str(Path(__file__).parent)])
    done = python("train.py", json.dumps([storage, more]), environment={"PYTHONPATH": path})
    said = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    assert said, done.stdout + done.stderr
    return [
        (state, {epoch: round(value, 6) for epoch, value in values})
        for state, values in json.loads(said[0].removeprefix("found "))
    ]


def python_path() -> str:
    root = Path(__file__).parents[2]
    return os.pathsep.join([str(root / "core"), str(root / "integrations")])


@pytest.mark.slow
def test_a_trial_ends_as_its_pruner_says(sweeps: Any, python: Callable[..., Any]) -> None:
    pruned, complete = outcomes(sweeps, python, None, {})
    assert pruned == ("PRUNED", {0: 0.3})
    assert complete == ("COMPLETE", {0: 0.3, 1: 0.3})


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite:///optuna.db", None], ids=["sqlite", "in_memory"])
def test_a_trial_of_two_ranks_does_whatever_the_studys_storage_is(
    sweeps: Any, python: Callable[..., Any], storage: str | None
) -> None:
    """Optuna's own callback refuses a study in memory."""
    pruned, complete = outcomes(sweeps, python, storage, TWO_RANKS)
    assert pruned == ("PRUNED", {0: 0.45})
    assert complete == ("COMPLETE", {0: 0.45, 1: 0.45})
