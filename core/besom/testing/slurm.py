"""For tests: a SLURM cluster of one node on this machine, in a folder that goes away with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
PATIENCE = 60.0  # seconds that a daemon may take to start
CPUS = 8  # of the node, as SLURM counts them; they are shared by what runs

CONFIG = """
ClusterName=besom
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=10
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory=4000 State=UNKNOWN
{others}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing_programs() -> list[str]:
    """Give those of SLURM's programs that are not installed."""
    return [name for name in PROGRAMS if _find(name) is None]


class SlurmCluster:
    """Daemons that listen on this machine's loopback; `config` goes into SLURM_CONF.

    `others` are nodes that the cluster knows and that never answer.
    """

    def __init__(self, folder: Path, others: Sequence[str] = ()) -> None:
        self.folder = folder
        self._others = others
        self.config = folder / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons, and wait until the node takes jobs."""
        controller, daemon = _free_ports(2)
        self.config.write_text(
            CONFIG.format(
                host=socket.gethostname().partition(".")[0],
                user=pwd.getpwuid(os.getuid()).pw_name,
                folder=self.folder,
                controller=controller,
                daemon=daemon,
                cpus=CPUS,
                others="".join(f"NodeName={name} NodeAddr=127.0.0.2 State=DOWN\n" for name in self._others),
            )
        )
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._start_munge()
        self._start("slurmctld", "-D", "-i", "-f", str(self.config))
        self._start("slurmd", "-D", "-f", str(self.config))
        self._wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%t").split())

    def run(self, *command: str) -> str:
        """Give what one of SLURM's commands prints; AssertionError with its words where it fails."""
        done = subprocess.run(
            command,
            env={**os.environ, "SLURM_CONF": str(self.config)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def start_again(self, job_id: str) -> None:
        """Wait until a job has been requeued, and have it start soon; SLURM itself would take two minutes."""

        def requeued() -> bool:
            told = self.run("scontrol", "show", "job", job_id)
            return "JobState=PENDING" in told and "Restarts=0" not in told

        self._wait(requeued)
        # Not at once: its node has just been told to end this job, and refuses it for a second or two.
        self.run("scontrol", "update", f"JobId={job_id}", "StartTime=now+5")

    def cancel_all(self) -> None:
        """End every job, and wait until none is left."""
        self.run("scancel", f"--user={os.getuid()}")
        self._wait(lambda: not self.run("squeue", "--noheader").strip())

    def stop(self) -> None:
        """End every job, then the daemons."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.cancel_all()
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            _wait_or_kill(daemon)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {
            "socket": "munge.socket",
            "pid-file": "munge.pid",
            "log-file": "munge.log",
            "seed-file": "munge.seed",
        }
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._start("munged", "--foreground", "--force", f"--key-file={key}", *options)
        self._wait((self.folder / "munge.socket").exists)

    def _start(self, name: str, *arguments: str) -> None:
        program = _find(name)
        assert program is not None, f"{name} is not installed"
        with (self.folder / f"{name}.out").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(
                    [program, *arguments],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env={**os.environ, "SLURM_CONF": str(self.config)},
                )
            )

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(AssertionError):
                if condition():
                    return
            gone = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if gone or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for SLURM ({gone or 'in time'}):\n{self._logs()}")
            time.sleep(0.05)

    def _logs(self) -> str:
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs)


@contextmanager
def slurm_cluster(others: Sequence[str] = ()) -> Generator[SlurmCluster]:
    """Give a running cluster, and take it away."""
    # Not below pytest's folders: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="besom-slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = SlurmCluster(Path(folder), others)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _wait_or_kill(daemon: subprocess.Popen[bytes]) -> None:
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
