"""Values written as Hydra overrides, judged by Hydra's own parser and composition."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from besom.errors import UsageError
from besom.jsonable import is_list, is_mapping
from besom_hydra.arguments import is_group_key, overrides, quote, split_override, write_value

SCALARS: list[Any] = [
    *(0, 1, -1, 10**30, -(10**18), 0.5, 1e-5, 1e300, 5e-324, -0.0, 3.0, math.inf, -math.inf, math.nan),
    *(True, False, None),
]
TEXTS = [
    *("", " ", "a", "a b", " a ", "a,b", "a=b", "a:b", "a/b", "a.b", "a-b", "_", "-", "--x", "~", "+", "@"),
    *("null", "NULL", "true", "False", "nan", "inf", "-inf", "12", "-1", "1e3", "1_000", "0x10", ".5", "5."),
    *("it's", 'say "hi"', "''", "'", '"', "\\", "\\\\", "\\'", "a\\", "a\\\\'b'\\", "\t", "a\nb", "\r\n"),
    *("ü", "日本", "🙂", "[1]", "[a", "{a:1}", "}", "(x)", "choice(1,2)", "interval(0,1)", "a,", "$x", "{}"),
    *(
        "s3://b/k?x=1&y=2",
        "C:\\path\\to",
        "%(x)s",
        "a#b",
        "*.py",
        "<b>",
        "|",
        "!",
        "`ls`",
        "???!",
        "_target_",
    ),
]
NESTED: list[Any] = [
    *([], {}, [1, [2, None], True], ["a,b", ["null"]], {"a": 1}, {"a": {"b": [{"c": "1"}]}}, [{}, [], {}]),
    *({"a b": 1}, {"a.b": 1}, {"a/b": 1}, {"a-b": 1}, {"a?": None}, {"_target_": "torch.optim.Adam"}),
    *({"1": 2}, {"null": 1}, {"true": 1, "a": 2}, {"nan": [1]}, {"0": {"0": 1}}, {"$a": 1}, {"a": {"1": {}}}),
    *([{"1": 2}, {"x": {"2": 3}}], {"a": [[{"3": "x"}]]}),
]
UNWRITABLE: list[Any] = [
    *("???", ["???"], {"a": "???"}, {"": 1}, {"it's": 1}, {"1e3": 1}, {"01": 1}, {"1.5": 1}, {"ü": 1}),
    *({"a:b": 1}, {" a": 1}, {"a ": 1}, {"a.b": {"1": 2}}, {1: 2}, {1, 2}, b"x", complex(1, 2)),
]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "config.yaml").write_text("there: 1\nlist: [1, 2]\nnone: null\nsub: {there: text}\n")
    return folder


def composed(conf: Path, lines: list[str]) -> dict[str, Any]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("config", overrides=lines)
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=False))


def same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are equal to the type and the sign."""
    if is_mapping(one) and is_mapping(other):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if is_list(one) and is_list(other):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.parametrize("value", [*SCALARS, *TEXTS, *NESTED], ids=repr)
def test_what_hydra_composes_is_what_was_given(conf: Path, value: Any) -> None:
    assert same(composed(conf, overrides("key", value))["key"], value)


@pytest.mark.parametrize("value", UNWRITABLE, ids=repr)
def test_what_hydra_has_no_words_for_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="key"):
        overrides("key", value)


# Lone surrogates are in no file and no command line; "${" is an interpolation and is tested below.
texts = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda text: "${" not in text and text != "???"
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
keys = st.text(st.sampled_from("abZ_019-. $ùe:'\\/"), max_size=4) | st.sampled_from(
    ["null", "True", "1", "nan"]
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=6)


@given(texts)
def test_quotes_are_those_of_hydra(text: str) -> None:
    assert quote(text) == QuotedString(text, Quote.single).with_quotes()


@given(scalars)
def test_hydras_parser_reads_a_scalar_back(value: Any) -> None:
    parsed = OverridesParser.create().parse_override(f"key={write_value(value)}")
    assert not parsed.is_sweep_override()
    assert same(parsed.value(), value)


@given(values)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_value_is_composed_exactly_or_refused(conf: Path, value: Any) -> None:
    try:
        lines = overrides("deep.key", value)
    except UsageError as error:
        assert "key" in str(error)  # noqa: PT017
        return
    assert same(composed(conf, lines)["deep"]["key"], value)


@pytest.mark.parametrize("key", ["there", "none", "sub", "new", "sub.there", "sub.new", "new.deep.er"])
@pytest.mark.parametrize("value", [3, "x", {"there": 1}, None])
def test_keys_are_set_whether_they_are_there_or_not(conf: Path, key: str, value: Any) -> None:
    found: Any = composed(conf, overrides(key, value))
    for part in key.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize("key", ["there", "none", "new"])
def test_a_mapping_with_awkward_keys_takes_any_place(conf: Path, key: str) -> None:
    assert composed(conf, overrides(key, {"1": {"null": 2}, "a": 3}))[key] == {"1": {"null": 2}, "a": 3}


def test_mappings_merge_and_lists_replace(conf: Path) -> None:
    assert composed(conf, overrides("sub", {"more": 1}))["sub"] == {"there": "text", "more": 1}
    assert composed(conf, overrides("list", [3]))["list"] == [3]
    assert composed(conf, overrides("list.0", 7))["list"] == [7, 2]


def test_interpolations_stay_interpolations(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("config", overrides=overrides("key", "${there} apples"))
    assert config.key == "1 apples"


@pytest.mark.parametrize(
    ("key", "prefix", "line"),
    [
        ("lr", "++", "++lr=1"),
        ("+lr", "++", "+lr=1"),
        ("++lr", "", "++lr=1"),
        ("db", "", "db=1"),
        ("db@backup.main", "+", "+db@backup.main=1"),
        ("hydra/job_logging", "", "hydra/job_logging=1"),
    ],
)
def test_a_key_keeps_its_own_prefix(key: str, prefix: str, line: str) -> None:
    assert overrides(key, 1, prefix=prefix) == [line]
    [parsed] = OverridesParser.create().parse_overrides([line])
    assert parsed.input_line == line


@pytest.mark.parametrize(
    "key", ["", "+", "a b", "ü", "a..b", ".a", "a.", "a:b", "a[0]", "a=b", "1", "-a", "~a", "a/"]
)
def test_names_that_hydra_does_not_take_are_refused(key: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be the name|removes something"):
        overrides(key, 1)


def test_groups_show_by_their_names() -> None:
    assert [is_group_key(key) for key in ("db", "a.b", "a/b", "db@x", "db@")] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("lr=0.1", ("", "lr", "0.1")),
        ("++a.b='x=y'", ("++", "a.b", "'x=y'")),
        ("+db@x=y", ("+", "db@x", "y")),
        ("~a", ("~", "a", "")),
    ],
)
def test_an_override_falls_into_its_parts(line: str, parts: tuple[str, str, str]) -> None:
    assert split_override(line) == parts


def test_writing_loads_no_hydra() -> None:
    code = "import sys, besom_hydra.arguments; sys.exit('hydra' in sys.modules or 'omegaconf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
