"""Finds the sweep or run that a word of the command line means: an id, a path to one, or its beginning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from besom.cli.session import Session
from besom.errors import NotFoundError, UsageError
from besom.records import Run, Sweep

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from besom.store.base import Store

SHORTEST_PREFIX = 3


def find_sweep(store: Store, word: str) -> Sweep:
    """Give the sweep that `word` means; NotFoundError if there is none, UsageError if there are several."""
    from besom.sweep import sweep_id_of

    sweep_id = sweep_id_of(word)
    try:
        return store.get_sweep(sweep_id)
    except NotFoundError:
        return store.get_sweep(complete_id("sweep", sweep_id, (sweep.id for sweep in store.list_sweeps())))


def find_sweep_or_newest(store: Store, word: str | None) -> Sweep:
    """Give the sweep that `word` means; without a word, the newest."""
    if word:
        return find_sweep(store, word)
    if newest := store.list_sweeps():
        return newest[0]
    from besom.store.address import hide_password

    raise NotFoundError(
        f"there is no sweep in {hide_password(store.url)} yet; begin with: besom run sweep.yaml"
    )


def find_run(store: Store, word: str) -> Run:
    """Give the run that `word` means; NotFoundError if there is none, UsageError if there are several."""
    try:
        return store.get_run(word)
    except NotFoundError:
        return store.get_run(complete_id("run", word, _run_ids(store)))


def find_any(store: Store, word: str) -> Sweep | Run:
    """Give the sweep or else the run that `word` means."""
    from besom.sweep import sweep_id_of

    with suppress(NotFoundError):
        return store.get_sweep(sweep_id_of(word))
    with suppress(NotFoundError):
        return store.get_run(word)
    sweeps = [sweep.id for sweep in store.list_sweeps()]
    found = complete_id("sweep or run", word, [*sweeps, *_run_ids(store)])
    return store.get_sweep(found) if found in sweeps else store.get_run(found)


def complete_sweeps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Give the ids that a shell may complete, with the sweeps' names."""
    from click.shell_completion import CompletionItem

    del param
    session = ctx.ensure_object(Session)
    if session.nothing_yet():
        return []
    with session.open() as store:
        return [
            CompletionItem(sweep.id, help=f"{sweep.name}, {sweep.state.value}")
            for sweep in store.list_sweeps()
            if sweep.id.startswith(incomplete)
        ]


def _run_ids(store: Store) -> Iterable[str]:
    for sweep_id in (*(sweep.id for sweep in store.list_sweeps()), None):
        for run in store.list_runs(sweep_id):
            yield run.id


def complete_id(kind: str, word: str, ids: Iterable[str]) -> str:
    """Give the one of `ids` that `word` begins; NotFoundError if there is none, UsageError if several."""
    known = list(ids)
    found = [one for one in known if one.startswith(word)] if len(word) >= SHORTEST_PREFIX else []
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{word!r} begins {len(found)} ids: {listed}; write more of it")
    close = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`besom ls` lists what there is"
    raise NotFoundError(f"no {kind} is called {word!r}; {hint}")
