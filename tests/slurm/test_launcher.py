"""Agents on a real SLURM cluster."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from besom.errors import UsageError
from besom.launch import AgentJob, Launched, Launcher, create_launcher
from besom.records import RunState
from besom.server.tokens import Tokens
from besom.store import open_store
from besom.testing.agents import Lab
from besom.testing.launchers import LauncherContract
from besom.testing.servers import server_options, serving
from besom.testing.slurm import SlurmCluster, slurm_cluster
from besom_slurm.launcher import SlurmLauncher, require_shared_store

SLOW = 60.0  # seconds that a job may take to start, or to end

RESUMABLE = """
import os, pathlib, time
import besom

with besom.init() as run:
    mark = run.dir / "checkpoints" / "step"
    mark.parent.mkdir(exist_ok=True)
    first = int(mark.read_text()) if mark.exists() else 0
    print("from", first, flush=True)
    for step in range(first, 100000):
        mark.write_text(str(step + 1))
        run.log({"loss": 1.0 / (step + 1)})
        if step >= 5 and pathlib.Path("go").exists():
            break
        time.sleep(0.05)
"""


def job(lab: Lab, sweep_id: str, *arguments: str) -> AgentJob:
    return AgentJob(sweep_id, lab.store.url, arguments)


@pytest.mark.slow
class TestSlurmLauncher(LauncherContract):
    @pytest.fixture
    def launcher(self, slurm: SlurmCluster) -> Launcher:
        return SlurmLauncher()


@pytest.mark.slow
class TestJobArray(LauncherContract):
    @pytest.fixture
    def launcher(self, slurm: SlurmCluster) -> Launcher:
        return SlurmLauncher(array=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_forty_array_tasks_of_one_run_each_finish_a_grid_of_forty_points_exactly(lab: Lab) -> None:
    sweep = lab.shell_sweep("echo $1", json.dumps(list(range(40))))
    launched = SlurmLauncher(array=True).launch(job(lab, sweep.id), 40)
    lab.wait(lambda: not SlurmLauncher().alive(launched), 240)
    runs = lab.runs(sweep)
    assert sorted(run.params["x"] for run in runs) == list(range(40))
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert {run.attempt for run in runs} == {1}
    agents = lab.store.list_agents(sweep.id)
    assert {agent.job for agent in agents} == {f"slurm:{one.job_id}" for one in launched}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_requeued_jobs_go_on_with_their_runs(lab: Lab, slurm: SlurmCluster) -> None:
    sweep = lab.python_sweep(RESUMABLE, "[1, 2, 3]")
    launched = SlurmLauncher().launch(job(lab, sweep.id), 3)
    lab.wait(lambda: [lab.output(run).count("from") for run in lab.runs(sweep)] == [1, 1, 1], SLOW)
    ids = {run.id for run in lab.runs(sweep)}
    for one in launched:
        slurm.run("scontrol", "requeue", one.job_id)
    lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED] * 3, SLOW)
    lab.wait(lambda: slurm.run("squeue", "--noheader", "--format=%t").split() == ["PD"] * 3, SLOW)
    assert list(SlurmLauncher().alive(launched)) == list(launched)
    (lab.folder / "go").touch()
    for one in launched:
        slurm.start_again(one.job_id)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 3, SLOW)
    runs = lab.runs(sweep)
    assert {run.id for run in runs} == ids
    assert {run.attempt for run in runs} == {2}
    for run in runs:
        first, second = (int(line.split()[1]) for line in lab.output(run).splitlines() if "from" in line)
        assert first == 0 < second


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_near_its_time_limit_saves_its_run_and_queues_up_again(lab: Lab, slurm: SlurmCluster) -> None:
    sweep = lab.python_sweep(RESUMABLE)
    # SLURM's clock for this is coarse: the notice comes up to a minute early.
    (one,) = SlurmLauncher(time="2", notice=30).launch(job(lab, sweep.id), 1)
    lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED], 150)
    (lab.folder / "go").touch()
    slurm.start_again(one.job_id)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED], SLOW)
    assert lab.runs(sweep)[0].attempt == 2


@pytest.mark.slow
def test_a_canceled_job_does_not_queue_up_again(lab: Lab, slurm: SlurmCluster) -> None:
    sweep = lab.python_sweep(RESUMABLE)
    (one,) = SlurmLauncher().launch(job(lab, sweep.id), 1)
    lab.wait(lambda: any(lab.output(run) for run in lab.runs(sweep)), SLOW)
    slurm.run("scancel", one.job_id)
    lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED], SLOW)
    lab.wait(lambda: not slurm.run("squeue", "--noheader").strip(), SLOW)
    assert "JobState=CANCELLED" in slurm.run("scontrol", "show", "job", one.job_id)


@pytest.mark.slow
def test_no_word_from_outside_is_read_by_a_shell(lab: Lab, slurm: SlurmCluster) -> None:
    planted = lab.folder / "planted"
    hostile = f"$(touch {planted})`touch {planted}`; touch {planted} #"
    launcher = create_launcher("slurm", sbatch=[f"--comment={hostile}"])
    (one,) = launcher.launch(job(lab, hostile, "--count", hostile), 1)
    lab.wait(lambda: not launcher.alive([one]), SLOW)
    assert f"Comment={hostile}" in slurm.run("scontrol", "show", "job", one.job_id)
    assert not planted.exists()


def test_what_is_asked_for_is_what_slurm_gives(lab: Lab, slurm: SlurmCluster) -> None:
    launcher = create_launcher(
        "slurm", partition="main", time="00:07:00", cpus=2, mem="100M", requeue=False, sbatch=["--hold"]
    )
    (one,) = launcher.launch(job(lab, "abc"), 1)
    told = slurm.run("scontrol", "show", "job", one.job_id)
    for part in ("Partition=main", "TimeLimit=00:07:00", "NumCPUs=2", "100M", "Requeue=0", "besom-abc"):
        assert part in told
    assert list(launcher.alive([one])) == [one]
    launcher.cancel([one])
    assert list(launcher.alive([one])) == []


def test_a_password_is_in_no_script(lab: Lab, slurm: SlurmCluster) -> None:
    store = "postgresql://me:hunter2@db/sweeps"
    launcher = create_launcher("slurm", sbatch=["--hold"])
    preview = launcher.preview(AgentJob("abc", store), 1)
    (one,) = launcher.launch(AgentJob("abc", store), 1)
    kept = lab.folder / "script"
    slurm.run("scontrol", "write", "batch_script", one.job_id, str(kept))
    assert "hunter2" not in preview + kept.read_text() + slurm.run("scontrol", "show", "job", one.job_id)
    assert "postgresql://me:" in preview


@pytest.mark.parametrize("word", ["--store=postgresql://me:hunter2@db/x", "--store"])
def test_agents_are_not_told_their_store_in_a_script(word: str) -> None:
    with pytest.raises(UsageError, match="before the `--`"):
        SlurmLauncher().preview(AgentJob("abc", "http://store:8000", (word,)), 1)


def test_what_is_asked_for_counts_more_than_the_environment(
    lab: Lab, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PARTITION": "moon", "TIMELIMIT": "1", "ARRAY_INX": "0-2"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    monkeypatch.setenv("SLURM_HINT", "")
    launcher = SlurmLauncher(partition="main", time="7", sbatch=["--hold", "-J mine"])
    (one,) = launcher.launch(job(lab, "abc"), 1)
    told = slurm.run("scontrol", "show", "job", one.job_id)
    for part in ("Partition=main", "TimeLimit=00:07:00", "JobName=mine"):
        assert part in told
    assert "ArrayTaskId" not in told
    assert list(launcher.alive([one])) == [one]


@pytest.mark.slow
def test_jobs_have_the_environment_of_the_shell_but_not_of_its_job(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = lab.shell_sweep('echo "$MINE $SLURM_NTASKS_PER_NODE."')
    for name, value in {
        "MINE": "kept",
        "SBATCH_EXPORT": "NONE",
        "SLURM_JOB_ID": "79",
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": "5",
        "SLURM_NTASKS_PER_NODE": "9",
    }.items():
        monkeypatch.setenv(name, value)
    (one,) = SlurmLauncher().launch(job(lab, sweep.id), 1)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED], SLOW)
    assert [agent.job for agent in lab.store.list_agents(sweep.id)] == [f"slurm:{one.job_id}"]
    assert lab.output(lab.runs(sweep)[0]).split() == ["kept", "."]


@pytest.mark.parametrize(
    ("time", "notice", "fits"),
    [
        ("2", 120, False),
        ("3", 120, True),
        ("1:30", 90, False),
        ("0:01:31", 90, True),
        ("0-0:1", 60, False),
        ("1-0", 120, True),
        ("1", 0, True),
        ("UNLIMITED", 120, True),
    ],
)
def test_a_notice_comes_after_the_start(time: str, notice: int, fits: bool) -> None:
    launcher = SlurmLauncher(time=time, notice=notice)
    if fits:
        assert f"--time={time}" in launcher.preview(AgentJob("abc", "http://store:8000"), 1)
        return
    with pytest.raises(UsageError, match=f"--time {time} would queue up again as soon as it starts"):
        launcher.preview(AgentJob("abc", "http://store:8000"), 1)


@pytest.mark.slow
def test_agents_reach_postgresql(lab: Lab, postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        far = Lab(lab.folder, store)
        sweep = far.shell_sweep("echo $1", "[1, 2, 3]")
        launched = SlurmLauncher(array=True).launch(job(far, sweep.id), 3)
        far.wait(lambda: far.states(sweep) == [RunState.FINISHED] * 3, SLOW)
        assert {agent.job for agent in store.list_agents(sweep.id)} == {f"slurm:{x.job_id}" for x in launched}


@pytest.mark.slow
def test_agents_reach_a_server_with_the_token_of_the_shell(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    options = server_options(lab.folder)
    token = Tokens(options.tokens).create("agent", seconds=None)[1]
    monkeypatch.setenv("BESOM_TOKEN", token)
    sweep = lab.shell_sweep("echo $1", "[1, 2, 3]")
    with serving(lab.store, options) as url:
        told = AgentJob(sweep.id, url, ("--count", "1", "--allow-any-command"))
        assert token not in SlurmLauncher().preview(told, 3)
        SlurmLauncher(array=True).launch(told, 3)
        lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 3, SLOW)


def test_what_is_shown_is_what_is_submitted(lab: Lab, slurm: SlurmCluster) -> None:
    launcher = create_launcher("slurm", sbatch=["--hold"], gpus=None, cpus=2)
    told = AgentJob("abc", lab.store.url, ("--workers", "2"))
    (one,) = launcher.launch(told, 1)
    kept = lab.folder / "script"
    slurm.run("scontrol", "write", "batch_script", one.job_id, str(kept))
    remarks = ("# In the environment", "# That is a file")
    shown = [line for line in launcher.preview(told, 1).splitlines() if not line.startswith(remarks)]
    assert shown == kept.read_text().splitlines()
    assert f"{sys.executable} -m besom agent abc --workers 2" in "\n".join(shown)


def test_a_store_that_is_a_file_says_what_that_means(lab: Lab) -> None:
    assert "agents on other nodes would not see it" in SlurmLauncher().preview(job(lab, "abc"), 1)
    assert "other nodes" not in SlurmLauncher().preview(AgentJob("abc", "http://store:8000"), 1)


def test_jobs_without_agent_options_take_one_run_each() -> None:
    preview = SlurmLauncher().preview(AgentJob("abc", "http://store:8000"), 3)
    assert "-m besom agent abc --count 1 &" in preview
    assert "# sbatch reads this 3 times." in preview


def test_an_array_may_be_told_how_many_tasks_run_at_once() -> None:
    preview = SlurmLauncher(array=True, at_once=4).preview(AgentJob("abc", "http://store:8000"), 40)
    assert "#SBATCH --array=0-39%4" in preview
    with pytest.raises(UsageError, match="add --array"):
        SlurmLauncher(at_once=4)


def test_slurm_s_refusal_is_told_in_its_own_words(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"sbatch: .*invalid partition"):
        create_launcher("slurm", partition="moon").launch(job(lab, "abc"), 1)


def test_a_line_that_is_no_option_is_refused() -> None:
    for wrong in ("rm -rf", "--comment=a\n--hold"):
        with pytest.raises(UsageError, match="no option of sbatch"):
            create_launcher("slurm", sbatch=[wrong]).preview(AgentJob("abc", "http://x"), 1)


def test_jobs_that_slurm_has_forgotten_are_neither_alive_nor_an_error_to_cancel(slurm: SlurmCluster) -> None:
    gone = [Launched("999999", "long ago")]
    assert list(SlurmLauncher().alive(gone)) == []
    SlurmLauncher().cancel(gone)


def test_a_machine_without_slurm_is_told_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    with pytest.raises(UsageError, match=r"sbatch is not here: .* login node"):
        SlurmLauncher().launch(AgentJob("abc", "http://store:8000"), 1)


def test_a_file_is_no_store_for_a_cluster_of_several_nodes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    require_shared_store(lab.store.url)  # this machine is the whole cluster
    with slurm_cluster(others=["elsewhere"]) as wide:
        monkeypatch.setenv("SLURM_CONF", str(wide.config))
        with pytest.raises(UsageError, match=r"may run on elsewhere .*2 nodes.*besom serve"):
            SlurmLauncher().launch(job(lab, "abc"), 1)
        require_shared_store("postgresql://db/sweeps")
        monkeypatch.undo()
