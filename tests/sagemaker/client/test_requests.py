"""What is submitted: names, requests checked offline, templates, what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.errors import UsageError
from besom_sagemaker import JobTemplate, RequestError, SageMakerSweep, check_request, read_template
from besom_sagemaker.job import ENTRYPOINT
from besom_sagemaker.leaks import LeakError
from besom_sagemaker.names import agent_job_name, job_name, job_prefix
from besom_sagemaker.package import build_files, source_archive, source_files
from besom_sagemaker.requirements import UnresolvedImportsError
from besom_sagemaker.validate import problems_of

Make = Callable[..., dict[str, Any]]


@settings(deadline=None)  # the first call reads the service model
@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80), st.integers(1, 9999))
def test_every_name_is_one_that_sagemaker_takes(sweep_id: str, run_id: str, attempt: int) -> None:
    name = job_name(sweep_id, run_id, attempt)
    assert name == job_name(sweep_id, run_id, attempt)
    assert name.startswith(job_prefix(sweep_id))
    assert not [one for one in problems_of({"TrainingJobName": name}) if one.startswith("TrainingJobName")]
    assert name != job_name(sweep_id, run_id, attempt + 1)


def test_a_name_tells_sweep_run_and_attempt() -> None:
    assert job_name("s1a2b3c4", "r9k8j7h6", 2).startswith("besom-s1a2b3c4-r9k8j7h6-a2-")
    assert agent_job_name("s1a2b3c4", 3).startswith("besom-s1a2b3c4-agent3-a1-")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"TrainingJobName": "a_b"}, "TrainingJobName: 'a_b' does not match"),
        (
            {"HyperParameters": {f"p{i}": "1" for i in range(120)}},
            "HyperParameters: has 120 entries, at most 100",
        ),
        ({"HyperParameters": {"a": "x\ny"}}, "(a newline is not allowed)"),
        ({"Environment": {"A": "x" * 600}}, "Environment['A']: is 600 characters long, at most 512"),
        ({"Environment": {"a-b": "x"}}, "Environment key 'a-b': 'a-b' does not match"),
        (
            {"StopingCondition": {}},
            "StopingCondition: there is no such field; did you mean StoppingCondition?",
        ),
        ({"RoleArn": 3}, "RoleArn: must be a string, not int"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds: is missing"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 60},
            },
            "60 is less than MaxRuntimeInSeconds (600)",
        ),
        ({"EnableManagedSpotTraining": True}, "CheckpointConfig: is missing"),
        (
            {
                "EnableManagedSpotTraining": True,
                "ResourceConfig": {"InstanceType": "ml.m5.large", "KeepAlivePeriodInSeconds": 60},
            },
            "there are no warm pools with spot training",
        ),
        ({"StoppingCondition": {"MaxWaitTimeInSeconds": 60}}, "only spot training takes it"),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "the key 'a' is there twice"),
    ],
)
def test_what_sagemaker_would_refuse_is_said_exactly(
    request_of: Make, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError) as refused:
        check_request({"TrainingJobName": "a", **request_of(), **change})
    assert said in str(refused.value)


def test_a_good_request_has_no_problems(request_of: Make) -> None:
    assert problems_of({"TrainingJobName": "a", **request_of()}) == []


def test_a_space_of_120_parameters_is_no_problem(folder: Path, request_of: Make) -> None:
    names = [f"p{number}" for number in range(120)]
    sweep = {
        "program": "train.py",
        "method": "random",
        "parameters": {n: {"min": 0.0, "max": 1.0} for n in names},
    }
    request = SageMakerSweep(request_of(), sweep, source_dir="src").preview()
    assert "HyperParameters" not in request


def test_a_preview_has_what_besom_adds_and_keeps_the_rest(folder: Path, request_of: Make) -> None:
    request = SageMakerSweep(
        request_of(Tags=[{"Key": "team", "Value": "vision"}]),
        "sweep.yaml",
        source_dir="src",
        inputs={"train": "s3://data/train"},
        spot=True,
        tags={"project": "x"},
    ).preview()
    assert request["AlgorithmSpecification"]["ContainerEntrypoint"] == list(ENTRYPOINT)
    assert [one["ChannelName"] for one in request["InputDataConfig"]] == ["train", "besom", "besom_job"]
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags["team"] == "vision"
    assert tags["project"] == "x"
    assert {"besom:sweep", "besom:run", "besom:attempt", "besom:code"} <= set(tags)
    assert request["StoppingCondition"]["MaxWaitTimeInSeconds"] == 1200
    assert "/checkpoints/" in request["CheckpointConfig"]["S3Uri"]
    assert not (folder / ".besom").exists(), "a preview leaves nothing behind"


def test_instances_of_a_warm_pool_wait_for_the_next_job(folder: Path, request_of: Make) -> None:
    request = SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", keep_alive=900).preview()
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 900
    assert request["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    with pytest.raises(RequestError, match="no warm pools with spot"):
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", keep_alive=900, spot=True).preview()


def test_sagemaker_is_told_how_to_read_the_metric_in_the_log(folder: Path, request_of: Make) -> None:
    def definitions(*own: dict[str, str]) -> list[dict[str, str]]:
        request = request_of()
        if own:
            request["AlgorithmSpecification"]["MetricDefinitions"] = list(own)
        found = SageMakerSweep(request, "sweep.yaml", source_dir="src").preview()
        told: list[dict[str, str]] = found["AlgorithmSpecification"]["MetricDefinitions"]
        return told

    other, mine = {"Name": "acc", "Regex": "acc=(.*)"}, {"Name": "loss", "Regex": "L (.*)"}
    assert definitions() == [{"Name": "loss", "Regex": "^besom: .* loss=([^;]+);"}]
    assert [one["Name"] for one in definitions(other)] == ["acc", "loss"]
    assert definitions(mine) == [mine]
    full = [{"Name": f"m{n}", "Regex": "x"} for n in range(40)]
    assert definitions(*full) == full


def test_a_job_without_a_network_is_refused_before_it_costs_anything(folder: Path, request_of: Make) -> None:
    with pytest.raises(UsageError, match=r"EnableNetworkIsolation.* needs a way there"):
        SageMakerSweep(request_of(EnableNetworkIsolation=True), "sweep.yaml", source_dir="src").preview()


def test_a_job_file_holds_a_request_and_settings(folder: Path, request_of: Make) -> None:
    import yaml

    (folder / "job.yaml").write_text(yaml.safe_dump({**request_of(), "source_dir": "src", "max_jobs": 9}))
    template = read_template(folder / "job.yaml")
    assert template.source_dir == folder / "src"
    assert template.options == {"max_jobs": 9}
    (folder / "job.yaml").write_text(yaml.safe_dump({**request_of(), "max_job": 9}))
    with pytest.raises(UsageError, match="did you mean max_jobs"):
        SageMakerSweep("job.yaml", "sweep.yaml", source_dir="src")


@pytest.mark.parametrize("wrong", [3, {}, {"max_jobs": 1}])
def test_what_is_no_template_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        read_template(wrong)


def test_fixed_hyperparameters_are_flags_that_the_sweep_goes_over(folder: Path, request_of: Make) -> None:
    from besom.store import open_store
    from besom.sweep import create_sweep
    from besom.sweepfile import load
    from besom_sagemaker.plan import Code, JobOptions, plan_launch

    request = request_of(HyperParameters={"lr": "9", "epochs": "3", "sagemaker_program": '"x.py"'})
    store = open_store()
    sweep = create_sweep(store, load(folder / "sweep.yaml"))
    launch = plan_launch(sweep, JobTemplate(request), JobOptions(), Code("0", "s3://b/", None, None))
    store.close()
    assert launch.command == ("${env}", "${interpreter}", "${program}", "--epochs=3", "${args}")
    assert launch.program == "train.py"


def test_jobs_that_take_runs_by_themselves_need_a_networked_store(folder: Path, request_of: Make) -> None:
    with pytest.raises(UsageError, match="none can reach the SQLite file"):
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", trials_per_job="until_done")


def test_the_address_of_a_store_is_given_by_reference(folder: Path, request_of: Make) -> None:
    with pytest.raises(UsageError, match="would travel in the clear") as refused:
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", store="postgresql://me:pw@host/db")
    assert "pw" not in str(refused.value).replace("secrets push", "")


def test_runs_that_jobs_take_by_themselves_are_not_counted_here(folder: Path, request_of: Make) -> None:
    with pytest.raises(UsageError, match="write `run_cap` in the sweep file"):
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", store="ssm:/besom/store", count=3)


def test_a_budget_needs_prices(folder: Path, request_of: Make) -> None:
    with pytest.raises(UsageError, match=r"price of ml\.m5\.large"):
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", budget_usd=5)


def test_a_secret_of_this_machine_has_to_be_pushed_first(
    folder: Path, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "planted-4711-planted")
    with pytest.raises(UsageError, match="besom secrets push MY_TOKEN=env:MY_TOKEN"):
        SageMakerSweep(request_of(), "sweep.yaml", source_dir="src", secrets={"MY_TOKEN": "env:MY_TOKEN"})


@pytest.mark.parametrize("place", ["source", "environment", "hyperparameters"])
def test_a_secret_in_what_would_be_sent_is_refused(
    folder: Path, request_of: Make, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    planted = "planted-4711-planted"
    monkeypatch.setenv("MY_TOKEN", planted)
    fields: dict[str, Any] = {}
    if place == "source":
        (folder / "src" / "notes.txt").write_text(f"token {planted}\n")
    elif place == "environment":
        fields["Environment"] = {"X": planted}
    else:
        fields["HyperParameters"] = {"x": json.dumps(planted)}
    with pytest.raises(LeakError) as refused:
        SageMakerSweep(
            request_of(**fields), "sweep.yaml", source_dir="src", secrets={"MY_TOKEN": "env:MY_TOKEN"}
        )
    assert planted not in str(refused.value)


def test_requirements_are_settings_of_a_job_file(folder: Path, request_of: Make) -> None:
    import yaml

    (folder / "src" / "train.py").write_text("import torch\nimport no_such_module\n")
    job = {**request_of(), "source_dir": "src"}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with pytest.raises(UnresolvedImportsError, match=r"train\.py:2: import no_such_module"):
        SageMakerSweep("job.yaml", "sweep.yaml").preview()
    told = {"allow_missing": ["no_such_module"], "image_provides": []}
    (folder / "job.yaml").write_text(yaml.safe_dump({**job, **told}))
    sweep = SageMakerSweep("job.yaml", "sweep.yaml")
    sweep.preview()
    assert "torch==" in sweep._needed["requirements.txt"].decode()
    sweep = SageMakerSweep("job.yaml", "sweep.yaml", image_provides=["torch"])
    sweep.preview()
    assert "torch==" not in sweep._needed["requirements.txt"].decode(), "the call wins over the file"
    (folder / "job.yaml").write_text(yaml.safe_dump({**job, "requirements": "more.txt"}))
    with pytest.raises(UsageError, match=r"more\.txt' cannot be read: No such file"):
        SageMakerSweep("job.yaml", "sweep.yaml").preview()
    (folder / "more.txt").write_text("six==1.17.0\n")  # beside the job file, wherever it is used from
    sweep = SageMakerSweep("job.yaml", "sweep.yaml")
    sweep.preview()
    assert sweep._needed == {"requirements.txt": b"six==1.17.0\n"}


def test_a_find_that_is_no_secret_is_allowed_in_the_job_file(folder: Path, request_of: Make) -> None:
    import yaml

    (folder / "src" / "notes.txt").write_text("an example: AKIA" + "QWERTYUIOPASDFGH\n")
    job = {**request_of(), "source_dir": "src"}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with pytest.raises(LeakError, match="allow_leaks"):
        SageMakerSweep("job.yaml", "sweep.yaml")
    (folder / "job.yaml").write_text(yaml.safe_dump({**job, "allow_leaks": ["notes.txt"]}))
    assert SageMakerSweep("job.yaml", "sweep.yaml").preview()


def test_the_same_code_makes_the_same_files(folder: Path) -> None:
    template = JobTemplate({}, source_dir=folder / "src")
    (folder / "src" / "__pycache__").mkdir()
    (folder / "src" / "__pycache__" / "x.pyc").write_text("x")
    before = build_files(template, {})
    (folder / "src" / "train.py").touch()
    assert build_files(template, {}) == before
    assert {"boot.py", "source.tar.gz"} < set(before)
    assert list(source_files(folder / "src")) == ["train.py"]
    was = source_archive(folder / "src")
    (folder / "src" / "train.py").write_text("changed")
    assert source_archive(folder / "src") != was
