"""SageMaker for besom: a sweep whose runs are training jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from besom_sagemaker.auth import sagemaker_auth
    from besom_sagemaker.sweep import SageMakerStatus, SageMakerSweep
    from besom_sagemaker.template import JobTemplate, read_template
    from besom_sagemaker.validate import RequestError, check_request

__all__ = [
    "JobTemplate",
    "RequestError",
    "SageMakerStatus",
    "SageMakerSweep",
    "check_request",
    "read_template",
    "sagemaker_auth",
]

_MODULES = {
    "JobTemplate": "template",
    "RequestError": "validate",
    "SageMakerStatus": "sweep",
    "SageMakerSweep": "sweep",
    "check_request": "validate",
    "read_template": "template",
    "sagemaker_auth": "auth",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
