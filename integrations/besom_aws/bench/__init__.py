"""SQS, Batch and ECS played on this machine: moto is the control plane, and containers are real processes.

    with started(folder) as bench, bench.aws():
        ...                                   # boto3 and besom now talk to the bench

Jobs and tasks run their command with the variables that AWS gives them, their secrets filled in; they are
told to end, killed, tried again and lose their hosts as on AWS. For tests: no docker, no AWS; Linux and moto.
"""

from __future__ import annotations

from besom_aws.bench.bench import Bench, started
from besom_aws.bench.control import Faults

__all__ = ["Bench", "Faults", "started"]
