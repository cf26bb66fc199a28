from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time

import pytest

from besom.errors import Problem, SweepFileError
from besom.sweepfile import SweepConfig, parse

GOOD = """\
program: train.py
method: random
metric: {name: val/loss, goal: minimize}
run_cap: 40
early_terminate: {type: hyperband, min_iter: 3}
constraints: ["layers * width <= 512", "lr < 0.1 or optimizer == 'sgd'"]
command: ["${env}", python, "${program}", "${args}"]
parameters:
  lr: &lr {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  layers: {min: 1, max: 8}
  width: {values: [32, 64, 128]}
  optimizer: {values: [adam, sgd], probabilities: [0.5, 0.5]}
  momentum: {min: 0.0, max: 0.99, when: {optimizer: sgd}}
  model:
    parameters:
      head: {distribution: q_uniform, min: 0, max: 1, q: 0.25}
      lr: *lr
"""
SNIPPETS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "- ",
        "\n",
        "\t",
        " ",
        "#",
        "&a ",
        "*a",
        "!!",
        "!x ",
        "<<: *lr",
        "|",
        ">",
    ),
    *(
        "'",
        '"',
        "%",
        "@",
        "`",
        "\0",
        "\ud7ff",
        "\U0001f9f9",
        "\x85",
        "\x1b",
        "---\n",
        "...\n",
        "? ",
        "~",
        "null",
    ),
    *(
        "1e999",
        "-1",
        "0",
        "1e-400",
        ".nan",
        ".inf",
        "9" * 500,
        "true",
        "__import__('os')",
        "${args}",
        "../..",
        "when",
    ),
    *("min", "max", "value", "values", "parameters", "distribution", "normal", "q", "{a: {a: {a: {a: 1}}}}"),
]


def config_or_problems(text: str) -> SweepConfig | tuple[Problem, ...]:
    try:
        return parse(text)
    except SweepFileError as error:
        return error.problems


def mutated(seed: int) -> str:
    chance = random.Random(seed)
    text: str = GOOD
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                text = text[:start] + chance.choice(SNIPPETS) + text[start:]
            case 1:
                text = text[:start] + text[start + chance.randint(1, 8) :]
            case 2:
                lines = text.splitlines(keepends=True)
                chance.shuffle(lines)
                text = "".join(lines)
            case 3:
                words = list[str](text.split(" "))
                words[chance.randrange(len(words))] = chance.choice(SNIPPETS)
                text = " ".join(words)
            case _:
                end = start + chance.randint(1, 60)
                text = text[:end] + text[start:end] + text[end:]
    return text


@pytest.mark.parametrize("batch", range(10))
def test_a_mangled_file_is_a_config_or_an_error_with_a_place(batch: int) -> None:
    for seed in range(40 * batch, 40 * batch + 40):
        text = mutated(seed)
        started = time.process_time()
        found = config_or_problems(text)
        assert time.process_time() - started < 1, text
        if isinstance(found, SweepConfig):
            json.dumps(found.raw, allow_nan=False)
            point = found.space.draw(1, 1)
            assert point is None or found.space.check(point) == []
        else:
            assert found, text
            last = text.count("\n") + 2
            assert all(problem.column and 1 <= (problem.line or 0) <= last for problem in found), text


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
WIDE = ", ".join(f"k{i}: 1" for i in range(5000))
BOMBS = {
    "aliases of aliases": LAUGHS,
    "deep lists": "a: " + "[" * 200_000,
    "deep mappings": "".join(" " * i + "a:\n" for i in range(1200)),
    "a merge key again and again": f"base: &b {{{WIDE}}}\nall:\n" + "- {<<: *b}\n" * 60_000,
    "a million values": "a: [" + "1," * 400_000 + "1]",
    "too large a file": "a: " + "x" * 3_000_000,
    "one very long number": "run_cap: " + "1" * 900_000,
    "constraints of huge powers": "method: grid\nparameters: {a: {min: 1, max: 100000000}}\nconstraints:\n"
    + f"- '{'(' * 11}a{' ** 99)' * 11} > 0'\n" * 50,
    "many empty lists": "a: [" + "[]," * 300_000 + "1]",
    "conditions on conditions": "method: grid\nparameters:\n"
    + "".join(f"  a{i:03}: {{values: [0, 1]}}\n" for i in range(60))
    + "  z: {value: 1, when: {"
    + ", ".join(f"a{i:03}: 1" for i in range(60))
    + "}}\n",
}
CHILD = """
import resource, sys, time
from besom.errors import SweepFileError
from besom.sweepfile import parse
text = sys.stdin.read()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
try:
    parse(text)
    answer = "config"
except SweepFileError as error:
    answer = str(error)
print(time.process_time() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
print(answer[:500])
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_defused_in_a_second_and_a_hundred_megabytes(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=BOMBS[name],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    figures, answer = done.stdout.split("\n", 1)
    seconds, megabytes = map(float, figures.split())
    assert answer == "config\n" or re.match(r"sweep\.yaml:\d+:\d+: ", answer), answer
    assert seconds < 1
    assert megabytes < 100
