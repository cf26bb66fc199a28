"""What starting costs: CPU of `import besom` and `besom --help`, above a bare interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from benchmarks.harness import Figure, main

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import besom": ["-c", "import besom"],
    "besom.init() outside a sweep": ["-c", "import besom; besom.init(mode='disabled')"],
    "besom --help": ["-m", "besom", "--help"],
}
BARS = {"import besom": 60.0, "besom --help": 100.0}
OFFENDERS = 5


def cpu_ms(arguments: list[str]) -> float:
    """Give the CPU time, user and system, of one interpreter in milliseconds."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def offenders(arguments: list[str]) -> list[tuple[str, float]]:
    """Give the modules whose import costs most by themselves, with milliseconds."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", done.stderr, re.MULTILINE)
    costs = sorted(((int(own) / 1000, name) for own, name in found), reverse=True)
    return [(name, cost) for cost, name in costs[:OFFENDERS]]


def measure(quick: bool) -> list[Figure]:
    """Take the least CPU time of several starts of each command: what it costs on a quiet machine."""
    repeats = 5 if quick else 20
    best = {name: min(cpu_ms(arguments) for _ in range(repeats)) for name, arguments in COMMANDS.items()}
    bare = best["bare interpreter"]
    figures = [
        Figure(name, cpu, "ms", BARS.get(name), "lower", f"{cpu - bare:.0f} above a bare interpreter")
        for name, cpu in best.items()
    ]
    slowest = offenders(COMMANDS["besom --help"])
    return figures + [
        Figure(f"besom --help: {name}", cost, "ms", None, "lower", "one import") for name, cost in slowest
    ]


if __name__ == "__main__":
    main("startup", measure)
