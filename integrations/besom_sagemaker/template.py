"""What every job of a sweep has in common, taken from a SageMaker estimator, a ModelTrainer or a request.

Neither SageMaker SDK is imported here: an object is asked what it would submit, and nothing is submitted.

* SDK v2: `estimator.fit(...)` runs with the class of its session exchanged for one that keeps the request.
* SDK v3: `ModelTrainer._create_training_job_args(boto3=True)` gives the request.
* A CreateTrainingJob request as a mapping, or in a YAML or JSON file.

Both SDKs upload the code of the object to S3 meanwhile, as they would do for any job of theirs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from besom.errors import UsageError

ENTRY_FIELDS = ("program", "source_dir")
_V3_DRIVERS = "sm_drivers"
_V3_CODE = "code"
_OURS = "sagemaker_"  # what hyperparameters of the v2 SDK itself begin with


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A CreateTrainingJob request without a name, and where the code of its program is."""

    request: Mapping[str, Any]
    program: str | None = None  # the entry point, relative to the source folder
    source_dir: Path | None = None  # the user's folder on this machine
    source: str | None = None  # where the SDK has put it: "channel:NAME" or "s3://.../FILE.tar.gz"
    command: tuple[str, ...] = ()  # instead of a program
    session: Any = None  # a boto3 session, the one the template was made with
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of the sweep, from a job file

    @property
    def fixed(self) -> dict[str, Any]:
        """The hyperparameters that are the same in every run, without those the SDK adds for itself."""
        return {
            name: _plain(value)
            for name, value in self.request.get("HyperParameters", {}).items()
            if not name.startswith(_OURS)
        }


def read_template(
    template: Any, *, inputs: Any = None, program: str | None = None, source_dir: str | Path | None = None
) -> JobTemplate:
    """Give the template in an estimator, a ModelTrainer, a request, or the file that holds one.

    `inputs` are channels: what `estimator.fit` or `ModelTrainer.train` takes, or a mapping of channel names
    to S3 addresses. `program` and `source_dir` replace the template's. UsageError when it is none of these.
    """
    if isinstance(template, JobTemplate):
        found = template
    elif isinstance(template, Mapping):
        found = _from_request(cast("Mapping[str, Any]", template), inputs)
    elif isinstance(template, (str, Path)):
        found = _from_file(Path(template), inputs)
    elif callable(getattr(template, "_create_training_job_args", None)):
        found = _from_trainer(template, inputs)
    elif callable(getattr(template, "fit", None)) and hasattr(template, "sagemaker_session"):
        found = _from_estimator(template, inputs)
    else:
        raise UsageError(
            f"a {type(template).__name__} is no template of training jobs; give a sagemaker estimator, a"
            " ModelTrainer, a CreateTrainingJob request, or the path of a job.yaml"
        )
    return _with_code(found, program, source_dir)


def local_source(template: Any) -> tuple[Path, ...]:
    """Give the folders and files of this machine that making a template of it would upload.

    So that they can be searched for secrets before anything leaves this machine.
    """
    found: list[Any] = []
    if not isinstance(template, (str, Path, Mapping, JobTemplate)):
        found += [getattr(template, "source_dir", None), *(getattr(template, "dependencies", None) or ())]
        found.append(getattr(getattr(template, "source_code", None), "source_dir", None))
        if not any(found):
            found.append(getattr(template, "entry_point", None))
    places = [Path(str(place)) for place in found if place and "://" not in str(place)]
    return tuple(dict.fromkeys(place for place in places if place.exists()))


def _with_code(found: JobTemplate, program: str | None, source_dir: str | Path | None) -> JobTemplate:
    changes: dict[str, Any] = {}
    if source_dir is not None:
        folder = Path(source_dir).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(f"source_dir {str(source_dir)!r} is not a folder")
        changes |= {"source_dir": folder, "source": None}
    if program is not None:
        changes["program"] = program
    return copy.copy(found) if not changes else _replace(found, changes)


def _replace(found: JobTemplate, changes: Mapping[str, Any]) -> JobTemplate:
    from dataclasses import replace

    return replace(found, **changes)


# ---- a request, or a file with one


def _from_request(request: Mapping[str, Any], inputs: Any) -> JobTemplate:
    own = {name: value for name, value in request.items() if name[:1].isupper()}
    options = {name: value for name, value in request.items() if not name[:1].isupper()}
    if not own:
        raise UsageError(
            "the request has none of CreateTrainingJob's fields, such as AlgorithmSpecification and RoleArn"
        )
    own = json.loads(json.dumps(own))
    own.pop("TrainingJobName", None)
    if channels := _channels(inputs):
        names = {channel["ChannelName"] for channel in channels}
        kept = [one for one in own.get("InputDataConfig", ()) if one.get("ChannelName") not in names]
        own["InputDataConfig"] = [*kept, *channels]
    program, folder = options.pop("program", None), options.pop("source_dir", None)
    found = JobTemplate(own, options=options)
    return _with_code(found, program, folder)


def _from_file(path: Path, inputs: Any) -> JobTemplate:
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not YAML: {error}") from error
    if not isinstance(loaded, Mapping):
        raise UsageError(f"{path}: must hold the fields of a CreateTrainingJob request")
    request = dict(cast("Mapping[str, Any]", loaded))
    if (folder := request.get("source_dir")) is not None:
        request["source_dir"] = str(path.absolute().parent / str(folder))
    if isinstance(stated := request.get("requirements"), str) and stated != "auto":
        request["requirements"] = str(path.absolute().parent / stated)
    try:
        return _from_request(request, inputs)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except TypeError as error:  # a date, say
        raise UsageError(f"{path}: {error}") from error


