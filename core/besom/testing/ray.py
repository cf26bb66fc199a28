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
from collections.abc import Callable, Generator, Mapping
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


class Network:
    """A network namespace that has nothing but a loopback device, for as long as process `holder` lives."""

    def __init__(self, holder: int) -> None:
        self._holder = holder
        self._name = _network_of(holder)

    @contextmanager
    def inside(self) -> Generator[None]:
        """Be in this network: this thread, and what it starts meanwhile."""
        mine = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(f"/proc/{self._holder}/ns/net", os.O_RDONLY)
        try:
            _enter(theirs)
            yield
        finally:
            _enter(mine)
            os.close(theirs)
            os.close(mine)

    def processes(self) -> list[int]:
        """Give the processes that are in it, but for its holder and this one."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            with suppress(OSError):  # gone meanwhile
                if str(path.readlink()) == self._name:
                    found.append(int(path.parts[2]))
        return [pid for pid in found if pid not in {self._holder, os.getpid()}]

    def end_all(self) -> None:
        """End every process that is in it, and nothing else."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


@contextmanager
def network() -> Generator[Network]:
    """Give a network, and end what is in it."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n", "no network namespace could be made"
            made = Network(holder.pid)
            try:
                yield made
            finally:
                made.end_all()
        finally:
            holder.kill()


class RayCluster:
    """A head node that wants a token; `variables` are what its clients have in their environment."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder, self.network = folder, network
        self.token = secrets.token_hex(32)
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

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
        with self.network.inside():
            head = self._start_ray("--head", told)
            self._wait(head, lambda: self._alive() == 1)

    def stop(self) -> None:
        """End everything in the network."""
        self.network.end_all()
        for node in self._nodes:
            node.wait()

    @contextmanager
    def worker(self, ip: str, **more: object) -> Generator[subprocess.Popen[bytes]]:
        """Have another node, whose processes are a group: by itself it has nothing that jobs ask for."""
        told = {"node-ip-address": ip, "num-cpus": 0, "num-gpus": 0, **more}
        with self.network.inside():
            node = self._start_ray("--address=127.0.0.1:6379", told)
            self._wait(node, lambda: self._alive() == 2)
            yield node
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            self._wait(None, lambda: self._alive() == 1)

    @contextmanager
    def far_node(self, ip: str) -> Generator[None]:
        """Have another node, at an address that this machine has not.

        It has it until the node has joined; Ray takes seconds to notice that the node does not answer.
        """
        address = [f"{ip}/32", "dev", "lo"]
        with self.network.inside():
            subprocess.run(["ip", "address", "add", *address], check=True)
            with self.worker(ip):
                subprocess.run(["ip", "address", "delete", *address], check=True)
                yield

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
        deadline = time.monotonic() + PATIENCE
        while left := [one for one, state in self.jobs().items() if state in {"PENDING", "RUNNING"}]:
            assert time.monotonic() < deadline, f"Ray does not stop {left}"
            for one in left:
                self.ask(f"/api/jobs/{one}/stop", "POST")
            time.sleep(0.1)

    def _start_ray(self, kind: str, told: Mapping[str, object]) -> subprocess.Popen[bytes]:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", kind, "--block"]
        ray += ["--disable-usage-stats", "--include-log-monitor=false"]
        ray += [f"--object-store-memory={OBJECT_STORE}"]
        with self._log.open("ab") as output:
            node = subprocess.Popen(
                [*ray, *(f"--{option}={value}" for option, value in told.items())],
                env={**_plain(os.environ), **self.variables, "RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        self._nodes.append(node)
        return node

    @property
    def _log(self) -> Path:
        return self.folder / "ray.log"

    def _alive(self) -> int:
        """Count the nodes that can run jobs."""
        with suppress(OSError):
            nodes = self.ask("/api/v0/nodes")["data"]["result"]["result"]
            return sum(node["state"] == "ALIVE" for node in nodes)
        return 0

    def _wait(self, starting: subprocess.Popen[bytes] | None, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            gone = starting is not None and starting.poll() is not None
            if gone or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for Ray:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.05)


@contextmanager
def ray_cluster() -> Generator[RayCluster]:
    """Give a running cluster, and take it away."""
    with short_folder() as folder, network() as alone:
        cluster = RayCluster(folder, alone)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def short_folder() -> Generator[Path]:
    """Give a folder for Ray's files: not below pytest's, since a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="besom-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _plain(environment: os._Environ[str]) -> dict[str, str]:
    """Give the environment without what its jobs must not have from the tests, such as their stores."""
    prefixes = ("BESOM_", "WANDB_", "RAY_", "COVERAGE_", "PYTEST_")
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


def _network_of(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


def _enter(network: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(network, _NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
