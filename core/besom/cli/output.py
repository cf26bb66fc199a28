"""How commands speak: JSON and tables on stdout, talk on stderr; color only on a terminal that wants it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; its shape is described in docs/cli.md."
)

STATE_STYLES = {
    "finished": "green",
    "running": "cyan",
    "stopped": "yellow",
    "paused": "yellow",
    "preempted": "yellow",
    "failed": "red",
    "crashed": "red",
    "killed": "red",
    "canceled": "red",
    "pending": "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers are `right`, and `flexible` ones give way on a narrow terminal."""

    title: str
    right: bool = False
    flexible: bool = False


def say(message: str) -> None:
    """Tell the person at the terminal something that is not data."""
    click.echo(message, err=True)


def say_warnings(warnings: Iterable[str]) -> None:
    """Tell what is allowed but ill-advised."""
    for warning in warnings:
        say(f"warning: {warning}")


def print_json(value: Any) -> None:
    """Print one JSON document, readable by people."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str))


def print_json_line(value: Any) -> None:
    """Print one JSON document on one line of a stream."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))


def is_terminal(stream: IO[str]) -> bool:
    """Say whether a person looks at the stream, and with a terminal that can do more than print."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their titles: aligned to the terminal's width, or whole and plain into a pipe."""
    if is_terminal(sys.stdout):
        console().print(rich_table(columns, rows))
        return
    for line in plain_table(columns, rows):
        click.echo(line)


def plain_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """Give the lines of a table without color, cut or wrap: made for `grep` and `awk`."""
    table = [[column.title for column in columns], *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    lines: list[str] = []
    for row in table:
        cells = zip(columns, row, widths, strict=True)
        padded = [cell.rjust(width) if column.right else cell.ljust(width) for column, cell, width in cells]
        lines.append("  ".join(padded).rstrip())
    return lines


def rich_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """Give the same table for a terminal; words that are states get their color."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.flexible else None,
            min_width=None if column.flexible else len(column.title),
        )
    for row in rows:
        table.add_row(*(Text(_one_line(cell), style=STATE_STYLES.get(cell, "")) for cell in row))
    return table


def console(*, stderr: bool = False) -> Console:
    """Give a rich console for a terminal; it keeps NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values under one another; what spans lines is indented below its name."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        first, *more = value.split("\n")
        label = click.style(f"{name:<{width}}", bold=True) if _colored() else f"{name:<{width}}"
        click.echo(f"{label}  {first}".rstrip())
        for line in more:
            click.echo(f"{'':<{width}}  {line}")


def _colored() -> bool:
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")


def _one_line(cell: str) -> str:
    return cell if cell.isprintable() else "".join(c if c.isprintable() else " " for c in cell)


def counted(count: int, noun: str) -> str:
    """Give `1 run` or `2 runs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None) -> str:
    """Give a metric as people read it: five significant digits."""
    return "-" if value is None else f"{value:.5g}"


def scalar(value: Any) -> str:
    """Give a parameter's value as one would write it in YAML."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def assignments(params: Mapping[str, Any], *, hidden: Container[str] = ()) -> str:
    """Give parameters as `lr=0.1 model.depth=3`, without those whose dotted names are hidden."""
    shown = [(name, value) for name, value in flat(params) if name not in hidden]
    return " ".join(f"{name}={scalar(value)}" for name, value in shown)


def flat(params: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Give dotted names and values of nested mappings."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            nested: Mapping[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
            yield from flat(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def duration(seconds: float | None) -> str:
    """Give a span of time in its two largest units: `4.2s`, `3:07`, `2h05m`, `3d04h`."""
    if seconds is None:
        return "-"
    seconds = max(seconds, 0.0)
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def age(then: float) -> str:
    """Give how long ago a moment was, in its largest unit: `now`, `5m`, `3h`, `12d`."""
    seconds = time.time() - then
    if seconds < 60:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 60:.0f}m"


def moment(then: float | None) -> str:
    """Give a moment in local time, as `2026-03-01 14:05:09`."""
    return "-" if then is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))


def shell_words(words: Sequence[str]) -> str:
    """Give a command line that a shell splits into exactly these words."""
    import shlex

    return shlex.join(words)
