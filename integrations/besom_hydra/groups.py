"""Tells which of a sweep's parameters are config groups of a Hydra app, and which of those it has chosen yet.

Hydra's own config loader answers, over the app's config folder and what the command adds to it. Configs that
the program itself registers (`ConfigStore`) are there only in the program, so where the loader does not know
a name the program is asked: `--help` with a template that prints the groups. That never runs the task.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom.jsonable import is_list
from besom_hydra.arguments import is_group_key, overrides, split_override
from besom_hydra.source import UNSAID, MainCall

ASK_PATIENCE = 120.0
_GROUPS_ONLY = "hydra.help.template='$APP_CONFIG_GROUPS'"
_GROUP_LINE = re.compile(r"^(?P<group>[A-Za-z_][\w/-]*): (?P<options>.+)$", re.MULTILINE | re.ASCII)
_FLAGS = {
    **dict.fromkeys(("--config-path", "-cp"), "path"),
    **dict.fromkeys(("--config-name", "-cn"), "name"),
    **dict.fromkeys(("--config-dir", "-cd"), "dir"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """What a command's fixed words tell Hydra."""

    start: tuple[str, ...]  # what starts the program
    flags: Mapping[str, str]  # path, name, dir
    overrides: tuple[str, ...]
    multirun: bool


def read_words(command: Sequence[str]) -> Words:
    """Read what a command says to Hydra: the words behind the program."""
    start, words = command[: _program_end(command)], command[_program_end(command) :]
    flags: dict[str, str] = {}
    lines: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in _FLAGS:
            flags[_FLAGS[flag]] = value if equals else next(rest, "")
        elif "=" in word and not word.startswith("-"):
            lines.append(word)
    return Words(tuple(start), flags, tuple(lines), any(word in ("-m", "--multirun") for word in words))


def _program_end(command: Sequence[str]) -> int:
    """Give the index behind `${program}`, a Python file, or the module in `python -m module`."""
    for index, word in enumerate(command):
        if word == "${program}" or word.endswith(".py"):
            return index + 1
    module = next((index for index, word in enumerate(command) if word == "-m"), None)
    if module and (command[module - 1] == "${interpreter}" or "python" in command[module - 1]):
        return module + 2
    return 0


