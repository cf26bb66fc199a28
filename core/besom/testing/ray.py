"""For tests: a Ray cluster of one node, in a network namespace that has nothing but a loopback device.

Ray listens where it likes, so it gets a network in which nobody else is. Whoever talks to it goes `inside`.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 90.0  # seconds that the cluster may take to start
CPUS, GPUS = 8, 4  # of the node, as Ray counts them; there need not be any
OBJECT_STORE = 80_000_000  # bytes, about the least that Ray takes
ADDRESS = "http://127.0.0.1:8265"

_NETWORK = 0x40000000  # CLONE_NEWNET


def missing() -> str:
    """Say what a cluster needs that is not here; nothing when all is."""
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed here (Debian: apt install util-linux iproute2)"
    return "" if os.geteuid() == 0 else "network namespaces are made by root"


class RayCluster:
    """A head node that wants a token; `variables` are what its clients have in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(32)
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        self._head: subprocess.Popen[bytes] | None = None
        self._network = ""

    def start(self) -> None:
        """Start the node, and wait until its dashboard takes jobs."""
        told = {
            "node-ip-address": "127.0.0.1",
            "dashboard-host": "127.0.0.1",
            "num-cpus": CPUS,
            "num-gpus": GPUS,
            "resources": '{"special": 2}',
            "temp-dir": self.folder,
        }
        enter = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@" --head', "sh"]
        self._head = self._start_ray("head.log", *enter, **told)
        before = _network_of("self")
        self._wait(lambda: self._read_network() != before)
        self._network = self._read_network()
        with self.inside():
            self._wait(lambda: self._alive() == 1)

    @contextmanager
    def inside(self) -> Generator[None]:
        """Be in the cluster's network: this thread, and what it starts meanwhile."""
        assert self._head is not None
        mine = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(f"/proc/{self._head.pid}/ns/net", os.O_RDONLY)
        try:
            _enter(theirs)
            yield
        finally:
            _enter(mine)
            os.close(theirs)
            os.close(mine)

    @contextmanager
    def far_node(self, ip: str) -> Generator[None]:
        """Have another node, at an address that this machine has not.

        It has it until the node has joined; Ray takes ten seconds to notice that the node does not answer.
        """
        with self.inside():
            subprocess.run(["ip", "address", "add", f"{ip}/32", "dev", "lo"], check=True)
            try:
                told = {"address": "127.0.0.1:6379", "node-ip-address": ip, "num-cpus": 0, "num-gpus": 0}
                node = self._start_ray("node.log", **told)
                self._wait(lambda: self._alive() == 2)
            finally:
                subprocess.run(["ip", "address", "delete", f"{ip}/32", "dev", "lo"], check=True)
            yield
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
            self._wait(lambda: self._alive() == 1)

    def ask(self, path: str, method: str = "GET") -> Any:
        """Give what the dashboard answers; URLError where it does not."""
        request = urllib.request.Request(
            ADDRESS + path, method=method, headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def jobs(self) -> dict[str, str]:
        """Give the states of all jobs, by their ids."""
        return {job["submission_id"]: job["status"] for job in self.ask("/api/jobs/")}

    def stop_jobs(self) -> None:
        """End every job, and wait until none is left."""
        while left := [one for one, state in self.jobs().items() if state in {"PENDING", "RUNNING"}]:
            for one in left:
                self.ask(f"/api/jobs/{one}/stop", "POST")
            time.sleep(0.1)

    def processes(self) -> list[int]:
        """Give the processes in the cluster's network, but for this one."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            with suppress(OSError):  # gone meanwhile
                if str(path.readlink()) == self._network and path.parts[2] != str(os.getpid()):
                    found.append(int(path.parts[2]))
        return found

    def stop(self) -> None:
        """End everything in the cluster's network, and nothing else."""
        if self._head is None:
            return
        deadline = time.monotonic() + PATIENCE
        while self._network and (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._head.poll()  # else it would stay
            time.sleep(0.05)
        self._head.kill()
        self._head.wait()

    def _start_ray(self, log: str, *before: str, **told: object) -> subprocess.Popen[bytes]:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        ray += ["--include-log-monitor=false", f"--object-store-memory={OBJECT_STORE}"]
        ray += [f"--{option}={value}" for option, value in told.items()]
        with (self.folder / log).open("wb") as output:
            return subprocess.Popen(
                [*before, *ray],
                env={**_plain(os.environ), **self.variables, "RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )

    def _read_network(self) -> str:
        assert self._head is not None
        return _network_of(self._head.pid)

    def _alive(self) -> int:
        """Count the nodes that can run jobs."""
        with suppress(OSError):
            nodes = self.ask("/api/v0/nodes")["data"]["result"]["result"]
            return sum(node["state"] == "ALIVE" for node in nodes)
        return 0

    def _wait(self, condition: Callable[[], bool]) -> None:
        assert self._head is not None
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._head.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Ray did not start:\n{(self.folder / 'head.log').read_text()[-4000:]}")
            time.sleep(0.05)


@contextmanager
def ray_cluster() -> Generator[RayCluster]:
    """Give a running cluster, and take it away."""
    # Not below pytest's folders: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="besom-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = RayCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _plain(environment: os._Environ[str]) -> dict[str, str]:
    """Give the environment without what its jobs must not have from the tests, such as their stores."""
    prefixes = ("BESOM_", "WANDB_", "RAY_", "COVERAGE_", "PYTEST_")
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


def _network_of(process: int | str) -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


def _enter(network: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(network, _NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
