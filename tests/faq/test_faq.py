"""Every answer of the W&B Sweeps FAQ, done by besom: its own YAML and Python in real runs of a real agent.

The snippets are the page's, letter for letter, with `import besom as wandb` above them and training code
where it has `...`; commands are the page's with `besom` for `wandb`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any, Protocol

import pytest

from besom.records import Run, RunState, Sweep, SweepState
from besom.store import Store


class Person(Protocol):
    """Whoever follows the FAQ; see conftest.py."""

    folder: Path

    def write(self, name: str, text: str) -> Path: ...
    def start(self, *words: str, **environment: str) -> Any: ...
    def do(self, *words: str, **environment: str) -> str: ...
    def sweep(self, text: str, *options: str) -> str: ...


RunsOf = Callable[[str], list[Run]]
SweepOf = Callable[[str], Sweep]

# Keeps what the program was called with, for the test to read.
SAVE_ARGUMENTS = """
import json, os, pathlib, sys
pathlib.Path(os.environ["BESOM_RUN_DIR"], "arguments.json").write_text(json.dumps(sys.argv[1:]))
"""


def arguments_of(person: Person, run: Run) -> list[str]:
    saved: list[str] = json.loads((person.folder / ".besom" / "runs" / run.id / "arguments.json").read_text())
    return saved


# ---- Do I need to provide values for all hyperparameters as part of the sweep? Can I set defaults?

DEFAULTS_BY_INIT = """
# establecer valores predeterminados para hiperparámetros
config_defaults = {"lr": 0.1, "batch_size": 256}

# iniciar un run, proporcionando valores predeterminados
#   que pueden ser sobrescritos por el barrido
with wandb.init(config=config_default) as run:
    # añade aquí tu código de entrenamiento
    ...
"""

DEFAULTS_BY_SETDEFAULTS = """
# establecer valores predeterminados para hiperparámetros
config_defaults = {"lr": 0.1, "batch_size": 256}

# iniciar un run
with wandb.init() as run:
    # actualizar cualquier valor no establecido por el barrido
    run.config.setdefaults(config_defaults)

    # añade aquí tu código de entrenamiento
"""

TRAINING = """
run.log({"loss": run.config.lr * run.config["batch_size"]})
assert dict(run.config) == {"lr": wandb.config.lr, "batch_size": wandb.config["batch_size"]}
"""


@pytest.mark.parametrize(
    "snippet",
    [
        # The page misspells its own name, so that has to exist too.
        'config_default = {"lr": 0.1, "batch_size": 256}\n' + DEFAULTS_BY_INIT.replace("    ...\n", ""),
        DEFAULTS_BY_SETDEFAULTS,
    ],
    ids=["wandb.init", "config.setdefaults"],
)
def test_defaults_fill_in_what_the_sweep_does_not_set(person: Person, runs_of: RunsOf, snippet: str) -> None:
    person.write("train.py", "import besom as wandb\n" + snippet + indent(TRAINING, "    "))
    sweep = person.sweep(
        "program: train.py\nmethod: grid\nmetric: {name: loss, goal: minimize}\n"
        "parameters: {lr: {values: [0.5, 0.25]}}\n"
    )
    person.do("besom", "agent", sweep)
    assert [(run.state, run.config, run.value) for run in runs_of(sweep)] == [
        (RunState.FINISHED, {"lr": 0.5, "batch_size": 256}, 128.0),
        (RunState.FINISHED, {"lr": 0.25, "batch_size": 256}, 64.0),
    ]
    person.do("python", "train.py")  # and a run that is not part of a sweep has the defaults


def test_outside_a_sweep_the_defaults_are_the_config(person: Person, look: Callable[[], Store]) -> None:
    person.write("train.py", "import besom as wandb\n" + DEFAULTS_BY_SETDEFAULTS + indent(TRAINING, "    "))
    person.do("python", "train.py")
    (run,) = look().list_runs(None)
    assert run.config == {"lr": 0.1, "batch_size": 256}


# ---- How should I run sweeps on SLURM?


@pytest.mark.slow
def test_each_slurm_job_runs_one_training_job_and_exits(
    person: Person, runs_of: RunsOf, sweep_of: SweepOf
) -> None:
    person.write(
        "train.py", 'import besom\nwith besom.init() as run:\n    run.log({"loss": run.config["x"]})\n'
    )
    sweep = person.sweep(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2, 3]}}\n"
    )
    jobs = [
        person.start("besom", "agent", "--count", "1", sweep, SLURM_JOB_ID=str(job), SLURM_PROCID="0")
        for job in range(3)
    ]
    for job in jobs:
        _, errors = job.communicate(timeout=60)
        assert job.returncode == 0, errors
    runs = runs_of(sweep)
    assert sorted(run.params["x"] for run in runs) == [1, 2, 3]
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert len({run.agent_id for run in runs}) == 3
    person.do("besom", "agent", "--count", "1", sweep)  # a job too many finds nothing to do
    assert len(runs_of(sweep)) == 3
    assert sweep_of(sweep).state is SweepState.FINISHED


# ---- Can I rerun a grid search?


@pytest.mark.slow
def test_deleted_runs_of_a_grid_run_again_after_resume_and_completed_ones_do_not(
    person: Person, runs_of: RunsOf, sweep_of: SweepOf
) -> None:
    person.write(
        "train.py",
        "import besom, pathlib\n"
        "with besom.init() as run:\n"
        '    if run.config["x"] == 2 and not pathlib.Path("mended").exists():\n'
        '        raise SystemExit("crashed")\n'
        '    run.log({"loss": run.config["x"]})\n',
    )
    sweep = person.sweep(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2, 3]}}\n"
    )
    person.do("besom", "agent", sweep)
    before = {run.params["x"]: run for run in runs_of(sweep)}
    assert before[2].state is RunState.FAILED
    assert sweep_of(sweep).state is SweepState.FINISHED

    person.write("mended", "")
    person.do("besom", "rm", before[2].id)
    person.do("besom", "resume", sweep)
    person.do("besom", "agent", sweep)
    after = {run.params["x"]: run for run in runs_of(sweep)}
    assert after[2].state is RunState.FINISHED
    assert after[2].id != before[2].id
    assert (after[1], after[3]) == (before[1], before[3])


# ---- How do I use custom CLI commands with sweeps?

CUSTOM_COMMAND = """
program:
  train.py
