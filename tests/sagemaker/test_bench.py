from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from besom.records import RunState

TRAIN = "import besom\nrun = besom.init()\nrun.log({'loss': run.config.lr})\n"


def plain(lab: Any, name: str, code: str, **more: Any) -> dict[str, Any]:
    """A request whose container runs a line of Python, without besom."""
    return {
        "TrainingJobName": name,
        "RoleArn": lab.role,
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-uc", code],
            **more.pop("algorithm", {}),
        },
        "OutputDataConfig": {"S3OutputPath": "s3://sweeps/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def create(lab: Any, *args: Any, **more: Any) -> None:
    lab.bench.client("sagemaker").create_training_job(**plain(lab, *args, **more))


def test_a_job_ends_as_its_container_does(lab: Any) -> None:
    create(lab, "good", "print('fine'); open('/opt/ml/model/m', 'w')")
    create(lab, "bad", "open('/opt/ml/output/failure', 'w').write('the cause'); raise SystemExit(7)")
    good, bad = lab.bench.wait("good"), lab.bench.wait("bad")
    assert good["TrainingJobStatus"] == good["SecondaryStatus"] == "Completed"
    assert good["BillableTimeInSeconds"] >= 1
    assert bad["TrainingJobStatus"] == "Failed"
    assert bad["FailureReason"] == "AlgorithmError: the cause, exit code: 7"
    assert lab.bench.log("good") == "fine"
    assert list(lab.bench.world.s3.names("s3://sweeps/out/")) == ["good/output/model.tar.gz"]


def test_metric_definitions_read_the_log(lab: Any) -> None:
    definitions = [{"Name": "loss", "Regex": "loss=([^;]+);"}, {"Name": "none", "Regex": "no=([0-9]+)"}]
    create(
        lab, "job", "print('loss=0.5;'); print('loss=0.25;')", algorithm={"MetricDefinitions": definitions}
    )
    told = lab.bench.wait("job")
    assert [(found["MetricName"], found["Value"]) for found in told["FinalMetricDataList"]] == [
        ("loss", 0.25)
    ]


def test_the_numbers_of_a_run_are_in_the_log_for_metric_definitions(lab: Any) -> None:
    definition = {"Name": "loss", "Regex": "^besom: .* loss=([^;]+);"}
    spec = lab.spec("r1", {"lr": 0.125})
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-u", "/opt/ml/input/data/besom/boot.py"],
            "MetricDefinitions": [definition],
        }
    }
    lab.submit("job", TRAIN, (spec,), request=request)
    assert lab.bench.wait("job")["FinalMetricDataList"][0]["Value"] == 0.125


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TrainingJobName": "under_score"}, "TrainingJobName"),
        ({"Environment": {"A": "x" * 513}}, "Environment"),
        ({"HyperParameters": {str(n): "1" for n in range(101)}}, "HyperParameters"),
    ],
)
def test_what_sagemaker_would_refuse_is_refused(lab: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match="ValidationException") as refused:
        lab.bench.client("sagemaker").create_training_job(**{**plain(lab, "job", "1"), **change})
    assert said in str(refused.value)


def test_a_name_is_taken_once(lab: Any) -> None:
    create(lab, "job", "1")
    with pytest.raises(ClientError, match="ResourceInUse"):
        create(lab, "job", "1")


def test_faults_are_those_of_the_service(lab: Any) -> None:
    lab.bench.faults.throttle["CreateTrainingJob"] = 1
    create(lab, "one", "import time; time.sleep(60)")
    assert lab.bench.calls["CreateTrainingJob"] == 2  # botocore has tried again
    lab.bench.faults.max_jobs = 1
    with pytest.raises(ClientError, match="ResourceLimitExceeded"):
        create(lab, "two", "1")
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="one")
    lab.bench.interrupt("one", warn=False)
    assert lab.bench.wait("one")["TrainingJobStatus"] == "Stopped"
    lab.bench.faults.lacks_capacity = 1
    create(lab, "two", "1")
    assert lab.bench.wait("two")["FailureReason"].startswith("CapacityError")
    assert lab.bench.calls["CreateTrainingJob"] == 4


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(grace=0.5)
    create(lab, "job", "import time; print('up'); time.sleep(60)")
    lab.prints("job", "up")
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job")
    began = time.monotonic()
    assert lab.bench.wait("job")["SecondaryStatus"] == "Stopped"
    assert time.monotonic() - began < 30  # process 1 without a handler does not feel SIGTERM


