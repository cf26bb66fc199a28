"""besom: an open sweep engine that speaks Weights & Biases Sweeps' language."""

from __future__ import annotations

__version__ = "0.1.0"