method: grid
parameters:
  batch_size:
    value: 8
  lr:
    value: 0.0001
command:
  - ${env}
  - python
  - ${program}
  - "-b"
  - tu-configuración-de-entrenamiento
  - ${args}
"""

PARSE_KNOWN = """
parser = argparse.ArgumentParser()
args, unknown = parser.parse_known_args()
"""

PYTHON3_COMMAND = """
program:
  script.py
command:
  - ${env}
  - python3
  - ${program}
  - ${args}
"""


def test_a_custom_command_gets_its_own_words_and_the_parameters(person: Person, runs_of: RunsOf) -> None:
    person.write(
        "train.py",
        SAVE_ARGUMENTS + "import argparse\n"
        'parser = argparse.ArgumentParser()\nparser.add_argument("-b")\n'
        'parser.add_argument("--batch_size", type=int)\nparser.add_argument("--lr", type=float)\n'
        "args = parser.parse_args()\nassert (args.batch_size, args.lr) == (8, 0.0001), args\n",
    )
    sweep = person.sweep(CUSTOM_COMMAND)
    person.do("besom", "agent", sweep)
    (run,) = runs_of(sweep)
    assert run.state is RunState.FINISHED
    assert arguments_of(person, run) == [
        "-b",
        "tu-configuración-de-entrenamiento",
        "--batch_size=8",
        "--lr=0.0001",
    ]


def test_arguments_that_argparse_does_not_know_are_left_over(person: Person, runs_of: RunsOf) -> None:
    person.write(
        "train.py",
        "import argparse\n" + PARSE_KNOWN + "import besom\n"
        'with besom.init() as run:\n    run.config["unknown"] = unknown\n',
    )
    sweep = person.sweep(CUSTOM_COMMAND)
    person.do("besom", "agent", sweep)
    (run,) = runs_of(sweep)
    assert run.state is RunState.FINISHED
    assert "--lr=0.0001" in run.config["unknown"]


def test_python3_can_be_asked_for(person: Person, runs_of: RunsOf) -> None:
    person.write("script.py", SAVE_ARGUMENTS + "assert sys.version_info.major == 3\n")
    sweep = person.sweep(PYTHON3_COMMAND + "method: grid\nparameters: {lr: {values: [1, 2]}}\n")
    person.do("besom", "agent", sweep)
    assert [arguments_of(person, run) for run in runs_of(sweep)] == [["--lr=1"], ["--lr=2"]]


# ---- Is there a way to add extra values to a sweep, or do I need to start a new one?

TRAIN_X = 'import besom\nwith besom.init() as run:\n    run.log({"loss": run.config["x"]})\n'
GRID_X = "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: %s}}\n"


@pytest.mark.slow
def test_a_new_sweep_can_be_made_from_prior_runs_and_runs_only_the_extra_values(
    person: Person, runs_of: RunsOf
) -> None:
    person.write("train.py", TRAIN_X)
    first = person.sweep(GRID_X % "[1, 2]")
    person.do("besom", "agent", first)
    chosen = [word for run in runs_of(first) for word in ("--prior-run", run.id)]
    second = person.sweep(GRID_X % "[1, 2, 3]", *chosen)
    person.do("besom", "agent", second)
    assert [(run.source, run.params["x"], run.value) for run in runs_of(second)] == [
        ("prior", 1, 1.0),
        ("prior", 2, 2.0),
        ("method", 3, 3.0),
    ]


@pytest.mark.slow
def test_a_sweep_that_has_started_can_get_extra_values_too(person: Person, runs_of: RunsOf) -> None:
    person.write("train.py", TRAIN_X)
    sweep = person.sweep(GRID_X % "[1, 2]")
    person.do("besom", "agent", sweep)
    done = runs_of(sweep)
    person.write("sweep.yaml", GRID_X % "[0, 1, 2, 3]")
    person.do("besom", "extend", sweep, "sweep.yaml")
    person.do("besom", "agent", sweep)
    runs = runs_of(sweep)
    assert runs[:2] == done
    assert [run.params["x"] for run in runs[2:]] == [0, 3]


# ---- Can we flag boolean variables as hyperparameters?


def test_booleans_can_be_flags(person: Person, runs_of: RunsOf) -> None:
    person.write("train.py", SAVE_ARGUMENTS)
    sweep = person.sweep(
        "program: train.py\nmethod: grid\nparameters:\n  param: {values: [true, false]}\n  lr: {value: 0.1}\n"
        'command: ["${env}", "${interpreter}", "${program}", "${args_no_boolean_flags}"]\n'
    )
    person.do("besom", "agent", sweep)
    given = {run.params["param"]: arguments_of(person, run) for run in runs_of(sweep)}
    assert given == {True: ["--lr=0.1", "--param"], False: ["--lr=0.1"]}


# ---- Can I use sweeps with SageMaker?


@pytest.mark.slow
def test_a_sweep_runs_on_sagemaker_without_a_requirements_file_or_a_key_in_the_code(
    person: Person, runs_of: RunsOf
) -> None:
    person.write(
        "train.py",
        "import besom, os, yaml\n"
        "run = besom.init()\n"
        "print('logging in with', os.environ['WANDB_API_KEY'])\n"
        "run.log({'loss': run.config.x})\n",
    )
    person.write(
        "sweep.yaml",
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2, 3]}}\n",
    )
    said = person.do(
        *(
            "besom",
            "sagemaker",
            "dev",
            "sweep.yaml",
            "--source-dir",
            ".",
            "--secret",
            "WANDB_API_KEY",
            "--logs",
        ),
        WANDB_API_KEY="planted-0123456789-planted",
    )
    assert "logging in with ***" in said
    assert "planted" not in said
    sweep = person.do("besom", "ls").splitlines()[1].split()[0]
    assert [(run.state, run.value) for run in runs_of(sweep)] == [(RunState.FINISHED, x) for x in (1, 2, 3)]


# ---- Can you use sweeps with cloud infrastructures such as AWS Batch, ECS, etc.?

CONSUME = """
import pathlib, subprocess, sys

