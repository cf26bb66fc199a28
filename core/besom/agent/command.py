"""Turns a sweep's `command` and a run's parameters into the argv of the program.

A macro stands for a whole element of `command`; every one gives zero or more arguments:

    ${env}                    /usr/bin/env
    ${interpreter}            the Python that runs the agent
    ${program}                the sweep's `program`
    ${args}                   --lr=0.1 --model.depth=3      a nested parameter is one dotted flag per leaf
    ${args_no_equals}         --lr 0.1 --model.depth 3
    ${args_no_hyphens}        lr=0.1 model.depth=3
    ${args_no_boolean_flags}  --shuffle when it is true, nothing when it is false; the rest as ${args}
    ${args_append_hydra}      +lr=0.1 +model.depth=3
    ${args_override_hydra}    ++lr=0.1 ++model.depth=3
    ${args_hydra}             the same as a Hydra app needs it: values quoted, config groups told apart, and
                              what brings its result home (`besom_hydra.macro`)
    ${args_json}              {"lr": 0.1, "model": {"depth": 3}} as one argument
    ${args_json_file}         the path of a file that holds the same
    ${args_config_file}       the path of a YAML file with the parameters nested at their dots
    ${args_dict}              lr model                      the names alone
    ${envvar:NAME}            also inside an element: the agent's environment variable NAME, or the word NAME

Any other element of the form `${...}` gives nothing, as in W&B. There is no shell: what a value holds can
never become anything but (part of) one argument.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from besom.agent.macros import find_macro, program_of
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.records import Params

_PREFIXES = {"args": "--", "args_no_hyphens": "", "args_append_hydra": "+", "args_override_hydra": "++"}
MACROS = frozenset(_PREFIXES) | {
    "env",
    "interpreter",
    "program",
    "args_hydra",
    "args_no_equals",
    "args_no_boolean_flags",
    "args_json",
    "args_json_file",
    "args_config_file",
    "args_dict",
}

_OWN = MACROS - {"args_hydra"}
_ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


class Commanding(Protocol):
    """What a command is made from; a `SweepConfig` is one."""

    @property
    def command(self) -> Sequence[str]:
        """The arguments, macros among them."""
        ...

    @property
    def program(self) -> str | None:
        """What `${program}` becomes."""
        ...

    @property
    def source(self) -> str:
        """What messages call it."""
        ...

    @property
    def space(self) -> Any:  # pyright does not see what a cached property gives
        """What gives `${args}` its names: `flatten(params)`."""
        ...


def build_command(
    config: Commanding,
    params: Params,
    *,
    folder: RunFolder,
    environment: Mapping[str, str] | None = None,
    place: Path | None = None,
    by_hand: bool = False,
) -> list[str]:
    """Give the argv of a run; writes no file (`write_argument_files` does).

    `environment` is where `${envvar:NAME}` looks (None: this process's), `place` where the program lies
    (None: in the working directory, or beside the sweep file). With `by_hand` it is for a person who repeats
    the run outside the sweep. UsageError when the command names a program and the sweep has none, or a
    package's macro has no words for a parameter.
    """
    elements = _elements(config.command, os.environ if environment is None else environment)
    argv: list[str] = []
    for element in elements:
        name = _macro(element)
        macro = None if name is None or name in _OWN else find_macro(name)
        if macro is not None:
            program = _program_file(config, place)
            argv += macro.expand(config, params, folder=folder, program=program, by_hand=by_hand)
        else:
            argv += [element] if name is None else _expand(name, config, params, folder)
    if not argv:
        raise UsageError(f"{config.source}: the command {list(config.command)} expands to nothing")
    return argv


def unknown_macros(command: Sequence[str]) -> list[str]:
    """Give the elements that look like macros and will be dropped, because no macro has that name."""
    names = {element: _macro(element) for element in map(str, command) if not _ENVVAR.search(element)}
    return [
        element
        for element, name in names.items()
        if name is not None and name not in MACROS and find_macro(name) is None
    ]


def write_argument_files(
    config: Commanding, params: Params, *, folder: RunFolder, environment: Mapping[str, str] | None = None
) -> None:
    """Write the files whose paths `build_command` puts into the argv, and no others."""
    elements = _elements(config.command, os.environ if environment is None else environment)
    if "${args_json_file}" in elements:
        _json_file(folder).write_text(json.dumps(params))
    if "${args_config_file}" in elements:
        nested = nest_at_dots(config.space.flatten(params))
        _config_file(folder).write_text(_as_yaml(nested), encoding="utf-8")


def _as_yaml(values: Mapping[str, Any]) -> str:
    """Give YAML that every reader takes alike: the text 1e-5 is a number to YAML 1.2 and to jsonargparse."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes text that may look like a number, which PyYAML does only where YAML 1.1 reads one."""

    def text(dumper: Any, value: str) -> Any:
        style = '"' if value[:1] in set("-+.0123456789") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def nest_at_dots(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Give `{"a.b": 1}` as `{"a": {"b": 1}}`; UsageError where one name is both a value and a group."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split(".")
        place = nested
        for depth, group in enumerate(groups, 1):
            if (whole := ".".join(groups[:depth])) in flat:
                raise UsageError(
                    f"${{args_config_file}}: {whole!r} and {name!r} cannot both be parameters; rename one"
                )
            place = place.setdefault(group, {})
        place[leaf] = value
    return nested


def program_folder(config: Commanding, sweep_folder: str | None, working_dir: Path) -> Path:
    """Give the folder a run's program is started in: `working_dir`, or `sweep_folder` if only that has it.

    UsageError when neither has it. A command that does not name `${program}` is started in `working_dir`.
    """
    if "${program}" not in config.command:
        return working_dir
    program = _program(config)
    places = [working_dir, *([Path(sweep_folder)] if sweep_folder else [])]
    for place in places:
        if (place / program).exists():
            return place
    looked = " and ".join(dict.fromkeys(map(str, places)))
    raise UsageError(
        f"program {program!r} was not found in {looked}; mend `program`, or start the agent in its folder"
    )


def _elements(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    def value(match: re.Match[str]) -> str:
        return environment.get(match[1], match[1])

    return [_ENVVAR.sub(value, str(element)) for element in command]


def _program(config: Commanding) -> str:
    if config.program is None:
        raise UsageError(
            f"{config.source}: the command uses ${{program}}, but the sweep names no `program`; write"
            " program: train.py, or run a Python function with besom.agent(ID, function)"
        )
    return config.program


def _program_file(config: Commanding, place: Path | None) -> Path | None:
    program = program_of(config)
    if program is None:
        return None
    places = [Path.cwd(), Path(config.source).absolute().parent] if place is None else [place]
    return next((file for file in (folder / program for folder in places) if file.is_file()), None)


def _macro(element: str) -> str | None:
    return element[2:-1] if element.startswith("${") and element.endswith("}") else None


def _expand(name: str, config: Commanding, params: Params, folder: RunFolder) -> list[str]:
    if name == "program":
        return [_program(config)]
    whole = {
        "env": "/usr/bin/env",
        "interpreter": sys.executable,
        "args_json": json.dumps(params),
        "args_json_file": str(_json_file(folder)),
        "args_config_file": str(_config_file(folder)),
    }
    return [whole[name]] if name in whole else _flags(name, config.space.flatten(params), params)


def _flags(name: str, flat: Mapping[str, Any], params: Params) -> list[str]:
    if name in _PREFIXES:
        return [f"{_PREFIXES[name]}{key}={value}" for key, value in flat.items()]
    if name == "args_no_equals":
        return [part for key, value in flat.items() for part in (f"--{key}", str(value))]
    if name == "args_no_boolean_flags":
        return [_boolean_flag(key, value) for key, value in flat.items() if value is not False]
    return list(params) if name == "args_dict" else []


def _boolean_flag(key: str, value: object) -> str:
    return f"--{key}" if value is True else f"--{key}={value}"


def _json_file(folder: RunFolder) -> Path:
    return folder.path / "args.json"


def _config_file(folder: RunFolder) -> Path:
    return folder.path / "args.yaml"  # LightningCLI saves a config.yaml of its own, here as elsewhere
