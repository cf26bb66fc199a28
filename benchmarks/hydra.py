"""What besom's Hydra launcher and sweeper cost, beside Hydra's own launcher, joblib's and submitit's.

CPU seconds are those of the whole process tree; a job's is the difference between many jobs and one. With
`--peers`, 50 runs of a search are raced against the Optuna sweeper with joblib, which get an environment of
their own in a cache folder, because that sweeper needs an older SQLAlchemy.
"""

from __future__ import annotations

import heapq
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Figure, main

APP = """
import time
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    started = time.time()
    time.sleep(cfg.seconds)
    if cfg.notes:
        with open(f"{cfg.notes}/{time.time_ns()}", "w") as file:
            file.write(f"{started} {time.time()}")
    return (cfg.x - 3) ** 2 + cfg.y

main()
"""
CONFIG = "defaults:\n  - _self_\n  - model: small\nx: 0.0\ny: 0.0\nseconds: 0\nnotes: ''\n"
BESOM = ("hydra/launcher=besom", "hydra.launcher.workers=2")
CONTENDERS = {
    "basic launcher": ("hydra/launcher=basic",),
    "joblib launcher, 2 jobs": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "besom launcher, 2 workers": BESOM,
    "besom launcher and sweeper": ("hydra/sweeper=besom", *BESOM),
}
SCAN = """
import time
import hydra._internal.hydra
from hydra._internal.core_plugins import basic_launcher, basic_sweeper
started = time.process_time()
import hydra_plugins.besom.launcher, hydra_plugins.besom.sweeper
print(time.process_time() - started)
"""
SUBMITIT = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
PEERS = ("hydra-core==1.3.8", "hydra-optuna-sweeper==1.3.0", "hydra-joblib-launcher==1.2.0", "sqlalchemy<2")


class Lab:
    """An app in a folder of its own, started as a user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        (folder / "conf/model").mkdir(parents=True)
        (folder / "app.py").write_text(APP)
        (folder / "conf/config.yaml").write_text(CONFIG)
        (folder / "conf/model/small.yaml").write_text("width: 1\n")

    def run(self, *words: str, python: str = sys.executable) -> tuple[float, float]:
        """Run the app; gives wall and CPU seconds of all its processes."""
        self._count += 1
        root = Path(__file__).parents[1]
        # As installed: the packages of this checkout, where the environment has none.
        paths = [str(root / "core"), str(root / "integrations")] if python == sys.executable else []
        environment = {
            **os.environ,
            "BESOM_DIR": str(self.folder / f"besom{self._count}"),
            "PYTHONPATH": os.pathsep.join(paths),
        }
        multirun = [f"hydra.sweep.dir={self.folder}/multirun{self._count}"] if "-m" in words else []
        started = time.perf_counter()
        process = subprocess.Popen(
            [python, "app.py", *words, *multirun],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} failed:\n{said.decode()}")
        return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def scan_cpu() -> float:
    """Give the CPU seconds that every Hydra app pays at its start for having besom's plugins installed."""
    done = subprocess.run([sys.executable, "-c", SCAN], capture_output=True, text=True, check=True)
    return float(done.stdout)


def jobs_cpu(lab: Lab, words: Sequence[str], count: int, repeats: int) -> float:
    """Give the CPU seconds that one more job costs."""
    points = ",".join(str(number) for number in range(count))
    many = statistics.median(lab.run("-m", *words, f"x={points}")[1] for _ in range(repeats))
    one = statistics.median(lab.run("-m", *words, "x=0")[1] for _ in range(repeats))
    return (many - one) / (count - 1)


def ideal(seconds: Sequence[float], workers: int) -> float:
    """Give how long a list of jobs takes when each starts as soon as a worker is free."""
    free = [0.0] * workers
    for job in seconds:
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


def unequal(lab: Lab, words: Sequence[str], seconds: Sequence[float]) -> float:
    """Give the seconds between the start of the first job and the end of the last."""
    notes = lab.folder / f"notes{time.monotonic_ns()}"
    notes.mkdir()
    lab.run("-m", *words, "seconds=" + ",".join(f"{job:.3f}" for job in seconds), f"notes={notes}")
    times = [tuple(map(float, path.read_text().split())) for path in notes.iterdir()]
    assert len(times) == len(seconds)
    return max(end for _, end in times) - min(start for start, _ in times)


def race(lab: Lab) -> list[Figure]:
    """Race 50 runs of a search against the Optuna sweeper with joblib."""
    space = ("x=interval(0,10)", "y=interval(0,1)")
    theirs = peers_python()
    optuna = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=50", "hydra.sweeper.n_jobs=2")
    loser, _ = lab.run(
        "-m", *optuna, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *space, python=theirs
    )
    ours = ("hydra/sweeper=besom", "hydra.sweeper.method=bayes", "hydra.sweeper.count=50", *BESOM)
    winner, _ = lab.run("-m", *ours, *space)
    note = "wall, 2 workers"
    return [
        Figure("50 bayes runs", winner, "s", None, "lower", note),
        Figure("50 runs of Optuna sweeper + joblib", loser, "s", None, "lower", note),
        Figure("times faster than Optuna + joblib", loser / winner, "x", 1.5, "higher"),
    ]


def peers_python() -> str:
    """Give a Python that has the Optuna sweeper, made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "besom-benchmarks" / "hydra-optuna"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True)
        (folder / "ready").touch()
    return str(python)


def measure(quick: bool) -> list[Figure]:
    """Measure CPU per job, start-up, and how well unequal jobs fill the workers."""
    count, repeats = (20, 1) if quick else (50, 3)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as place:
        lab = Lab(Path(place))
        for name, words in CONTENDERS.items():
            bar = 70.0 if "hydra/launcher=besom" in words else None
            alone = "hydra/sweeper=besom" not in words
            note = "Hydra's own sweeper composes each job's config once before" if alone else ""
            cost = 1000 * jobs_cpu(lab, words, count, repeats)
            figures.append(Figure(f"{name}: CPU per job", cost, "ms", bar, "lower", note))
        if not quick:
            cost = 1000 * jobs_cpu(lab, SUBMITIT, 10, 1)
            figures.append(Figure("submitit_local: CPU per job", cost, "ms", None, "lower"))
        ours = CONTENDERS["besom launcher and sweeper"]
        app = statistics.median(lab.run()[1] for _ in range(3))
        sweep = statistics.median(lab.run("-m", *ours, "x=0")[1] for _ in range(3))
        figures.append(Figure("start-up above the app", sweep - app, "s CPU", 1.0, "lower"))
        scan = 1000 * statistics.median(scan_cpu() for _ in range(9))
        figures.append(Figure("scan of the plugins", scan, "ms", 5.0, "lower", "CPU, in every Hydra app"))
        chance = random.Random(1)
        seconds = [round(chance.uniform(0.2, 1.5 if quick else 3.0), 3) for _ in range(16)]
        for name, extra in (("besom launcher", BESOM[:1]), ("besom launcher and sweeper", ours)):
            wall = unequal(lab, [*extra, "hydra.launcher.workers=4"], seconds)
            over = wall / ideal(seconds, 4)
            figures.append(Figure(f"{name}: unequal jobs over ideal", over, "x", 1.05, "lower"))
        if "--peers" in _ASKED:
            figures += race(lab)
    return figures


_ASKED = [word for word in sys.argv if word == "--peers"]

if __name__ == "__main__":
    main("hydra", measure, [word for word in sys.argv[1:] if word != "--peers"])
