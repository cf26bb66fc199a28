"""SageMaker, played on this machine: moto is the control plane, and jobs run as real processes.

    with started(folder) as bench, bench.aws():
        ...                                   # boto3, both SDKs and besom now talk to the bench

Jobs get their channels, run their container's command with a private /opt/ml, print into CloudWatch Logs,
keep their checkpoints in S3, upload their model, and end as SageMaker's would: completed, failed with a
reason, stopped, or interrupted and started again. No docker, no AWS; Linux, and moto's server.
"""

from __future__ import annotations

from besom_sagemaker.bench.bench import Bench, started
from besom_sagemaker.bench.control import Faults

__all__ = ["Bench", "Faults", "started"]
