"""A requirements.txt for a program: what it imports, pinned as it is installed here, without the image's own.

    found = gather_requirements(Path("src/train.py"))
    found.refuse_missing()
    found.write(Path("build/requirements.txt"))

`install.py` is the other end: it runs where the program is to run, and holds the image's packages in place.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from besom_sagemaker.requirements.gather import gather_requirements
    from besom_sagemaker.requirements.install import IMAGE_PROVIDES
    from besom_sagemaker.requirements.local import WheelError, besom_wheel
    from besom_sagemaker.requirements.render import (
        Missing,
        Requirement,
        Requirements,
        UnresolvedImportsError,
    )

__all__ = [
    "IMAGE_PROVIDES",
    "Missing",
    "Requirement",
    "Requirements",
    "UnresolvedImportsError",
    "WheelError",
    "besom_wheel",
    "gather_requirements",
]

_MODULES = {
    "IMAGE_PROVIDES": "install",
    "Missing": "render",
    "Requirement": "render",
    "Requirements": "render",
    "UnresolvedImportsError": "render",
    "WheelError": "local",
    "besom_wheel": "local",
    "gather_requirements": "gather",
}


def __getattr__(name: str) -> Any:
    # Where a job installs, `install.py` is all that is needed of this package.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