for message in sorted(pathlib.Path(sys.argv[1]).glob("*.message")):
    taken = message.with_suffix(".taken")
    try:
        message.rename(taken)  # whoever renames it has it
    except FileNotFoundError:
        continue
    sys.exit(subprocess.call(["besom", "agent", taken.read_text()]))
"""


@pytest.mark.slow
def test_machines_that_read_the_sweep_id_from_a_queue_share_its_runs(
    person: Person, runs_of: RunsOf, sweep_of: SweepOf
) -> None:
    person.write("train.py", TRAIN_X)
    person.write("consume.py", CONSUME)
    sweep = person.sweep(GRID_X % "[1, 2, 3, 4, 5, 6]")
    queue = person.folder / "queue"
    queue.mkdir()
    for number in range(2):
        (queue / f"{number}.message").write_text(sweep)
    machines = [person.start("python", "consume.py", "queue") for _ in range(2)]
    for machine in machines:
        _, errors = machine.communicate(timeout=60)
        assert machine.returncode == 0, errors
    assert list(queue.glob("*.message")) == []
    assert sorted(run.params["x"] for run in runs_of(sweep)) == [1, 2, 3, 4, 5, 6]
    assert sweep_of(sweep).state is SweepState.FINISHED


# ---- How can I change the directory where my sweep logs locally?

CHANGE_DIRECTORY = 'os.environ["WANDB_DIR"] = os.path.abspath("tu/directorio")\n'


def test_wandb_dir_says_where_runs_are_kept(person: Person) -> None:
    person.write(
        "sweep.py",
        "import os\nimport besom as wandb\n" + CHANGE_DIRECTORY + "def train():\n"
        '    with wandb.init() as run:\n        run.log({"loss": run.config["x"]})\n'
        'sweep_id = wandb.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})\n'
        "wandb.agent(sweep_id, function=train)\n",
    )
    person.do("python", "sweep.py")
    kept = person.folder / "tu" / "directorio"
    assert len(list(kept.rglob("journal.*.jsonl"))) == 2
    assert not (person.folder / ".besom").exists()


def test_wandb_dir_is_heeded_by_agents_and_their_programs(person: Person) -> None:
    person.write("train.py", TRAIN_X)
    person.write("sweep.yaml", GRID_X % "[1, 2]")
    where = str(person.folder / "tu" / "directorio")
    sweep = person.do("besom", "sweep", "sweep.yaml", WANDB_DIR=where).split()[-1]
    person.do("besom", "agent", sweep, WANDB_DIR=where)
    assert len(list(Path(where).rglob("journal.*.jsonl"))) == 2
    assert not (person.folder / ".besom").exists()


# ---- Optimizing multiple metrics

COMBINE = """
metric_combined = 0.3 * metric_a + 0.2 * metric_b + ... + 1.5 * metric_n
wandb.log({"metric_combined": metric_combined})
"""

COMBINED_METRIC = """
metric:
  name: metric_combined
  goal: minimize
