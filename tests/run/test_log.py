from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from besom.errors import StateError, UsageError
from besom.run import LiveRun, init
from besom.store import Store


def rows(store: Store, run: LiveRun) -> list[tuple[int, Any]]:
    run.finish()
    return [(row.step, row.data) for row in store.history(run.id)]


def test_each_log_without_a_step_is_one_step(store: Store) -> None:
    run = init()
    for loss in (3.0, 2.0, 1.0):
        run.log({"loss": loss})
    assert run.step == 3
    assert rows(store, run) == [(0, {"loss": 3.0}), (1, {"loss": 2.0}), (2, {"loss": 1.0})]


def test_calls_with_one_step_belong_together(store: Store) -> None:
    run = init()
    run.log({"a": 1}, commit=False)
    run.log({"b": 2})
    run.log({"c": 3}, step=7)
    run.log({"d": 4}, step=7)
    run.log({"e": 5})
    run.log({"f": 6})
    assert [step for step, _ in rows(store, run)] == [0, 0, 7, 7, 7, 8]


def test_a_step_that_goes_back_is_ignored_with_one_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    run = init()
    run.log({"a": 1}, step=5)
    run.log({"a": 2}, step=3)
    run.log({"a": 3}, step=2)
    run.log({"a": 4}, step=6)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "log(step=3) is ignored: the run is at step 5" in warned[0]
    assert rows(store, run) == [(5, {"a": 1}), (6, {"a": 4})]


def test_steps_may_be_numbers_of_any_library(store: Store) -> None:
    class Index:
        def __index__(self) -> int:
            return 4

    run = init()
    run.log({}, step=Index())  # type: ignore[arg-type]
    run.log({}, step=5.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="whole number"):
        run.log({}, step=1.5)  # type: ignore[arg-type]
    assert [step for step, _ in rows(store, run)] == [4, 5]


def test_log_says_what_it_takes(store: Store) -> None:
    run = init()
    with pytest.raises(UsageError, match="not float"):
        run.log(0.5)  # type: ignore[arg-type]


def test_a_finished_run_takes_no_more_logs(store: Store) -> None:
    run = init()
    run.finish()
    run.finish()
    with pytest.raises(StateError, match="has ended"):
        run.log({"a": 1})
    with pytest.raises(StateError):
        run.summary["a"] = 1


def test_numpy_and_torch_like_values_are_stored_as_numbers(store: Store) -> None:
    numpy = pytest.importorskip("numpy")

    class Tensor:
        """Looks like a torch tensor with one element."""

        shape = ()

        def item(self) -> float:
            return 0.25

    run = init()
    data = {
        "f": numpy.float32(0.5),
        "d": numpy.float64(1.5),
        "i": numpy.int64(3),
        "b": numpy.bool_(True),
        "a": numpy.arange(3),
        "one": numpy.array([[1.5]]),
        "t": Tensor(),
        "nan": numpy.float32("nan"),
        "inf": -math.inf,
        "path": Path("x"),
        3: {"nested": (1, 2)},
    }
    run.log(data)  # type: ignore[arg-type]
    expected = {
        "f": 0.5,
        "d": 1.5,
        "i": 3,
        "b": True,
        "a": [0, 1, 2],
        "one": 1.5,
        "t": 0.25,
        "nan": "NaN",
        "inf": "-Infinity",
        "path": "x",
        "3": {"nested": [1, 2]},
    }
    assert run.summary.as_dict() == expected
    assert rows(store, run) == [(0, expected)]


def test_a_logged_container_may_be_changed_afterwards(store: Store) -> None:
    run = init()
    values = [1]
    run.log({"values": values})
    values.append(2)
    assert run.summary["values"] == [1]


def test_unknown_objects_are_kept_as_text_with_one_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    run = init()
    run.log({"a": Odd(), "b": Odd()})
    assert "Odd" in run.summary["a"]
    assert len([record for record in caplog.records if "no JSON form" in record.getMessage()]) == 1


def test_the_summary_holds_the_last_values_and_what_the_program_sets(store: Store) -> None:
    run = init()
    run.log({"loss": 2.0, "val": {"acc": 0.1}})
    run.log({"loss": 1.0, "val": {"f1": 0.2}})
    run.summary["best"] = 3
    run.summary.update({"val": {"acc": 0.9}}, extra=[1])
    run.summary.note = "x"
    run.summary["val"]["auc"] = 0.5
    run.summary["gone"] = 1
    del run.summary["gone"]
    del run.summary["val"]["f1"]
    with pytest.raises(KeyError):
        del run.summary["gone"]
    with pytest.raises(AttributeError, match="gone"):
        _ = run.summary.gone
    expected = {"loss": 1.0, "val": {"acc": 0.9, "auc": 0.5}, "best": 3, "extra": [1], "note": "x"}
    assert run.summary.as_dict() == expected
    assert dict(run.summary)["best"] == run.summary.best == 3
    assert run.summary["val.acc"] == run.summary.val.acc == 0.9
    assert "loss" in run.summary
    assert len(run.summary) == 5
    assert repr(run.summary) == repr(expected)
    run.finish()
    assert store.get_run(run.id).summary == expected


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("min", {"min": 1.0}),
        ("max", {"max": 3.0}),
        ("mean", {"mean": 2.0}),
        ("last", {"last": 2.0}),
        ("best", {"best": 1.0}),
        ("min,max", {"min": 1.0, "max": 3.0}),
        ("copy", 2.0),
        (None, 2.0),
    ],
)
def test_define_metric_summarizes_as_wandb_does(store: Store, summary: str | None, expected: Any) -> None:
    run = init()
    run.define_metric("loss", summary=summary)
    for loss in (3.0, math.nan, 1.0, 2.0):
        run.log({"loss": loss})
    run.finish()
    assert store.get_run(run.id).summary == {"loss": expected}


