"""Shares the GPUs an agent may use among its workers: two runs never get the same one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from besom.errors import UsageError

_DRIVER = Path("/proc/driver/nvidia/gpus")


def gpu_slots(workers: int, gpus_per_run: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Give the variables of each worker's runs: nothing with 0 GPUs per run, else `CUDA_VISIBLE_DEVICES`.

    UsageError when there are not enough GPUs for all workers.
    """
    if gpus_per_run == 0:
        return [{} for _ in range(workers)]
    wanted = workers * gpus_per_run
    if wanted > len(gpus):
        have = f"{len(gpus)} ({','.join(gpus)})" if gpus else "none"
        fit = len(gpus) // gpus_per_run
        advice = f"use --workers {fit}" if fit else "use fewer GPUs per run"
        raise UsageError(
            f"--workers {workers} with --gpus-per-run {gpus_per_run} need {wanted} GPUs, and this agent "
            f"may use {have}; {advice}, or set CUDA_VISIBLE_DEVICES"
        )
    shares = [gpus[slot * gpus_per_run : (slot + 1) * gpus_per_run] for slot in range(workers)]
    # By default CUDA numbers the fastest GPU first, while nvidia-smi, and so we, count by bus.
    return [{"CUDA_VISIBLE_DEVICES": ",".join(share), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} for share in shares]


def visible_gpus(environment: Mapping[str, str], *, driver: Path = _DRIVER) -> list[str]:
    """Give the GPUs this process may use, as words for `CUDA_VISIBLE_DEVICES`.

    The environment's own list, else what `nvidia-smi -L` names (MIG instances rather than the GPU they are
    part of), else as many as the driver lists in /proc.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return _parse_visible(listed)
    try:
        found = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError):
        return [str(index) for index, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    return _parse_nvidia_smi(found.stdout)


def _parse_visible(listed: str) -> list[str]:
    gpus: list[str] = []
    for word in map(str.strip, listed.split(",")):
        # CUDA ignores everything from the first invalid entry on; "-1" is how people hide all GPUs.
        if not re.fullmatch(r"\d+|GPU-[\w-]+|MIG-[\w/-]+", word):
            break
        gpus.append(word)
    return list(dict.fromkeys(gpus))


def _parse_nvidia_smi(text: str) -> list[str]:
    gpus: list[list[str]] = []
    for line in text.splitlines():
        if whole := re.match(r"GPU (\d+):", line):
            gpus.append([whole[1]])
        elif (part := re.search(r"UUID: (MIG-[^)\s]+)", line)) and gpus:
            gpus[-1].append(part[1])
    return [word for gpu in gpus for word in (gpu[1:] or gpu)]
