"""What besom costs, measured beside its peers: `python -m benchmarks.NAME [--quick] [--json] [--check]`."""

from __future__ import annotations
