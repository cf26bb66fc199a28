"""Agents of a queue, as processes, on a real store: what messages can do, and what they cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from besom.records import RunState, Sweep, SweepState
from besom.testing.agents import Lab
from besom_aws.bench import Bench

KILLS = 6
WAITING = "echo $$; while [ ! -e go ]; do sleep 0.05; done"


@dataclass
class Fleet:
    """Agents of a queue on this machine."""

    lab: Lab
    bench: Bench
    queue: str
    agents: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def besom(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "besom", *words],
            cwd=self.lab.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def publish(self, sweep: Sweep, *words: str) -> list[str]:
        done = self.besom("publish", sweep.id, "--queue", self.queue, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def send(self, body: str) -> None:
        self.bench.client("sqs").send_message(QueueUrl=self.queue, MessageBody=body)

    def start(
        self, *words: str, lease: float = 2, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        agent = subprocess.Popen(
            [sys.executable, "-m", "besom", "agent", "--queue", self.queue, "--lease", str(lease), *words],
            cwd=self.lab.folder,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.agents.append(agent)
        return agent

    def finish(self, agent: subprocess.Popen[str], code: int = 0) -> str:
        said, _ = agent.communicate(timeout=60)
        assert agent.returncode == code, said
        assert "Traceback" not in said
        return said

    def empty(self) -> bool:
        return self.bench.count(self.queue) == (0, 0)


@pytest.fixture
def fleet(lab: Lab, bench: Bench) -> Iterator[Fleet]:
    made = Fleet(lab, bench, bench.add_queue())
    yield made
    for agent in made.agents:
        agent.kill()
        agent.communicate()


def started(fleet: Fleet, sweep: Sweep) -> bool:
    return any(fleet.lab.output(run) for run in fleet.lab.runs(sweep))


def complete(fleet: Fleet, sweep: Sweep, points: int) -> None:
    """Check that the grid is exactly complete: each point once, by one finished run."""
    runs = fleet.lab.runs(sweep)
    assert sorted(run.params["x"] for run in runs) == list(range(points))
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert fleet.lab.store.get_sweep(sweep.id).state is SweepState.FINISHED


def grid(lab: Lab, points: int, script: str = "echo $1 >> ran") -> Sweep:
    return lab.shell_sweep(script, str(list(range(points))))


# ---- messages


def test_a_message_names_the_sweep_and_its_store_and_nothing_else(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 3)
    assert len(set(fleet.publish(sweep, "--agents", "2", "--count", "5"))) == 2
    for _ in range(2):
        answer = fleet.bench.client("sqs").receive_message(QueueUrl=fleet.queue)
        body = json.loads(answer["Messages"][0]["Body"])
        assert body == {"besom": 1, "sweep": sweep.id, "store": lab.store.url, "count": 5}


def test_messages_go_out_ten_at_a_time_and_those_that_failed_again(lab: Lab, fleet: Fleet) -> None:
    fleet.bench.faults.lose = 3
    assert len(set(fleet.publish(grid(lab, 1), "--agents", "23"))) == 23
    assert fleet.bench.count(fleet.queue) == (23, 0)
    assert fleet.bench.calls["SendMessageBatch"] == 4


def test_a_fifo_queue_takes_all_messages_and_hands_them_out_side_by_side(lab: Lab, bench: Bench) -> None:
    fleet = Fleet(lab, bench, bench.add_queue("sweeps.fifo"))
    fleet.publish(grid(lab, 1), "--agents", "3")
    sqs = bench.client("sqs")
    taken = [sqs.receive_message(QueueUrl=fleet.queue)["Messages"][0]["MessageId"] for _ in range(3)]
    assert len(set(taken)) == 3


def test_an_address_with_a_password_is_refused_with_what_to_do(lab: Lab, fleet: Fleet) -> None:
    done = fleet.besom("--store", "postgresql://me:hunter22@db/x", "publish", "abc", "--queue", fleet.queue)
    assert done.returncode == 2
    assert "hunter22" not in done.stderr
    assert "--store-reference env:BESOM_STORE" in done.stderr
    assert fleet.empty()


def test_what_is_no_reference_is_refused_and_not_repeated(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 1)
    done = fleet.besom("publish", sweep.id, "--queue", fleet.queue, "--store-reference", "ssm:pass word")
    assert done.returncode == 2
    assert "pass word" not in done.stderr
    assert "env:NAME" in done.stderr


def test_a_sweep_that_is_over_is_not_published(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 1)
    lab.agent(sweep)
    done = fleet.besom("publish", sweep.id, "--queue", fleet.queue)
    assert done.returncode == 1
    assert "is finished" in done.stderr
    assert fleet.empty()


# ---- agents


@pytest.mark.slow
def test_agents_of_a_queue_run_the_whole_sweep_and_the_queue_is_empty_then(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 12)
    fleet.publish(sweep, "--agents", "2")
    agents = [fleet.start("--idle", "1") for _ in range(2)]
    for agent in agents:
        assert "no message came for 1 s" in fleet.finish(agent)
    complete(fleet, sweep, 12)
    assert fleet.empty()


@pytest.mark.slow
def test_a_message_is_worth_the_runs_that_it_says(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 5)
    fleet.publish(sweep, "--agents", "1", "--count", "2")
    assert "2 finished" in fleet.finish(fleet.start("--idle", "1"))
    assert len(lab.runs(sweep)) == 2
    assert fleet.empty()


@pytest.mark.slow
def test_an_agent_that_has_taken_its_own_count_leaves_the_message_to_the_next(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 3)
    fleet.publish(sweep)
    for _ in range(3):
        said = fleet.finish(fleet.start("--count", "1", lease=60))
        assert "took as many runs as it was to" in said
        assert fleet.bench.count(fleet.queue) == (1, 0)
    fleet.finish(fleet.start("--count", "1", "--idle", "0", lease=60))
    complete(fleet, sweep, 3)
    assert fleet.empty()


@pytest.mark.slow
def test_a_message_stays_hidden_for_as_long_as_its_agent_works(lab: Lab, fleet: Fleet) -> None:
    sweep = lab.shell_sweep(WAITING)
    fleet.publish(sweep)
    agent = fleet.start("--idle", "0", lease=1.5)
    lab.wait(lambda: started(fleet, sweep))
    lab.wait(lambda: fleet.bench.calls["ChangeMessageVisibility"] >= 6)  # a lease and a half later, at least
    assert fleet.bench.count(fleet.queue) == (0, 1)
    (lab.folder / "go").touch()
    fleet.finish(agent)
    assert fleet.empty()


@pytest.mark.slow
def test_sigterm_gives_back_the_run_and_the_message_at_once(lab: Lab, fleet: Fleet) -> None:
    sweep = lab.shell_sweep(WAITING)
    fleet.publish(sweep)
    agent = fleet.start(lease=300)
    lab.wait(lambda: started(fleet, sweep))
    agent.send_signal(signal.SIGTERM)
    fleet.finish(agent, 128 + signal.SIGTERM)
    assert lab.states(sweep) == [RunState.PREEMPTED]
    assert fleet.bench.count(fleet.queue) == (1, 0)
    (lab.folder / "go").touch()
    fleet.finish(fleet.start("--idle", "0", lease=300))
    assert lab.states(sweep) == [RunState.FINISHED]
    assert fleet.empty()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_waits_for_messages_leaves_at_a_signal(fleet: Fleet, number: signal.Signals) -> None:
    agent = fleet.start()
    fleet.lab.wait(lambda: fleet.bench.calls["ReceiveMessage"] == 1)
    agent.send_signal(number)
    assert f"received {number.name}" in fleet.finish(agent, 128 + number)


@pytest.mark.slow
def test_what_a_killed_agent_held_is_taken_up_by_the_next(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 3, "echo $1 >> ran; [ $1 != --x=1 ] || [ -e go ] || { touch hangs; sleep 60; }")
    fleet.publish(sweep)
    agent = fleet.start(lease=2)
    lab.wait((lab.folder / "hangs").exists)
    agent.kill()
    (lab.folder / "go").touch()
    # The message comes again after its visibility timeout, the run after its lease.
    fleet.finish(fleet.start("--idle", "6", lease=2))
    complete(fleet, sweep, 3)
    assert {run.params["x"]: run.attempt for run in lab.runs(sweep)} == {0: 1, 1: 2, 2: 1}
    assert fleet.empty()


@pytest.mark.slow
def test_a_message_that_can_be_kept_no_longer_brings_one_more_agent_and_no_harm(
    lab: Lab, fleet: Fleet
) -> None:
    sweep = lab.shell_sweep(WAITING)
    fleet.publish(sweep)
    fleet.bench.faults.refuse["ChangeMessageVisibility"] = ["InvalidParameterValue"]  # after 12 hours
    first, second = fleet.start(lease=1.5), None
    lab.wait(lambda: started(fleet, sweep))
    second = fleet.start(lease=60)
    lab.wait(lambda: len(lab.store.list_agents(sweep.id)) == 2)
    (lab.folder / "go").touch()
    lab.wait(fleet.empty)
    for agent in (first, second):
        agent.terminate()
    assert "which does no harm" in fleet.finish(first, 143)
    fleet.finish(second, 143)
    assert [(run.state, run.attempt) for run in lab.runs(sweep)] == [(RunState.FINISHED, 1)]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_lost_doubled_and_orphaned_messages_leave_the_grid_exact(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 40, "sleep 0.05; echo $1 >> ran")
    fleet.publish(sweep, "--agents", "3")
    fleet.bench.client("sqs").purge_queue(QueueUrl=fleet.queue)  # all of them are lost
    fleet.publish(sweep, "--agents", "3")
    fleet.publish(sweep, "--agents", "3")  # and each comes twice
    agents = [fleet.start("--idle", "4", lease=2) for _ in range(3)]
    for kill in range(KILLS):
        lab.wait(lambda least=5 * kill: len(lab.runs(sweep)) > least)  # type: ignore[misc]
        agents.pop(0).kill()
        agents.append(fleet.start("--idle", "4", lease=2))
    for agent in agents:
        fleet.finish(agent)
    complete(fleet, sweep, 40)
    ran = sorted((lab.folder / "ran").read_text().split())
    again = len(ran) - 40
    assert sorted(set(ran)) == sorted(f"--x={point}" for point in range(40))
    assert again <= KILLS  # what the killed agents had just been running
    assert fleet.empty()


@pytest.mark.slow
def test_a_message_for_a_sweep_that_is_over_is_done_with_at_once(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 1)
    fleet.publish(sweep, "--agents", "2")
    lab.agent(sweep)
    fleet.finish(fleet.start("--idle", "1"))
    assert fleet.empty()
    assert len(lab.runs(sweep)) == 1


@pytest.mark.slow
def test_an_agent_goes_from_one_sweep_to_the_next(lab: Lab, fleet: Fleet) -> None:
    sweeps = [grid(lab, 2) for _ in range(2)]
    for sweep in sweeps:
        fleet.publish(sweep)
    said = fleet.finish(fleet.start("--idle", "1"))
    assert "4 finished" in said
    for sweep in sweeps:
        complete(fleet, sweep, 2)


@pytest.mark.slow
def test_a_sweep_whose_runs_keep_failing_keeps_its_message_and_stops_no_other(lab: Lab, fleet: Fleet) -> None:
    broken, sound = grid(lab, 9, "exit 3"), grid(lab, 2)
    fleet.publish(broken)
    fleet.publish(sound)
    said = fleet.finish(fleet.start("--idle", "0", lease=300), 1)
    assert "3 runs failed within the first minute and none finished" in said
    complete(fleet, sound, 2)
    assert fleet.bench.count(fleet.queue) == (0, 1)


# ---- what messages cannot do


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("hello", "it is not JSON"),
        ('{"sweep": "abc"}', 'no JSON object with the key "besom"'),
        ('{"besom": 2, "sweep": "abc"}', "another version"),
        ('{"besom": 1, "sweep": "abc", "command": ["rm", "-rf", "/"]}', "other keys"),
        ('{"besom": 1, "sweep": "../../etc"}', "no id of a sweep"),
        ('{"besom": 1, "sweep": "abc", "count": -1}', "no number of runs"),
        ('{"besom": 1, "sweep": "abc", "store": 7}', "no text"),
        ('{"besom": 1, "sweep": "nosuch"}', "nosuch"),
        ('{"besom": 1, "sweep": "abc", "store": "postgresql://evil/x"}', "which this agent was not told of"),
        ('{"besom": 1, "sweep": "abc", "store": "env:AWS_SECRET_ACCESS_KEY"}', "was not told of"),
        ('{"besom": 1, "sweep": "abc", "store": "secretsmanager:prod#key"}', "was not told of"),
    ],
)
def test_foreign_messages_are_left_for_the_dead_letter_queue(fleet: Fleet, body: str, why: str) -> None:
    fleet.send(body)
    said = fleet.finish(fleet.start("--idle", "0", lease=300))
    assert why in said
    assert "dead-letter queue" in said
    assert fleet.bench.count(fleet.queue) == (0, 1)


@pytest.mark.slow
def test_after_its_receives_a_foreign_message_is_in_the_dead_letter_queue(lab: Lab, bench: Bench) -> None:
    fleet = Fleet(lab, bench, bench.add_queue("brief", receives=2))
    fleet.send("hello")
    agent = fleet.start("--idle", "4", lease=1)
    said = fleet.finish(agent)
    assert said.count("it is not JSON") == 2
    assert fleet.empty()
    assert bench.count(fleet.queue + "-dead") == (1, 0)


@pytest.mark.slow
def test_the_program_is_the_sweeps_whatever_the_agent_allows(lab: Lab, fleet: Fleet) -> None:
    lab.write("train.py", "print('trained')\n")
    lab.write("other.py", "print('other')\n")
    sweep = lab.sweep("method: grid\nprogram: train.py\nparameters: {x: {values: [0, 1]}}\n")
    fleet.publish(sweep)
    said = fleet.finish(fleet.start("--idle", "0", "--allow-program", "other.py", lease=300))
    assert "this agent runs other.py only" in said
    assert lab.runs(sweep) == []
    assert fleet.bench.count(fleet.queue) == (0, 1)


@pytest.mark.slow
def test_a_store_that_was_allowed_may_be_named_by_a_reference(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 2)
    secrets = fleet.bench.client("secretsmanager")
    secrets.create_secret(Name="besom/store", SecretString=json.dumps({"url": lab.store.url}))
    place = "secretsmanager:besom/store#url"
    fleet.publish(sweep, "--store-reference", place)
    elsewhere = {"BESOM_STORE": f"sqlite:///{lab.folder}/elsewhere.db"}
    fleet.finish(fleet.start("--idle", "1", "--allow-store", place, environment=elsewhere))
    complete(fleet, sweep, 2)
    assert fleet.empty()


@pytest.mark.slow
def test_a_reference_that_cannot_be_read_leaves_the_message(lab: Lab, fleet: Fleet) -> None:
    fleet.publish(grid(lab, 1), "--store-reference", "ssm:/besom/store")
    said = fleet.finish(fleet.start("--idle", "0", "--allow-store", "ssm:/besom/store", lease=300))
    assert "reading ssm:/besom/store: ParameterNotFound" in said
    assert fleet.bench.count(fleet.queue) == (0, 1)


@pytest.mark.slow
def test_a_message_without_a_store_means_the_agents_own(lab: Lab, fleet: Fleet) -> None:
    sweeps = [grid(lab, 1), grid(lab, 1)]
    fleet.send(json.dumps({"besom": 1, "sweep": sweeps[0].id}))
    fleet.publish(sweeps[1], "--store-reference", "env:BESOM_STORE")
    fleet.finish(fleet.start("--idle", "1", environment={"BESOM_STORE": lab.store.url}))
    for sweep in sweeps:
        complete(fleet, sweep, 1)


# ---- when AWS or the store fails


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_exit_code_4_and_the_message_comes_again(fleet: Fleet) -> None:
    away = "postgresql://nobody@127.0.0.1:9/x"
    fleet.send(json.dumps({"besom": 1, "sweep": "abc", "store": away}))
    said = fleet.finish(fleet.start("--allow-store", away, lease=300), 4)
    assert "127.0.0.1" in said
    assert fleet.bench.count(fleet.queue) == (0, 1)


@pytest.mark.slow
def test_throttling_is_waited_out(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 2)
    refuse = fleet.bench.faults.refuse
    refuse["SendMessageBatch"] = ["ThrottlingException"] * 2
    fleet.publish(sweep)
    refuse["ReceiveMessage"] = ["ThrottlingException"] * 2
    refuse["DeleteMessage"] = ["ThrottlingException"]
    fleet.finish(fleet.start("--idle", "1"))
    complete(fleet, sweep, 2)
    assert fleet.empty()


@pytest.mark.slow
def test_an_outage_of_the_queue_is_borne_like_one_of_the_store(lab: Lab, fleet: Fleet) -> None:
    sweep = grid(lab, 1)
    agent = fleet.start()
    lab.wait(lambda: fleet.bench.calls["ReceiveMessage"] == 1)
    fleet.bench.faults.refuse["ReceiveMessage"] = ["ThrottlingException"] * 6
    fleet.publish(sweep)  # ends the long poll, and the next ones fail
    fleet.publish(grid(lab, 1))
    lab.wait(lambda: not fleet.bench.faults.refuse["ReceiveMessage"], 60)
    lab.wait(fleet.empty)
    agent.terminate()
    assert "AWS asks for patience" in fleet.finish(agent, 143)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredTokenException", "AWS does not accept these credentials (ExpiredTokenException)"),
        ("AccessDeniedException", "docs/aws.md lists what has to be allowed"),
    ],
)
@pytest.mark.slow
def test_what_aws_refuses_is_told_in_a_line(lab: Lab, fleet: Fleet, code: str, said: str) -> None:
    fleet.bench.faults.refuse["ReceiveMessage"] = [code]
    told = fleet.finish(fleet.start(), 1)
    assert said in told
    fleet.bench.faults.refuse["SendMessageBatch"] = [code]
    done = fleet.besom("publish", grid(lab, 1).id, "--queue", fleet.queue)
    assert done.returncode == 1
    assert said in done.stderr
    assert "0 of 1 messages were sent" in done.stderr


@pytest.mark.slow
def test_no_credentials_are_told_in_a_line(fleet: Fleet) -> None:
    gone = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONFIG_FILE": "/dev/null"}
    assert "`aws configure` or `aws sso login`" in fleet.finish(
        fleet.start(environment={**gone, **nowhere}), 1
    )


@pytest.mark.slow
def test_an_aws_that_cannot_be_reached_is_exit_code_4(lab: Lab, fleet: Fleet) -> None:
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert "AWS cannot be reached" in fleet.finish(fleet.start(environment=away), 4)


def test_a_queue_that_is_not_there_is_exit_code_3(lab: Lab, fleet: Fleet) -> None:
    missing = fleet.queue + "x"
    done = fleet.besom("agent", "--queue", missing)
    assert done.returncode == 3
    assert "there is no such queue" in done.stderr


def test_what_is_no_queue_is_exit_code_2(fleet: Fleet) -> None:
    done = fleet.besom("agent", "--queue", "sweeps")
    assert done.returncode == 2
    assert "aws sqs list-queues" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["abc", "--queue", "https://sqs.x.amazonaws.com/1/q"], ["abc", "--idle", "3"]]
)
def test_an_agent_has_a_sweep_or_a_queue(fleet: Fleet, words: list[str]) -> None:
    assert fleet.besom("agent", *words).returncode == 2


def test_without_boto3_what_to_install_is_said(lab: Lab, fleet: Fleet) -> None:
    (lab.folder / "boto3.py").write_text("raise ModuleNotFoundError(name='boto3')")
    sweep = grid(lab, 1)
    for words in (
        ["agent", "--queue", fleet.queue],
        ["publish", sweep.id, "--queue", fleet.queue],
    ):
        done = fleet.besom(*words, PYTHONPATH=str(lab.folder))
        assert done.returncode == 2
        assert "pip install 'besom[aws]'" in done.stderr
