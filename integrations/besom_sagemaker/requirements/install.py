"""Installs a generated requirements.txt where it is to run, without touching what the image brought.

Whole by itself, standard library only: it runs inside the training job, as `python install.py FILE` or by
`install(FILE)`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata

IMAGE_PROVIDES = (
    *("torch", "torchvision", "torchaudio", "triton", "pytorch-triton", "nvidia-*", "cuda-*", "numpy"),
    *("tensorflow", "tensorflow-*"),
    *("sagemaker-training", "sagemaker-pytorch-training", "smdistributed-*", "boto3", "botocore"),
)
"""What a training image brings, built for its machines; names may have *. Requirements leave it out."""

_BUILT_FOR_IT = (
    *("torchdata", "torchtext", "jax", "jaxlib", "apex", "flash-attn", "transformer-engine", "deepspeed"),
    *("smdebug", "sagemaker-*"),
)
# What only some images bring: where it is, it is not replaced either, and where it is not, it is installed.

PROVIDES = "# image-provides:"
EXPECTS = "# image-has:"


class InstallError(RuntimeError):
    """The requirements cannot be installed here; says why and what to do."""


def read_header(text: str, mark: str) -> list[str]:
    """Give the words after a mark of the file's header."""
    for line in text.splitlines():
        if line.startswith(mark):
            return [word for word in re.split(r"[,\s]+", line[len(mark) :].strip()) if word]
    return []


def held_names(text: str) -> list[str]:
    """Give the names of what is not replaced where the image has it; none if the file leaves it nothing."""
    says = any(line.startswith(PROVIDES) for line in text.splitlines())
    names = read_header(text, PROVIDES) if says else list(IMAGE_PROVIDES)
    return [*names, *_BUILT_FOR_IT] if names else []


def require_image(text: str) -> None:
    """Raise InstallError if the file leaves to the image what is not installed here."""
    if absent := [name for name in read_header(text, EXPECTS) if not _is_installed(name)]:
        raise InstallError(
            f"the image has no {', '.join(absent)}, which the requirements leave to it; make them again with"
            f" --image-provides that does not name {'it' if len(absent) == 1 else 'them'}"
        )


def image_constraints(patterns: Iterable[str]) -> str:
    """Give constraints that hold what is installed here at its version, for the names that patterns match."""
    wanted = [_normalize(pattern) for pattern in patterns]
    lines = {
        f"{name}=={distribution.version}"
        for distribution in metadata.distributions()
        if (name := _normalize(distribution.metadata["Name"] or ""))
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)
    }
    return "".join(f"{line}\n" for line in sorted(lines))


def install(path: str, extra: Iterable[str] = ()) -> None:
    """Install the file's lines under constraints that hold the image's packages; InstallError if it fails.

    pip works out the whole set before it installs anything, so a conflict leaves all as it was. `extra` are
    more words for pip.
    """
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - nothing to import that is not needed
        text = file.read()
    require_image(text)
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="image-constraints-") as constraints:
        held = image_constraints(held_names(text))
        constraints.write(held)
        constraints.flush()
        words = ["--no-cache-dir", "--disable-pip-version-check", "--root-user-action", "ignore"]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", *words),
                *("-r", os.path.abspath(path), "-c", constraints.name, *extra),  # noqa: PTH100
            ],
            cwd=os.path.dirname(os.path.abspath(path)),  # noqa: PTH100, PTH120 - ./wheels are beside the file
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("ERROR", "error")) or "conflict" in line.lower()]
        raise InstallError(
            f"pip could not install {os.path.basename(path)} beside what the image brings"  # noqa: PTH119
            f" ({', '.join(held.split()) or 'nothing of note'}):\n" + "\n".join((errors or said)[-12:])
        )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    try:
        install(sys.argv[1], sys.argv[2:])
    except InstallError as problem:
        sys.exit(f"besom: {problem}")
