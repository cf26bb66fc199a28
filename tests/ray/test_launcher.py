"""Agents on a real Ray cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from besom.agent.process import run_processes
from besom.errors import UsageError
from besom.launch import AgentJob, Launched, Launcher, create_launcher
from besom.records import Run, RunState, Sweep
from besom.server.tokens import Tokens
from besom.store import open_store
from besom.testing.agents import Lab
from besom.testing.launchers import LauncherContract
from besom.testing.ray import ADDRESS, CPUS, RayCluster
from besom.testing.servers import server_options, serving
from besom_ray.cluster import RayRefusedError, other_nodes
from besom_ray.launcher import RayLauncher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

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


def job(lab: Lab, sweep: Sweep, *arguments: str) -> AgentJob:
    return AgentJob(sweep.id, lab.store.url, arguments)


def agent_pid(lab: Lab, launched: Launched) -> int:
    """Give the process of an agent, which has joined its sweep."""
    (pid,) = [
        agent.pid for sweep in lab.store.list_sweeps() for agent in lab.store.list_agents(sweep.id)
        if agent.job == f"ray:{launched.job_id}"
    ]  # fmt: skip
    return pid


def first_output(lab: Lab, sweep: Sweep) -> Run:
    """Give the run whose program is the first to print something."""
    lab.wait(lambda: any(lab.output(run) for run in lab.runs(sweep)), SLOW)
    return next(run for run in lab.runs(sweep) if lab.output(run))


def ended(ray: RayCluster, launched: Launched) -> bool:
    return ray.jobs()[launched.job_id] not in {"PENDING", "RUNNING"}


class TestRayLauncher(LauncherContract):
    @pytest.fixture
    def launcher(self, ray: RayCluster) -> Launcher:
        return RayLauncher()


def test_four_jobs_finish_a_grid_of_twenty_points_exactly(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("echo $1", json.dumps(list(range(20))))
    launched = RayLauncher().launch(job(lab, sweep), 4)
    lab.wait(lambda: not RayLauncher().alive(launched), 100)
    runs = lab.runs(sweep)
    assert sorted(run.params["x"] for run in runs) == list(range(20))
    assert {(run.state, run.attempt) for run in runs} == {(RunState.FINISHED, 1)}
    assert {agent.job for agent in lab.store.list_agents(sweep.id)} == {
        f"ray:{one.job_id}" for one in launched
    }
    assert {ray.jobs()[one.job_id] for one in launched} == {"SUCCEEDED"}


@pytest.mark.parametrize("victim", ["agent", "supervisor"])
def test_a_job_that_is_killed_leaves_no_program_and_its_run_to_another(
    lab: Lab, ray: RayCluster, victim: str
) -> None:
    sweep = lab.shell_sweep("echo $$; [ -e go ] || exec sleep 1000", json.dumps(list(range(6))))
    (one,) = RayLauncher().launch(job(lab, sweep, "--lease", "2"), 1)
    lost = first_output(lab, sweep)
    assert len(run_processes(lost.id)) == 1
    agent = agent_pid(lab, one)
    os.kill(agent if victim == "agent" else parent(agent), signal.SIGKILL)
    lab.wait(lambda: not run_processes(lost.id), 10)
    lab.wait(lambda: ray.jobs()[one.job_id] == "FAILED", SLOW)
    (lab.folder / "go").touch()
    others = RayLauncher().launch(job(lab, sweep), 2)
    lab.wait(lambda: not RayLauncher().alive(others), 100)
    runs = lab.runs(sweep)
    assert sorted(run.params["x"] for run in runs) == list(range(6))
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert {run.id: run.attempt for run in runs} == {run.id: 2 if run.id == lost.id else 1 for run in runs}


def parent(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "PPid" in line]
    return int(line.split()[1])


def test_a_node_that_is_lost_leaves_its_run_to_another(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.python_sweep(RESUMABLE)
    with ray.worker("127.0.0.2", **{"num-cpus": 1, "resources": '{"elsewhere": 1}'}) as node:
        launcher = create_launcher("ray", resources=["elsewhere=1"])
        (one,) = launcher.launch(job(lab, sweep, "--lease", "2"), 1)
        run = first_output(lab, sweep)
        os.killpg(node.pid, signal.SIGKILL)
        lab.wait(lambda: not run_processes(run.id), 20)
        (lab.folder / "go").touch()
        RayLauncher().launch(job(lab, sweep), 1)
        lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED], SLOW)
        lab.wait(lambda: ray.jobs()[one.job_id] == "FAILED", SLOW)
    (again,) = lab.runs(sweep)
    assert (again.id, again.attempt) == (run.id, 2)
    first, second = (int(line.split()[1]) for line in lab.output(again).splitlines() if "from" in line)
    assert first == 0 < second


def test_a_stopped_job_gives_its_run_back_and_another_goes_on_with_it(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.python_sweep(RESUMABLE)
    (one,) = RayLauncher().launch(job(lab, sweep), 1)
    run = first_output(lab, sweep)
    ray.ask(f"/api/jobs/{one.job_id}/stop", "POST")
    lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED], SLOW)
    lab.wait(lambda: ray.jobs()[one.job_id] == "STOPPED", SLOW)
    assert not run_processes(run.id)
    (lab.folder / "go").touch()
    RayLauncher().launch(job(lab, sweep), 1)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED], SLOW)
    (again,) = lab.runs(sweep)
    assert (again.id, again.attempt) == (run.id, 2)
    first, second = (int(line.split()[1]) for line in lab.output(again).splitlines() if "from" in line)
    assert first == 0 < second


def test_a_stopped_job_has_the_time_that_its_programs_are_given(lab: Lab, ray: RayCluster) -> None:
    # Ray by itself would kill it after 3 seconds.
    sweep = lab.shell_sweep("trap '' TERM; echo $$; for i in $(seq 60); do sleep 0.1; done; echo saved")
    (one,) = RayLauncher().launch(job(lab, sweep, "--grace", "20"), 1)
    run = first_output(lab, sweep)
    RayLauncher().cancel([one])
    lab.wait(lambda: lab.states(sweep) == [RunState.PREEMPTED], SLOW)
    assert lab.output(run).endswith("saved\n")
    lab.wait(lambda: ray.jobs()[one.job_id] == "STOPPED", SLOW)


def test_no_word_from_outside_is_read_by_a_shell(
    lab: Lab, ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = lab.folder / "planted"
    hostile = "$(touch $PLANTED)`touch $PLANTED`; touch $PLANTED #'\""
    place = lab.folder / hostile
    place.mkdir()
    monkeypatch.chdir(place)
    launcher = create_launcher("ray", env=[f"HOSTILE={hostile}", f"PLANTED={planted}"])
    (one,) = launcher.launch(AgentJob(hostile, lab.store.url, ("--count", hostile)), 1)
    lab.wait(lambda: ended(ray, one), SLOW)
    assert not planted.exists()
    assert "Invalid value for '--count'" in ray.ask(f"/api/jobs/{one.job_id}/logs")["logs"]
    assert ray.ask(f"/api/jobs/{one.job_id}")["metadata"] == {"besom_sweep": hostile}


def test_what_is_asked_for_is_what_ray_gives(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep(
        'echo "gpus $CUDA_VISIBLE_DEVICES of $MINE"; while [ ! -e go ]; do sleep 0.05; done'
    )
    launcher = create_launcher(
        "ray", cpus=2, gpus=2, memory="100M", resources=["special=1.5"], env=["MINE=me"], address=ADDRESS
    )
    (one,) = launcher.launch(job(lab, sweep), 1)
    run = first_output(lab, sweep)
    gpus = lab.output(run).split()[1].split(",")
    assert len(set(gpus)) == 2
    assert lab.output(run).split()[3] == "me"
    wanted = {"CPU": 2, "GPU": 2, "special": 1.5, "memory": 100 * 2**20}

    def used() -> dict[str, float]:
        report = ray.ask("/api/cluster_status")["data"]["clusterStatus"]["loadMetricsReport"]
        return {name: report["usage"][name][0] for name in wanted}

    lab.wait(lambda: used() == wanted, SLOW)  # Ray counts them every few seconds
    (lab.folder / "go").touch()
    lab.wait(lambda: ended(ray, one), SLOW)


def test_each_run_of_a_job_has_a_gpu_of_its_own(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("echo $CUDA_VISIBLE_DEVICES; while [ ! -e go ]; do sleep 0.05; done", "[1, 2]")
    launcher = create_launcher("ray", gpus=2)
    launcher.launch(job(lab, sweep, "--workers", "2", "--gpus-per-run", "1"), 1)
    lab.wait(lambda: len({lab.output(run) for run in lab.runs(sweep)} - {""}) == 2, SLOW)
    (lab.folder / "go").touch()
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 2, SLOW)


def test_a_job_waits_for_its_resources_and_is_alive_meanwhile(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("echo $$; while [ ! -e go ]; do sleep 0.05; done", "[1, 2]")
    launcher = create_launcher("ray", cpus=CPUS)
    launched = launcher.launch(job(lab, sweep, "--count", "1"), 2)
    first_output(lab, sweep)
    assert sorted(ray.jobs()[one.job_id] for one in launched) == ["PENDING", "RUNNING"]
    assert list(launcher.alive(launched)) == list(launched)
    (lab.folder / "go").touch()
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 2, SLOW)


def test_what_ray_refuses_is_told_in_its_own_words_and_nothing_is_left_running(
    lab: Lab, ray: RayCluster
) -> None:
    sweep = lab.shell_sweep("sleep 1000")
    before = set(ray.jobs())
    with pytest.raises(RayRefusedError, match="GPU resource quantities >1 must"):
        create_launcher("ray", gpus=1.5).launch(job(lab, sweep), 3)
    assert {ray.jobs()[one] for one in set(ray.jobs()) - before} == {"FAILED"}
    lab.write("env.yaml", "pip: 17\n")
    with pytest.raises(UsageError, match=r"runtime_env\['pip'\] must be"):
        create_launcher("ray", runtime_env="env.yaml").launch(job(lab, sweep), 1)


def test_a_failed_submission_stops_those_before_it(
    lab: Lab, ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.job_submission import JobSubmissionClient

    submit, count = JobSubmissionClient.submit_job, iter(range(10))

    def fail_at_the_third(client: JobSubmissionClient, **request: object) -> str:
        if next(count) == 2:
            request["entrypoint_num_gpus"] = 1.5
        return submit(client, **request)  # type: ignore[arg-type]

    monkeypatch.setattr(JobSubmissionClient, "submit_job", fail_at_the_third)
    before = set(ray.jobs())
    with pytest.raises(RayRefusedError):
        RayLauncher().launch(job(lab, lab.shell_sweep("sleep 1000")), 3)
    new = set(ray.jobs()) - before
    assert len(new) == 3
    lab.wait(lambda: {ray.jobs()[one] for one in new} == {"STOPPED", "FAILED"}, SLOW)


def test_agents_reach_postgresql(lab: Lab, ray: RayCluster, postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        far = Lab(lab.folder, store)
        sweep = far.shell_sweep("echo $1", "[1, 2, 3]")
        launched = RayLauncher().launch(job(far, sweep), 2)
        far.wait(lambda: far.states(sweep) == [RunState.FINISHED] * 3, SLOW)
        far.wait(lambda: not RayLauncher().alive(launched), SLOW)


def test_agents_reach_a_server_with_the_token_in_a_file(
    lab: Lab, ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = server_options(lab.folder)
    token = Tokens(options.tokens).create("agent", seconds=None)[1]
    monkeypatch.setenv("BESOM_TOKEN_FILE", str(lab.write("token", token)))
    sweep = lab.shell_sweep("echo $1", "[1, 2, 3]")
    with serving(lab.store, options) as url:
        told = AgentJob(sweep.id, url, ("--allow-any-command",))
        assert token not in RayLauncher().preview(told, 2)
        RayLauncher().launch(told, 2)
        lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 3, SLOW)


def test_a_folder_that_is_sent_is_where_the_program_runs(
    lab: Lab, ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = lab.folder / "sent"
    lab.write(
        "sent/train.py",
        "import os, besom\nrun = besom.init()\nprint(os.getcwd(), os.listdir())\nrun.finish()",
    )
    lab.write("sent/.besom/big", "not sent")
    lab.write("env.yaml", f"env_vars: {{PATH: '{Path(sys.executable).parent}:/bin:/usr/bin'}}\n")
    sweep = lab.sweep("method: grid\nprogram: train.py\nparameters: {x: {values: [1, 2]}}")
    launcher = create_launcher(
        "ray", working_dir="sent", runtime_env="env.yaml", env=[f"BESOM_DIR={lab.folder / '.besom'}"]
    )
    launcher.launch(job(lab, sweep), 1)
    lab.wait(lambda: lab.states(sweep) == [RunState.FINISHED] * 2, SLOW)
    where, _, files = lab.output(lab.runs(sweep)[0]).partition(" ")
    assert where != str(sent)
    assert "train.py" in files
    assert ".besom" not in files


def test_jobs_that_ray_has_forgotten_are_neither_alive_nor_an_error_to_cancel(ray: RayCluster) -> None:
    gone = [Launched("besom-abc-0", "long ago")]
    assert list(RayLauncher().alive(gone)) == []
    RayLauncher().cancel(gone)


def test_the_address_that_is_given_counts_more_than_the_environment(
    ray: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert list(create_launcher("ray", address=ADDRESS).alive([])) == []
    assert other_nodes(ADDRESS) == []
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:9"


def test_a_file_is_no_store_for_a_cluster_of_several_nodes(lab: Lab, ray: RayCluster) -> None:
    before = ray.jobs()
    with ray.far_node("10.7.7.7"):
        assert other_nodes(ADDRESS) == ["10.7.7.7"]
        with pytest.raises(UsageError, match=r"jobs may run on 10\.7\.7\.7; .*besom serve"):
            RayLauncher().launch(job(lab, lab.shell_sweep("true")), 1)
    assert ray.jobs() == before


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run besom's command line without what the test's environment says of Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-m", "besom", *words],
        env={**kept, "HOME": str(Path.cwd()), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_cluster_that_cannot_be_used_is_told_in_one_line_with_the_remedy(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("true").id
    store = {"BESOM_STORE": lab.store.url}
    mode = {"RAY_AUTH_MODE": "token"}
    for environment, code, remedy in [
        ({}, 1, "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"),
        (mode, 1, "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"),
        ({**mode, "RAY_AUTH_TOKEN": "other"}, 1, "Invalid authentication token"),
        ({"RAY_ADDRESS": "http://127.0.0.1:9"}, 4, "`ray start --head` starts one"),
        ({"RAY_ADDRESS": "ray://head:10001"}, 2, "--address http://head:8265"),
        ({"RAY_ADDRESS": "auto"}, 2, "--address http://127.0.0.1:8265"),
    ]:
        done = command("launch", "ray", sweep, **store, **environment)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        (line,) = done.stderr.splitlines()
        assert remedy in line
    assert ray.token not in str(ray.jobs())


def test_a_dry_run_starts_nothing_and_needs_no_cluster(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("true").id
    before = ray.jobs()
    done = command(
        "launch", "ray", sweep, "--jobs", "3", "--num-gpus", "1", "--dry-run", BESOM_STORE=lab.store.url
    )
    shown = json.loads(done.stdout)
    assert (shown["address"], shown["jobs"], shown["submit_job"]["entrypoint_num_gpus"]) == (ADDRESS, 3, 1)
    assert ray.jobs() == before


def test_launch_ray_prints_a_job_a_line(lab: Lab, ray: RayCluster) -> None:
    sweep = lab.shell_sweep("true").id
    done = command("launch", "ray", sweep, "--jobs", "2", BESOM_STORE=lab.store.url, **ray.variables)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(ray.jobs())
    assert len(done.stdout.split()) == 2


def test_ray_is_in_a_network_of_its_own(ray: RayCluster) -> None:
    mine = Path("/proc/thread-self/ns/net").readlink()
    assert mine != Path(f"/proc/{os.getppid()}/ns/net").readlink()
    # Nobody but the loopback device, so that what Ray listens at reaches nobody else.
    assert [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]] == [
        "lo"
    ]
    assert len(ray.network.processes()) > 5
