"""Process 1 of a training job: brings besom onto the path and starts the runner.

Travels to the job as a file of its own and needs nothing but a Python; what goes wrong is told in
/opt/ml/output/failure, which becomes the job's failure reason.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import zipfile
from pathlib import Path
from typing import NoReturn

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
SITE = BASE / "besom" / "site"
EXIT_SETUP = 78
EXIT_INTERRUPTED = 143


def interrupted(number: int, frame: object) -> NoReturn:
    """End the job before anything has run."""
    raise SystemExit(EXIT_INTERRUPTED)


def unpack(channel: Path) -> None:
    """Put besom on the path: the wheel that came along, else the image's own."""
    for wheel in channel.glob("besom-*.whl"):
        if not SITE.exists():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(SITE)
        sys.path.insert(0, str(SITE))


def fail(message: str) -> int:
    """Say why nothing could be run."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - the job's log
    (BASE / "output").mkdir(parents=True, exist_ok=True)
    (BASE / "output" / "failure").write_text(message[-1000:])
    return EXIT_SETUP


def main() -> int:
    """Run the job; gives its exit code."""
    signal.signal(signal.SIGTERM, interrupted)
    if sys.version_info < (3, 10):  # noqa: UP036 - the image's Python, not ours
        return fail(f"besom needs Python 3.10 or newer; python3 in this image is {sys.version.split()[0]}")
    try:
        unpack(Path(__file__).resolve().parent)
        from besom_sagemaker.inside.runner import run_job
    except Exception:  # noqa: BLE001 - the job's failure reason is all that anybody will see
        return fail(f"the runner could not be loaded\n{traceback.format_exc()}")
    return run_job(BASE)


if __name__ == "__main__":
    sys.exit(main())