"""


def test_a_weighted_sum_of_metrics_can_be_the_goal(
    person: Person, runs_of: RunsOf, look: Callable[[], Store]
) -> None:
    person.write(
        "train.py",
        "import besom as wandb\nx = wandb.init().config.x\nmetric_a, metric_b, metric_n = x, 10 - x, 1\n"
        + COMBINE.replace("... + ", ""),
    )
    sweep = person.sweep(
        "program: train.py\nmethod: grid\nparameters: {x: {values: [1, 2, 3]}}" + COMBINED_METRIC
    )
    person.do("besom", "agent", sweep)
    assert [round(run.value or 0, 9) for run in runs_of(sweep)] == [3.6, 3.7, 3.8]
    best = look().best_run(sweep)
    assert best is not None
    assert best.params == {"x": 1}


# ---- How do I enable code logging with sweeps?


def test_log_code_keeps_the_code_of_each_run(person: Person, runs_of: RunsOf) -> None:
    program = "import besom as wandb\nwandb.init()\nwandb.log_code()\n"
    person.write("train.py", program)
    sweep = person.sweep("program: train.py\nmethod: grid\nparameters: {x: {values: [1, 2]}}")
    person.do("besom", "agent", sweep)
    for run in runs_of(sweep):
        assert run.state is RunState.FINISHED
        assert (person.folder / ".besom" / "runs" / run.id / "code" / "train.py").read_text() == program


# ---- What is the "Est. Runs" column?

COUNT_RUNS = """
sweep_id = wandb.sweep(
    sweep_configs, project="tu_nombre_de_proyecto", entity="tu_nombre_de_entidad"
)
api = wandb.Api()
sweep = api.sweep(f"tu_nombre_de_entidad/tu_nombre_de_proyecto/sweeps/{sweep_id}")
print(f"CONTEO ESTIMADO DE RUNS = {sweep.expected_run_count}")
"""

NINE = {
    "method": "grid",
    "parameters": {"batch_size": {"values": [16, 32, 64]}, "lr": {"values": [0.1, 0.01, 0.001]}},
}


def test_the_expected_run_count_is_the_product_of_the_space(person: Person) -> None:
    person.write("count.py", f"import besom as wandb\nsweep_configs = {NINE!r}\n" + COUNT_RUNS)
    assert "CONTEO ESTIMADO DE RUNS = 9\n" in person.do("python", "count.py")


def test_est_runs_is_shown_before_anything_runs(person: Person) -> None:
    person.write("sweep.yaml", json.dumps({"program": "train.py", **NINE}))
    person.write("train.py", "")
    shown = person.do("besom", "check", "sweep.yaml")
    assert "Est. Runs" in shown
    assert "9" in shown
