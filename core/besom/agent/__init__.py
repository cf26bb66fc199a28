"""Agents: take runs from a sweep, run them, and tell the store how they ended."""

from __future__ import annotations

from besom.agent.command import build_command, unknown_macros
from besom.agent.function import run_function_agent
from besom.agent.loop import run_agent
from besom.agent.options import AgentEvent, AgentOptions, AgentResult, ignore
from besom.agent.process import Child
from besom.agent.start import Starter

__all__ = [
    "AgentEvent",
    "AgentOptions",
    "AgentResult",
    "Child",
    "Starter",
    "build_command",
    "ignore",
    "run_agent",
    "run_function_agent",
    "unknown_macros",
]