def test_define_metric_knows_globs_goals_nesting_and_none(store: Store) -> None:
    run = init()
    run.define_metric("val/*", summary="best", goal="max")
    run.define_metric("hidden", summary="none")
    run.define_metric("deep.loss", summary="min")
    run.define_metric("val/special", summary="last")
    for number in (1, 3, 2):
        run.log({"val/acc": number, "hidden": number, "deep": {"loss": number}, "val/special": number})
    run.finish()
    assert store.get_run(run.id).summary == {
        "val/acc": {"best": 3},
        "deep": {"loss": {"min": 1}},
        "val/special": {"last": 2},
    }


def test_define_metric_explains_unknown_words(store: Store) -> None:
    run = init()
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        run.define_metric("loss", summary="mena")
    with pytest.raises(UsageError, match="'minimize' or 'maximize'"):
        run.define_metric("loss", goal="up")


def sources(copy: Path | None) -> list[str]:
    assert copy is not None
    return sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file())


def test_log_code_copies_sources_and_nothing_else(store: Store, home: Path) -> None:
    wanted = ["Dockerfile.gpu", "lib/net.py", "requirements.txt", "train.py"]
    for name in (*wanted, ".git/x.py", "venv/lib/y.py", "notes.txt", "__pycache__/z.py"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("pass\n")
    (home / "venv" / "pyvenv.cfg").write_text("")
    (home / "big.py").write_bytes(b"#" * 1_000_001)
    assert sources(init().log_code()) == wanted


def test_log_code_copies_what_the_program_chooses(store: Store, home: Path) -> None:
    for name in ("train.py", "lib/net.py", "look.ipynb", "notes.txt"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("pass\n")
    copy = init().log_code(
        None,
        include_fn=lambda path: path.endswith((".py", ".ipynb")),
        exclude_fn=lambda path, root: path.removeprefix(root).startswith("lib"),
    )
    assert sources(copy) == ["look.ipynb", "train.py"]


def test_a_step_that_no_store_can_hold_is_refused_at_once(store: Store) -> None:
    run = init()
    with pytest.raises(UsageError, match=r"2\*\*63"):
        run.log({"loss": 1}, step=2**63)
    run.log({"loss": 2}, step=2**63 - 1, commit=True)
    with pytest.raises(UsageError, match=r"2\*\*63"):
        run.log({"loss": 3})
    assert rows(store, run) == [(2**63 - 1, {"loss": 2})]


def test_keys_are_strings_in_the_program_as_in_the_store(store: Store) -> None:
    run = init()
    run.define_metric("acc", summary="max")
    run.log({0: 1.0, True: 2.0, None: 3.0})  # type: ignore[dict-item]
    live = run.summary.as_dict()
    assert set(live) == {"0", "True", "None"}
    run.finish()
    assert store.get_run(run.id).summary == live


@pytest.mark.parametrize("held", [math.nan, "low", None, [1]])
def test_a_summary_that_holds_no_number_gives_way_to_the_next_one(store: Store, held: Any) -> None:
    run = init()
    run.define_metric("loss", summary="min,max,mean")
    run.summary["loss"] = {"min": held, "max": held, "mean": held}
    run.log({"loss": 0.5})
    run.log({"loss": 1.5})
    run.finish()
    assert store.get_run(run.id).summary == {"loss": {"min": 0.5, "max": 1.5, "mean": 1.0}}


def test_a_mean_of_huge_numbers_stays_finite(store: Store) -> None:
    run = init()
    run.define_metric("loss", summary="mean")
    for loss in (1.7e308, -1.7e308):
        run.log({"loss": loss})
    run.finish()
    assert store.get_run(run.id).summary == {"loss": {"mean": 0.0}}


def test_a_step_metric_is_accepted_and_changes_nothing(store: Store) -> None:
    run = init()
    run.define_metric("loss", "epoch")
    run.log({"loss": 1, "epoch": 2})
    run.finish()
    assert store.get_run(run.id).summary == {"loss": 1, "epoch": 2}