@pytest.mark.parametrize("enclosed", [None, False])
def test_what_ends_a_job_before_its_program_is_there_is_not_lost(
    make_lab: Callable[..., Any], enclosed: bool | None
) -> None:
    lab = make_lab(enclosed=enclosed)
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job", "print(1)\n", (spec,))
    lab.bench.interrupt("job")  # SIGTERM, which process 1 would not feel yet
    told = lab.bench.wait("job")
    assert told["TrainingJobStatus"] == "Completed", lab.bench.log("job")
    assert "Interrupted" in [step["Status"] for step in told["SecondaryStatusTransitions"]]
    lab.submit("other", "import time\ntime.sleep(60)\n", (lab.spec("r2", {"lr": 0.5}),))
    lab.bench.until(lambda: lab.bench.describe("other")["SecondaryStatus"] == "Training", what="other")
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="other")
    assert lab.bench.wait("other")["SecondaryStatus"] == "Stopped"


def test_a_job_over_its_time_is_stopped(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(grace=0.2)
    create(lab, "job", "import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    told = lab.bench.wait("job")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_what_is_not_there_cannot_be_stopped(lab: Any) -> None:
    with pytest.raises(ClientError, match="not found"):
        lab.bench.client("sagemaker").stop_training_job(TrainingJobName="nothing")
    create(lab, "job", "1")
    lab.bench.wait("job")
    with pytest.raises(ClientError, match="is in status Completed"):
        lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job")


def test_without_namespaces_jobs_run_in_a_base_folder(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(enclosed=False)
    script = TRAIN + "import os\nprint('model in', os.environ['SM_MODEL_DIR'], 'here', os.getcwd())\n"
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job", script, (spec,))
    assert lab.bench.wait("job")["TrainingJobStatus"] == "Completed", lab.bench.log("job")
    root = lab.bench.lives["job"].root
    assert f"model in {root}/model here {root}/code" in lab.bench.log("job")
    assert lab.status(spec).outcome.state is RunState.FINISHED


def test_without_namespaces_a_stop_reaches_the_script_too(make_lab: Callable[..., Any]) -> None:
    lab = make_lab(enclosed=False)
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job", "print('ready', flush=True)\nimport time\ntime.sleep(60)\n", (spec,))
    lab.prints("job", "ready")
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job")
    assert lab.bench.wait("job")["TrainingJobStatus"] == "Stopped"
    assert lab.status(spec).outcome.state is RunState.PREEMPTED


@pytest.mark.slow
def test_eight_jobs_take_less_than_half_a_minute(lab: Any) -> None:
    specs = [lab.spec(f"r{number}", {"lr": number / 10}) for number in range(8)]
    began = time.monotonic()
    for spec in specs:
        lab.submit(f"job-{spec.run_id}", TRAIN, (spec,))
    for spec in specs:
        assert lab.bench.wait(f"job-{spec.run_id}")["TrainingJobStatus"] == "Completed"
    assert time.monotonic() - began < 30
    assert [lab.status(spec).outcome.value for spec in specs] == [None] * 8  # no metric was named
    assert [lab.account(spec).summarizer.summary["loss"] for spec in specs] == [n / 10 for n in range(8)]


def test_an_interrupted_job_keeps_its_checkpoints_and_nothing_else(lab: Any) -> None:
    code = (
        "import os, time\n"
        "print(sorted(os.listdir('/opt/ml/checkpoints')), sorted(os.listdir('/opt/ml/model')))\n"
        "open('/opt/ml/model/m', 'w').write('1')\n"
        "first = not os.path.exists('/opt/ml/checkpoints/c')\n"
        "open('/opt/ml/checkpoints/c', 'w').write('1')\n"
        "print('saved')\n"
        "time.sleep(60 if first else 0)\n"
    )
    lab.bench.world.s3.put("s3://sweeps/code/job.py", code.encode())
    channel = {
        "ChannelName": "code",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://sweeps/code/job.py"}},
    }
    create(
        lab,
        "job",
        "",
        algorithm={"ContainerEntrypoint": ["python3", "-u", "/opt/ml/input/data/code/job.py"]},
        CheckpointConfig={"S3Uri": "s3://sweeps/kept"},
        InputDataConfig=[channel],
    )
    lab.prints("job", "saved")
    lab.bench.until(lambda: lab.bench.world.s3.get("s3://sweeps/kept/c"), what="job")
    lab.bench.interrupt("job", warn=False)
    told = lab.bench.wait("job")
    assert "Interrupted" in [step["Status"] for step in told["SecondaryStatusTransitions"]]
    assert lab.bench.log("job").splitlines() == ["[] []", "saved", "['c'] []", "saved"]
