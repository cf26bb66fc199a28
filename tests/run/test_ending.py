from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest

from besom.journal import replay
from besom.records import RunState
from besom.store import Store

Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("pass", (RunState.FINISHED, 0, None)),
        ("sys.exit()", (RunState.FINISHED, 0, None)),
        ("sys.exit(3)", (RunState.FAILED, 3, None)),
        ("sys.exit('no data')", (RunState.FAILED, 1, "no data")),
        ("run.finish(4)", (RunState.FAILED, 4, None)),
        ("run.mark_preempting(); sys.exit(1)", (RunState.PREEMPTED, 1, None)),
        ("run.mark_preempting()", (RunState.FINISHED, 0, None)),
        ("raise ValueError('boom')", (RunState.FAILED, 1, "ValueError: boom")),
        ("raise KeyboardInterrupt", (RunState.KILLED, 130, "interrupted")),
        ("raise besom.RunStopped('enough')", (RunState.STOPPED, 0, None)),
    ],
)
@pytest.mark.parametrize("inside", ["run = besom.init()\n{}", "with besom.init() as run:\n    {}"])
def test_a_run_alone_ends_as_its_process_does(
    inside: str, ending: str, expected: tuple[RunState, int, str | None], store: Store, python: Python
) -> None:
    state, code, error = expected
    done = python("import besom, sys\n" + inside.format(ending))
    (run,) = store.list_runs(None)
    assert (run.state, run.exit_code) == (state, code), done.stderr
    assert (error is None) == (run.error is None)
    if error is not None:
        assert error in str(run.error)


@pytest.mark.parametrize(
    "error", ["MemoryError('no more')", "RuntimeError('can\\'t allocate memory: 9 bytes')"]
)
def test_memory_that_runs_out_is_said_before_the_traceback(error: str, store: Store, python: Python) -> None:
    python(f"import besom\nbesom.init()\nraise {error}")
    (run,) = store.list_runs(None)
    assert str(run.error).startswith("out of memory\nTraceback")


def test_system_exit_is_respected_in_a_with_block(store: Store, python: Python) -> None:
    python("import besom\nwith besom.init():\n    raise SystemExit(5)")
    (run,) = store.list_runs(None)
    assert (run.state, run.exit_code) == (RunState.FAILED, 5)


def test_an_exception_counts_also_where_another_hook_prints_it(store: Store, python: Python) -> None:
    python("import besom, sys\nbesom.init()\nsys.excepthook = lambda *_: None\nraise ValueError('boom')")
    (run,) = store.list_runs(None)
    assert run.state is RunState.FAILED
    assert "ValueError: boom" in str(run.error)


def test_a_stop_prints_no_traceback(store: Store, python: Python) -> None:
    done = python("import besom\nbesom.init()\nraise besom.RunStopped('enough')")
    assert "Traceback" not in done.stderr
    assert "Traceback" in python("import besom\nbesom.init()\nraise ValueError").stderr


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("pass", None),
        ("sys.exit(3)", None),
        ("raise KeyboardInterrupt", None),
        ("run.finish()", RunState.FINISHED),
        ("raise ValueError('boom')", RunState.FAILED),
    ],
)
def test_under_an_agent_only_an_explicit_ending_ends_the_run(
    ending: str, told: RunState | None, sweeps: Any, store: Store, python: Python
) -> None:
    record, folder = sweeps.claim(sweeps.create())
    python(
        f"import besom, sys\nrun = besom.init()\nrun.log({{'loss': 1}})\n{ending}",
        environment=sweeps.environment(record, folder, agent_pid=os.getpid()),
    )
    stored = store.get_run(record.id)
    assert stored.state is (told or RunState.RUNNING)
    assert stored.summary == {"loss": 1}
    replayed = replay(store, record.lease, folder.journal(1))
    assert (replayed.finished.state if replayed.finished else None) is told


def test_where_the_agent_is_gone_the_process_ends_its_run(sweeps: Any, store: Store, python: Python) -> None:
    record, folder = sweeps.claim(sweeps.create())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    python(
        "import besom, sys\nbesom.init()\nsys.exit(2)",
        environment=sweeps.environment(record, folder, agent_pid=gone.pid),
    )
    stored = store.get_run(record.id)
    assert (stored.state, stored.exit_code) == (RunState.FAILED, 2)


def test_a_forked_child_may_log_and_does_not_end_its_parents_run(store: Store, python: Python) -> None:
    done = python(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import besom
        run = besom.init(id="parent")
        run.log({"loss": 1})
        child = os.fork()
        if child == 0:
            run.log({"child": 2})
            run.finish()
            assert besom.init().id != "parent"
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        run.log({"after": 3})
        """
    )
    assert done.returncode == 0, done.stderr
    parent = store.get_run("parent")
    assert (parent.state, parent.summary) == (RunState.FINISHED, {"loss": 1, "child": 2, "after": 3})
    (own,) = (run for run in store.list_runs(None) if run.id != "parent")
    assert (own.state, own.exit_code) == (RunState.FAILED, 7)


def test_worker_processes_leave_the_run_alone(store: Store, python: Python) -> None:
    done = python(
        """
        import warnings
        warnings.simplefilter("ignore")
        import multiprocessing
        import besom

        def load(i):
            return i * besom.config.factor

        if __name__ == "__main__":
            run = besom.init(id="parent", config={"factor": 2})
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(load, range(4)) == [0, 2, 4, 6]
            run.log({"loss": 1})
        """
    )
    assert done.returncode == 0, done.stderr
    assert store.get_run("parent").state is RunState.FINISHED


@pytest.mark.slow
def test_kill_9_at_any_point_loses_no_log_that_returned(sweeps: Any, store: Store) -> None:
    program = textwrap.dedent(
        """
        import os
        import besom
        run = besom.init()
        step = 0
        while True:
            run.log({"loss": 1 / (step + 1)}, step=step)
            os.write(1, b"%d\\n" % step)
            step += 1
        """
    )
    rng = random.Random(3)
    sweep = sweeps.create(*({"lr": i} for i in range(20)))
    for _ in range(20):
        record, folder = sweeps.claim(sweep)
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env={**os.environ, **sweeps.environment(record, folder)},
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 2000)):
            process.stdout.readline()
        time.sleep(rng.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        acknowledged = max((int(line) for line in lines if line.endswith(b"\n")), default=0)
        told = replay(store, record.lease, folder.journal(1))
        assert told.finished is None
        steps = [row.step for row in store.history(record.id)]
        assert steps == list(range(len(steps)))
        assert len(steps) > acknowledged
        assert store.get_run(record.id).value == 1 / len(steps)


@pytest.mark.parametrize("kill", [False, True])
def test_a_program_that_leaves_after_it_was_told_to_end_says_so_to_its_agent(
    kill: bool, sweeps: Any, store: Store, python: Python
) -> None:
    record, folder = sweeps.claim(sweeps.create())
    store.request_stop(record.id, "enough", kill=kill)
    python(
        "import besom, time\nrun = besom.init()\nwhile not run.should_stop: time.sleep(0.01)",
        environment=sweeps.environment(record, folder, agent_pid=os.getpid()),
    )
    told = replay(store, record.lease, folder.journal(1))
    assert (told.finished, told.stopping) == (None, "kill" if kill else "stop")