def _channels(inputs: Any) -> list[dict[str, Any]]:
    """Give channels as a request has them, from a mapping of names to S3 addresses or a list of them."""
    if inputs is None:
        return []
    if isinstance(inputs, str):
        inputs = {"training": inputs}
    if isinstance(inputs, (list, tuple)):
        return [dict(channel) for channel in cast("list[dict[str, Any]]", inputs)]
    if not isinstance(inputs, Mapping):
        raise UsageError(f"inputs: must be a mapping of channel names to S3 addresses, not {inputs!r}")
    return [_channel(name, place) for name, place in cast("Mapping[str, Any]", inputs).items()]


def _channel(name: str, place: Any) -> dict[str, Any]:
    if not isinstance(place, str) or not place.startswith("s3://"):
        raise UsageError(f"inputs[{name!r}]: must be an S3 address, s3://bucket/prefix, not {place!r}")
    return s3_channel(name, place)


def s3_channel(name: str, uri: str) -> dict[str, Any]:
    """Give the channel that brings everything below an S3 prefix into each instance."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


# ---- SDK v2


def _from_estimator(estimator: Any, inputs: Any) -> JobTemplate:
    taken = copy.copy(estimator)  # `fit` notes things about its job in the estimator
    if isinstance(getattr(taken, "jobs", None), list):
        taken.jobs = list(taken.jobs)
    session = taken.sagemaker_session
    if getattr(session, "local_mode", False):
        raise UsageError(
            "this estimator runs in local mode; give it an instance_type such as ml.m5.large,"
            " and run it on this machine with `besom sagemaker dev`"
        )
    request = _capture(taken, session, inputs)
    parameters = request.get("HyperParameters", {})
    submitted = _plain(parameters.get("sagemaker_submit_directory"))
    source = submitted if isinstance(submitted, str) and submitted.startswith("s3://") else None
    program = _plain(parameters.get("sagemaker_program"))
    folder = getattr(estimator, "source_dir", None)
    local = Path(folder).absolute() if folder and "://" not in str(folder) else None
    if local is None and isinstance(program, str) and getattr(estimator, "entry_point", None):
        entry = Path(estimator.entry_point)
        local = entry.absolute().parent if entry.is_file() else None
    return JobTemplate(
        request,
        program=program if isinstance(program, str) else None,
        source_dir=local,
        source=source,
        session=session.boto_session,
    )


def _capture(estimator: Any, session: Any, inputs: Any) -> dict[str, Any]:
    """Give the request that `fit` would submit."""
    captured: list[dict[str, Any]] = []
    original: Any = session.__class__

    def keep(_self: Any, request: dict[str, Any], _submit: Any, _name: str | None = None) -> None:
        captured.append(request)

    if not hasattr(original, "_intercept_create_request"):
        raise UsageError(
            f"this version of the sagemaker SDK gives no way to see a request before it is submitted"
            f" ({original.__name__} has no _intercept_create_request); give the request itself"
        )
    # A subclass made here, so that whatever class the user's session has, only the last step differs.
    session.__class__ = type(original.__name__, (original,), {"_intercept_create_request": keep})
    try:
        estimator.fit(inputs, wait=False)
    finally:
        session.__class__ = original
    if len(captured) != 1:
        raise UsageError(f"the estimator's fit() made {len(captured)} requests instead of one")
    return _as_request(captured[0])


# ---- SDK v3


def _from_trainer(trainer: Any, inputs: Any) -> JobTemplate:
    code = getattr(trainer, "source_code", None)
    try:
        request = trainer._create_training_job_args(input_data_config=_v3_inputs(inputs), boto3=True)  # noqa: SLF001
    except TypeError as error:
        raise UsageError(
            "this version of the sagemaker SDK does not give the request of a ModelTrainer"
            f" ({error}); give the request itself"
        ) from error
    found = _as_request(request)
    channels = [one for one in found.get("InputDataConfig", ()) if one["ChannelName"] != _V3_DRIVERS]
    found["InputDataConfig"] = channels
    if given := _channels(inputs):
        names = {one["ChannelName"] for one in given}
        found["InputDataConfig"] = [one for one in channels if one["ChannelName"] not in names] + given
    shipped = any(one["ChannelName"] == _V3_CODE for one in channels)
    folder = getattr(code, "source_dir", None)
    command = getattr(code, "command", None)
    return JobTemplate(
        found,
        program=getattr(code, "entry_script", None),
        source_dir=Path(folder).absolute() if folder and "://" not in str(folder) else None,
        source=f"channel:{_V3_CODE}" if shipped else None,
        command=("/bin/sh", "-c", str(command)) if command else (),
        session=trainer.sagemaker_session.boto_session,
    )


def _v3_inputs(inputs: Any) -> Any:
    """Give what is the SDK's own (InputData and Channel objects); names and addresses are added by us."""
    if inputs is None or isinstance(inputs, (str, Mapping)):
        return None
    items = cast("list[Any]", inputs)
    return None if all(isinstance(one, Mapping) for one in items) else items


def _as_request(found: Mapping[str, Any]) -> dict[str, Any]:
    """Give a request as plain JSON values, without its name and without what is None."""
    request = cast("dict[str, Any]", json.loads(json.dumps(_without_none(found), default=str)))
    request.pop("TrainingJobName", None)
    return request


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {str(key): _without_none(item) for key, item in items if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in cast("list[Any]", value)]
    return value


def _plain(value: Any) -> Any:
    """Give a hyperparameter with its type: the SDKs write them as JSON; other text stays text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
