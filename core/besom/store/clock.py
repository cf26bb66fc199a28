"""The time of this machine: one clock for people, one for leases."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def since_boot() -> float:
    """Give the seconds since this machine started, those it slept included where the system counts them."""
    return time.clock_gettime(CLOCK)


def boot_id() -> str:
    """Give a name for this start of the machine; "unknown" where the system has none."""
    try:
        if sys.platform == "darwin":
            asked = subprocess.run(
                ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=True
            )
            return asked.stdout.strip()
        return BOOT_ID.read_text().strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@dataclass(frozen=True, slots=True)
class Clock:
    """What the store reads time from; tests bring their own.

    `wall` may jump and is only shown to people. `lease` never jumps, starts anew at each boot and is the same
    for every process of the machine; `boot` tells one start of the machine from another.
    """

    wall: Callable[[], float] = time.time
    lease: Callable[[], float] = since_boot
    boot: str = field(default_factory=boot_id)
