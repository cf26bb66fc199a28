from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pytest

from besom.cli.live import sparkline
from besom.cli.output import age, assignments, counted, duration, number, scalar

Call = Callable[..., subprocess.CompletedProcess[str]]


def _on_terminal(*words: str, **environment: str) -> str:
    """Give what `besom WORDS` writes to a terminal of 100 x 30."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = [sys.executable, "-m", "besom", *words]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return shown.decode()


def _words(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)


def test_a_person_sees_a_live_view_with_the_best_so_far(folder: object) -> None:
    shown = _on_terminal("run", "sweep.yaml", "--workers", "2")
    assert "\x1b[" in shown
    words = _words(shown)
    assert "4/4 runs" in words
    assert re.search(r"best loss 0 +run 3 +[▁▂▃▄▅▆▇█]+ +x=3", words)
    assert re.search(r"3 +\w{8} +finished +0 +[\d.]+s +x=3", words)
    assert "agent " not in words.partition("best run")[0]


def test_no_color_is_kept(folder: object) -> None:
    shown = _on_terminal("run", "sweep.yaml", NO_COLOR="1")
    assert re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown) == []
    assert "4/4 runs" in _words(shown)


def test_a_dumb_terminal_gets_lines(folder: object) -> None:
    shown = _on_terminal("run", "sweep.yaml", TERM="dumb")
    assert "\x1b" not in shown
    assert "run 1 (" in shown


def test_verbose_output_stands_above_the_live_view(folder: object) -> None:
    assert "| x is 3" in _words(_on_terminal("run", "sweep.yaml", "--verbose"))


def test_watch_shows_the_sweep_until_it_ends(swept: str) -> None:
    words = _words(_on_terminal("watch"))
    assert swept in words
    assert "4/4 runs" in words
    assert "x=4" in words


def test_tables_fit_the_terminal(swept: str) -> None:
    for line in _words(_on_terminal("ls", swept)).splitlines():
        assert len(line) <= 100


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ((), 10, ""),
        ((1.0,), 10, "▁"),
        ((1.0, 1.0), 10, "▁▁"),
        ((0.0, 7.0), 10, "▁█"),
        ((0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), 8, "▁▂▃▄▅▆▇█"),
        (tuple(float(n) for n in range(800)), 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_sparkline_keeps_its_width(values: tuple[float, ...], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (duration(None), "-"),
        (duration(4.24), "4.2s"),
        (duration(187), "3:07"),
        (duration(7500), "2h05m"),
        (duration(273600), "3d04h"),
        (number(0.123456789), "0.12346"),
        (number(None), "-"),
        (scalar(1e-05), "1e-05"),
        (scalar([1, "a"]), '[1, "a"]'),
        (scalar(True), "true"),
        (counted(1, "run"), "1 run"),
        (counted(0, "run"), "0 runs"),
        (
            assignments({"model": {"lr": 0.1, "depth": 2}, "opt": "adam"}),
            "model.lr=0.1 model.depth=2 opt=adam",
        ),
        (assignments({"a": 1, "b": 2}, hidden={"a"}), "b=2"),
    ],
)
def test_numbers_are_short(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(("seconds", "expected"), [(5, "now"), (300, "5m"), (7200, "2h"), (864000, "10d")])
def test_ages_are_short(seconds: float, expected: str) -> None:
    import time

    assert age(time.time() - seconds) == expected


def test_control_characters_never_reach_the_terminal() -> None:
    from besom.cli.output import Column, plain_table

    [_, row] = plain_table([Column("x")], [["a\x1b[31mb\nc"]])
    assert row == "a [31mb c"


def test_a_view_foretells_the_end(
    created: str, call: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    from besom.cli.live import Watcher, status_words
    from besom.store import open_store

    call("agent", created, "--count", 2)
    store = open_store()
    try:
        agent = store.add_agent(created, host="here", pid=1)
        store.claim(created, agent.id, lease_seconds=60)
        snapshot = Watcher(store, created).look()
        assert snapshot.seconds_left is not None
        assert 0 <= snapshot.seconds_left < 60
        assert "about" in status_words(snapshot)
        assert Watcher(store, created, limit=3).look().expected == 3
        assert not snapshot.over
    finally:
        store.close()
