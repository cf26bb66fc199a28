"""What it costs an agent to join a sweep of many finished runs and to claim: CPU and memory above the import.

Optuna pays in every worker process: its first `ask` reads the whole study.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Figure, main
from besom.records import Batch, HistoryRow, Metric, Outcome, RunState, Suggestion, SweepDraft
from besom.store import open_store

RUNS = 100_000
REPORTS = 10
PARAMETERS = "abcdef"

PEAK = """
from pathlib import Path
def peak():
    # VmHWM and not getrusage's figure, which a child inherits from its parent.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0])
"""

JOIN = """
import json, sys, time
from besom.store import open_store
import besom.store.sqlite
memory = peak()
cpu, wall = time.process_time(), time.perf_counter()
store = open_store(sys.argv[1])
sweep = store.get_sweep(sys.argv[2])
agent = store.add_agent(sweep.id, host="here", pid=1)
run = store.claim(sweep.id, agent.id, lease_seconds=60)
assert run is not None and run.number == int(sys.argv[3]) + 1, run
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
memory = peak() - memory
print(json.dumps({"cpu": cpu, "wall": wall, "memory": memory / 1024}))
"""

JOIN_OPTUNA = """
import json, sys, time
import optuna, sqlalchemy
optuna.logging.set_verbosity(optuna.logging.ERROR)
memory, cpu = peak(), time.process_time()
study = optuna.load_study(study_name="bench", storage="sqlite:///" + sys.argv[1])
trial = study.ask()
for name in "abcdef":
    trial.suggest_float(name, 1e-5, 1, log=True)
cpu = time.process_time() - cpu
memory = peak() - memory
print(json.dumps({"cpu": cpu, "memory": memory / 1024}))
"""


def fill(path: Path, runs: int) -> str:
    """Make a sweep with `runs` finished runs and one point that waits; gives its id."""
    store = open_store(str(path))
    draft = SweepDraft(config={"method": "grid"}, name="big", method="grid", metric=Metric("loss"))
    sweep_id = store.create_sweep(draft).id
    values = dict.fromkeys(PARAMETERS, 0.001)
    points = tuple(Suggestion(f"{i * 2654435761 % 2**32:08x}", {**values, "i": i}) for i in range(runs + 1))
    store.offer(sweep_id, Batch(points, runs + 1, exhausted=True), version=1, cursor=0)
    rows = [HistoryRow(seq, seq, 0.0, {"loss": 0.5}) for seq in range(1, REPORTS + 1)]
    for number in range(runs):
        run = store.claim(sweep_id, "filler", lease_seconds=60)
        assert run is not None
        store.report(run.lease, rows, lease_seconds=60)
        outcome = Outcome(RunState.FINISHED, exit_code=0, summary={"loss": 0.5}, value=number % 997 / 997)
        store.finish(run.lease, outcome)
    store.close()
    return sweep_id


def fill_optuna(path: Path, runs: int) -> None:
    """Make a study of `runs` finished trials: the first few by Optuna, the others as copies of their rows."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="bench", storage=f"sqlite:///{path}")
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(1e-5, 1, log=True) for name in PARAMETERS
    }
    trial = optuna.trial.create_trial(
        params=dict.fromkeys(PARAMETERS, 0.1),
        distributions=distributions,
        value=0.5,
        intermediate_values=dict.fromkeys(range(REPORTS), 0.5),
    )
    study.add_trial(trial)
    connection = sqlite3.connect(path)
    tables = ("trials", "trial_params", "trial_values", "trial_intermediate_values")
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables
    }
    have = 1
    while have < runs:
        more = min(have, runs - have)
        for table, names in columns.items():
            kept = names if table == "trials" else names[1:]
            moved = [f"{name} + {have}" if name in {"trial_id", "number"} else name for name in kept]
            copied = f"SELECT {', '.join(moved)} FROM {table} WHERE trial_id <= {more}"
            connection.execute(f"INSERT INTO {table} ({', '.join(kept)}) {copied}")
        have += more
    connection.commit()
    connection.close()


def join(script: str, *arguments: str) -> dict[str, float]:
    """Run a script in a fresh process and give what it measured."""
    ended = subprocess.run(
        [sys.executable, "-c", PEAK + script, *arguments], capture_output=True, text=True, check=True
    )
    measured: dict[str, float] = json.loads(ended.stdout)
    return measured


def measure(quick: bool) -> list[Figure]:
    """Fill a store once and join copies of it."""
    runs, peers = (RUNS // 5, 2_000) if quick else (RUNS, RUNS)
    with tempfile.TemporaryDirectory(prefix="besom-bench-") as folder:
        full, copy, study = Path(folder) / "full.db", Path(folder) / "copy.db", Path(folder) / "optuna.db"
        sweep_id = fill(full, runs)
        joined: list[dict[str, float]] = []
        for _ in range(5):
            shutil.copy(full, copy)
            joined.append(join(JOIN, str(copy), sweep_id, str(runs)))
        fill_optuna(study, peers)
        peer = join(JOIN_OPTUNA, str(study))
    cpu, memory = min(one["cpu"] for one in joined), max(one["memory"] for one in joined)
    wall = min(one["wall"] for one in joined)
    name = f"{runs:,} runs"
    return [
        Figure(
            f"CPU to join {name} and claim", cpu, "s", 0.3, "lower", f"Optuna, {peers:,}: {peer['cpu']:.3g} s"
        ),
        Figure(
            f"memory to join {name}", memory, "MB", 20, "lower", f"Optuna, {peers:,}: {peer['memory']:.0f} MB"
        ),
        Figure(f"wall to join {name}", 1e3 * wall, "ms", None, "lower"),
    ]


if __name__ == "__main__":
    main("attach", measure)