@dataclass(slots=True)
class Groups:
    """The config groups of one app under one command; answers are kept, as every run asks the same."""

    loader: Any  # Hydra's ConfigLoader
    config_name: str | None
    fixed: tuple[str, ...]
    ask_argv: tuple[str, ...]  # how the program is started, without parameters
    place: Path
    _options: dict[str, list[str] | None] = field(default_factory=dict[str, Any])
    _keys: set[str] | None = None
    _asked: dict[str, list[str]] | None = None
    _prefixes: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict[Any, Any])

    def options(self, key: str, *, anew: bool = False) -> list[str] | None:
        """Give a group's options, `anew` if files may have come since; None when `key` is no config group."""
        if anew or key not in self._options:
            self._options[key] = self._find_options(key)
        return self._options[key]

    def _find_options(self, key: str) -> list[str] | None:
        group = key.partition("@")[0]
        if "." in group:
            return None
        found = self._known(group)
        if not found and not self._has(group):
            found = self._ask().get(group, [])
        return found or ([] if is_group_key(key) else None)

    def prefixes(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Give "" for each chosen group that the defaults list has, "+" for the others."""
        lines = tuple(line for key, option in chosen.items() for line in overrides(key, option, prefix=""))
        if lines not in self._prefixes:
            self._prefixes[lines] = self._settle(dict(chosen))
        return self._prefixes[lines]

    def _settle(self, chosen: dict[str, str]) -> dict[str, str]:
        """Try the choices without "+"; where a group is in no defaults list, find out which one by one.

        A group may be there only because of what was chosen for another, so they are tried until no more
        fit.
        """
        settled: dict[str, str] = {}
        if self._composes(dict.fromkeys(chosen, ""), chosen):
            return dict.fromkeys(chosen, "")
        before = -1
        while len(settled) > before:
            before = len(settled)
            for key in chosen.keys() - settled.keys():
                if self._composes({**settled, key: ""}, chosen):
                    settled[key] = ""
        for key in chosen.keys() - settled.keys():
            # Where neither is right, the app's own complaint shall be about the simple form.
            settled[key] = "+" if self._composes({**settled, key: "+"}, chosen) else ""
        return settled

    def _composes(self, prefixes: Mapping[str, str], chosen: Mapping[str, str]) -> bool:
        from hydra.errors import HydraException

        lines = [line for key in prefixes for line in overrides(key, chosen[key], prefix=prefixes[key])]
        if self._asked:
            done = self._run([*lines, "--cfg", "job"])
            return done.returncode == 0
        from hydra.types import RunMode

        try:
            with _quiet():
                self.loader.compute_defaults_list(self.config_name, [*self.fixed, *lines], RunMode.RUN)
        except HydraException:
            return False
        return True

    def _known(self, group: str) -> list[str]:
        from hydra.errors import HydraException

        try:
            with _quiet():
                found: list[str] = self.loader.get_group_options(
                    group, config_name=self.config_name, overrides=list(self.fixed)
                )
        except (HydraException, TypeError):
            return []
        return found

    def _has(self, key: str) -> bool:
        """Say whether the app's config, without any parameters, has something of that name."""
        if self._keys is None:
            self._keys = self._compose_keys()
        return key in self._keys

    def _compose_keys(self) -> set[str]:
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf.errors import OmegaConfBaseException

        try:
            with _quiet():
                config = self.loader.load_configuration(self.config_name, list(self.fixed), RunMode.RUN)
        except (HydraException, OmegaConfBaseException):
            return set()  # the program may know configs that its folder does not have
        return set(map(str, config))

    def _ask(self) -> dict[str, list[str]]:
        if self._asked is None:
            done = self._run(["--help", _GROUPS_ONLY])
            found = _GROUP_LINE.finditer(done.stdout) if done.returncode == 0 else ()
            self._asked = {item["group"]: item["options"].split(", ") for item in found}
        return self._asked

    def _run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        argv = [*self.ask_argv, *self.fixed, *words]
        try:
            return subprocess.run(
                argv,
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ASK_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(argv, 1, "", str(error))


@contextmanager
def _quiet() -> Generator[None]:
    """Keep what Hydra warns of to the app, which says it in every run's output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_groups(program: Path, call: MainCall, words: Words, ask_argv: Sequence[str], place: Path) -> Groups:
    """Give the config groups of a program that is started in `place` by `ask_argv`."""
    from hydra import version
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.utils import setup_globals
    from hydra.errors import HydraException

    base = call.version_base
    with _quiet(), suppress(HydraException):  # Hydra 1.4 has one base only
        version.setbase("1.1" if base == UNSAID else base)
    setup_globals()
    if "path" in words.flags:
        call = MainCall(words.flags["path"], call.config_name, base)
    search_path = create_config_search_path(call.config_dir(program))
    if "dir" in words.flags:
        extra = (place / words.flags["dir"]).resolve()
        search_path.prepend("command-line", f"file://{extra}", SearchPathQuery(provider="schema"))
    return Groups(
        ConfigLoaderImpl(config_search_path=search_path),
        words.flags.get("name", call.config_name),
        words.overrides,
        tuple(ask_argv),
        place,
    )


def write_overrides(params: Mapping[str, Any], groups: Groups | None) -> list[str]:
    """Give the Hydra overrides of parameters by dotted name: config groups first, then everything else.

    Without `groups`, only names with a slash or an @ are taken for config groups. UsageError where a group
    has no such option, or Hydra has no words for something.
    """
    chosen: dict[str, Any] = {}
    for name, value in params.items():
        key = split_override(name)[1] or name
        if isinstance(value, dict):
            continue
        options = groups.options(key) if groups else ([] if is_group_key(key) else None)
        if options is not None:
            if groups and options and not set(_choices(value)) <= set(options):
                options = groups.options(key, anew=True) or []
            _check_choice(key, value, options)
            chosen[name] = value
    plain = {name: value for name, value in params.items() if name not in chosen}
    free = {name: value for name, value in chosen.items() if not name.startswith("+")}
    prefixes = groups.prefixes(free) if groups and free else {}
    lines = [line for name in chosen for line in overrides(name, chosen[name], prefix=prefixes.get(name, ""))]
    return lines + [line for name, value in plain.items() for line in overrides(name, value)]


def _choices(value: Any) -> list[Any]:
    return value if is_list(value) else [value]


def _check_choice(key: str, value: Any, options: list[str]) -> None:
    for option in _choices(value):
        if not isinstance(option, str):
            raise UsageError(
                f"{key} is a config group of this Hydra app; its options are text, not {option!r}"
            )
        if options and "/" not in option and option.removesuffix(".yaml") not in options:
            close = difflib.get_close_matches(option, options, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(options)}"
            raise UsageError(f"the config group {key} of this Hydra app has no option {option!r}; {hint}")
