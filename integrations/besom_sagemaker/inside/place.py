"""What SageMaker gives a container: its folders, its config files, and the variables of script mode."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom_sagemaker.job import CHANNEL, JOB_CHANNEL

LONGEST_VALUE = 100_000
"""Bytes that a variable may have; Linux takes 128 KiB."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of a container; `base` is /opt/ml, but for a container without a root of its own."""

    base: Path

    @property
    def config(self) -> Path:
        """Where SageMaker's JSON files lie."""
        return self.base / "input" / "config"

    def channel(self, name: str) -> Path:
        """Where an input channel lies."""
        return self.base / "input" / "data" / name

    @property
    def home(self) -> Path:
        """What BESOM_DIR is for runs."""
        return self.base / "besom"

    @property
    def failure(self) -> Path:
        """The file that becomes the job's failure reason."""
        return self.base / "output" / "failure"

    def read(self, name: str) -> dict[str, Any]:
        """Give one of SageMaker's JSON files; an empty one where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.config / f"{name}.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found


@dataclass(frozen=True, slots=True)
class Hosts:
    """The instances of a job."""

    current: str
    all: tuple[str, ...]

    @property
    def first(self) -> bool:
        """Whether this one reports for all."""
        return not self.all or self.current == self.all[0]


def hosts_of(place: Place) -> Hosts:
    """Give the job's instances as resourceconfig.json has them."""
    resource = place.read("resourceconfig")
    names = tuple(sorted(resource.get("hosts") or ["algo-1"]))
    return Hosts(str(resource.get("current_host") or names[0]), names)


def script_mode(
    place: Place,
    *,
    parameters: Mapping[str, Any],
    flat: Mapping[str, Any],
    code: Path,
    program: str | None,
    model: Path,
    output: Path,
) -> dict[str, str]:
    """Give the SM_* variables that a script finds under SageMaker's own toolkit.

    SM_HPS and SM_TRAINING_ENV are JSON with true types. A value too long for a variable is left out: it is in
    BESOM_PARAMS_FILE all the same.
    """
    resource, hosts = place.read("resourceconfig"), hosts_of(place)
    inputs = {
        name: about
        for name, about in place.read("inputdataconfig").items()
        if name not in (CHANNEL, JOB_CHANNEL)
    }
    channels = {name: str(place.channel(name)) for name in sorted(inputs)}
    gpus = _gpus()
    told: dict[str, Any] = {
        "channel_input_dirs": channels,
        "current_host": hosts.current,
        "current_instance_group": resource.get("current_group_name", "homogeneousCluster"),
        "current_instance_type": resource.get("current_instance_type", "local"),
        "hosts": list(hosts.all),
        "hyperparameters": dict(parameters),
        "input_config_dir": str(place.config),
        "input_data_config": inputs,
        "input_dir": str(place.base / "input"),
        "is_master": hosts.first,
        "job_name": os.environ.get("TRAINING_JOB_NAME", ""),
        "master_hostname": hosts.all[0],
        "model_dir": str(model),
        "module_dir": str(code),
        "module_name": Path(program).stem if program else "",
        "network_interface_name": resource.get("network_interface_name", "eth0"),
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "num_gpus": gpus,
        "output_data_dir": str(output),
        "output_dir": str(place.base / "output"),
        "output_intermediate_dir": str(place.base / "output" / "intermediate"),
        "resource_config": resource,
        "user_entry_point": program or "",
    }
    names = {
        "SM_CHANNELS": list(channels),
        "SM_HPS": told["hyperparameters"],
        "SM_INPUT_DATA_CONFIG": inputs,
        "SM_RESOURCE_CONFIG": resource,
        "SM_TRAINING_ENV": told,
        "SM_LOG_LEVEL": 20,
        "SM_USER_ARGS": [],
        "SM_FRAMEWORK_PARAMS": {},
    }
    plain = set(told) - {"channel_input_dirs", "hyperparameters", "is_master", "job_name", "master_hostname"}
    names |= {f"SM_{name.upper()}": told[name] for name in plain}
    names |= {f"SM_CHANNEL_{_word(name)}": path for name, path in channels.items()}
    names |= {f"SM_HP_{_word(name)}": value for name, value in flat.items()}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in names.items()}
    return {name: text for name, text in texts.items() if _fits(text)}


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()


def _fits(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) < LONGEST_VALUE and "\0" not in text


def _gpus() -> int:
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
