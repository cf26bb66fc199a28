from __future__ import annotations

import argparse
import copy
import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom.config import Config, read_defaults
from besom.errors import ConfigError, SweepFileError, UsageError
from besom.jsonable import is_dict


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_sweep_wins_over_what_the_program_gives() -> None:
    config = Config({"lr": 0.1, "batch": 256}, swept={"lr": 0.5})
    assert config.as_dict() == {"lr": 0.5, "batch": 256}


def test_items_read_as_keys_attributes_and_dotted_names() -> None:
    config = Config({"model": {"depth": 3, "head": {"dim": 4}}, "lr": 0.1})
    assert config["lr"] == config.lr == config.get("lr") == 0.1
    assert config["model"]["head"]["dim"] == config.model.head.dim == config["model.head.dim"] == 4
    assert "model.head.dim" in config
    assert "model.width" not in config
    assert config.get("model.width", 7) == 7
    assert list(config) == ["model", "lr"]
    assert len(config) == 2
    assert dict(**config.model) == {"depth": 3, "head": {"dim": 4}}
    assert repr(config) == "{'model': {'depth': 3, 'head': {'dim': 4}}, 'lr': 0.1}"


def test_an_unknown_item_says_what_there_is() -> None:
    config = Config({"lr": 0.1})
    with pytest.raises(KeyError, match="depth"):
        config["depth"]
    with pytest.raises(AttributeError, match=r"'depth'; it has lr"):
        _ = config.depth


def test_only_the_swept_leaf_is_locked(caplog: pytest.LogCaptureFixture) -> None:
    config = Config({"model": {"depth": 1, "width": 2}}, swept={"model": {"depth": 8}})
    config.update({"model": {"depth": 5, "width": 64, "act": "relu"}}, allow_val_change=True)
    assert config.as_dict() == {"model": {"depth": 8, "width": 64, "act": "relu"}}
    assert warnings_in(caplog) == ["config item 'model.depth' is set by the sweep (ignored update)"]


def test_a_locked_item_warns_once_and_an_equal_value_never(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(swept={"lr": 0.1, "n": 3})
    config.lr = 0.1
    config["lr"] = 0.1 + 1e-17
    config.n = 3.0
    assert warnings_in(caplog) == []
    for value in (0.2, 0.3):
        config.lr = value
    config.update({"lr": "0.1"}, allow_val_change=True)
    assert config.lr == 0.1
    assert warnings_in(caplog) == ["config item 'lr' is set by the sweep (ignored update)"]


def test_a_section_with_swept_leaves_is_not_replaced(caplog: pytest.LogCaptureFixture) -> None:
    config = Config({"model": {"depth": 1}}, swept={"model": {"depth": 8}})
    config.update({"model": "resnet"}, allow_val_change=True)
    assert config.as_dict() == {"model": {"depth": 8}}
    assert warnings_in(caplog) == ["config item 'model' is set by the sweep (ignored update)"]


def test_changing_a_value_needs_permission() -> None:
    config = Config({"lr": 0.1, "model": {"depth": 1}})
    with pytest.raises(ConfigError, match=r"'lr' is 0.1 and would become 0.2"):
        config.lr = 0.2
    with pytest.raises(ConfigError, match=r"'model.depth' is 1"):
        config.model.depth = 2
    config.update({"lr": 0.2, "model": {"depth": 2}}, allow_val_change=True)
    assert config.as_dict() == {"lr": 0.2, "model": {"depth": 2}}
    free = Config({"lr": 0.1}, allow_val_change=True)
    free.lr = 0.3
    assert free.lr == 0.3
    with pytest.raises(ConfigError):
        free.update({"lr": 0.4}, allow_val_change=False)


def test_a_refused_update_changes_nothing() -> None:
    config = Config({"lr": 0.1})
    with pytest.raises(ConfigError):
        config.update({"new": 1, "lr": 0.2})
    assert config.as_dict() == {"lr": 0.1}


def test_setdefaults_sets_only_what_is_absent_at_any_depth() -> None:
    config = Config({"model": {"depth": 1}}, swept={"lr": 0.5})
    config.setdefaults({"lr": 0.1, "batch": 256, "model": {"depth": 9, "width": 64}})
    assert config.as_dict() == {"model": {"depth": 1, "width": 64}, "lr": 0.5, "batch": 256}
    assert config.setdefault("batch", 1) == 256
    assert config.setdefault("epochs", 3) == 3


def test_a_dotted_swept_name_goes_to_the_leaf_of_the_programs_mapping() -> None:
    config = Config({"model": {"lr": 0.1, "depth": 2}}, swept={"model.lr": 0.5})
    assert config.as_dict() == {"model": {"lr": 0.5, "depth": 2}}
    assert config["model.lr"] == config["model"]["lr"] == config.model.lr == 0.5


def test_a_dotted_swept_name_is_a_flat_key_where_there_is_no_mapping() -> None:
    config = Config({"batch": 1}, swept={"model.lr": 0.5})
    assert config.as_dict() == {"batch": 1, "model.lr": 0.5}
    assert config["model.lr"] == config["model"]["lr"] == config.model.lr == 0.5


def test_a_flat_swept_name_moves_into_a_mapping_that_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(swept={"model.lr": 0.5})
    config.setdefaults({"model": {"lr": 0.1, "depth": 2}})
    assert config.as_dict() == {"model": {"lr": 0.5, "depth": 2}}
    config.model.lr = 0.9
    assert config.model.lr == 0.5
    assert len(warnings_in(caplog)) == 1


def test_writing_through_a_gathered_section_keeps_the_lock() -> None:
    config = Config(swept={"model.lr": 0.5})
    config.model.lr = 0.9
    config.model.depth = 3
    assert config.model.lr == 0.5
    assert config.model.depth == 3


def test_a_nested_swept_parameter_replaces_a_plain_default() -> None:
    config = Config({"model": "resnet", "opt": {"name": "sgd"}}, swept={"model": {"depth": 3}, "opt": "adam"})
    assert config.as_dict() == {"model": {"depth": 3}, "opt": "adam"}


def test_init_defaults_given_later_still_lose_to_the_sweep_silently(caplog: pytest.LogCaptureFixture) -> None:
    config = Config({"lr": 0.1, "batch": 1}, swept={"lr": 0.5})
    config.absorb({"lr": 0.2, "batch": 2})
    assert config.as_dict() == {"lr": 0.5, "batch": 2}
    assert warnings_in(caplog) == []


def test_argparse_and_dataclasses_are_configs() -> None:
    @dataclass
    class Options:
        lr: float = 0.1
        layers: tuple[int, ...] = (1, 2)

    assert Config(argparse.Namespace(lr=0.1, name=None)).as_dict() == {"lr": 0.1, "name": None}
    assert Config(Options()).as_dict() == {"lr": 0.1, "layers": [1, 2]}
    assert Config([("a", 1)]).as_dict() == {"a": 1}
    with pytest.raises(UsageError, match="not int"):
        Config(3)
    config = Config()
    config.update(argparse.Namespace(lr=0.3), batch=2)
    assert config.as_dict() == {"lr": 0.3, "batch": 2}


def test_leading_dashes_of_names_are_dropped() -> None:
    assert Config({"--lr": 1}).as_dict() == {"lr": 1}


def test_items_cannot_be_removed() -> None:
    config = Config({"lr": 1, "model": {"depth": 2}})
    removals: list[Any] = [
        lambda: config.pop("lr"),
        config.clear,
        config.popitem,
        lambda: config.__delitem__("lr"),
        config.model.clear,
        lambda: delattr(config, "lr"),
    ]
    for remove in removals:
        with pytest.raises(ConfigError, match="cannot be removed"):
            remove()
    assert config.as_dict() == {"lr": 1, "model": {"depth": 2}}


def test_copies_are_plain_and_detached() -> None:
    config = Config({"model": {"depth": 2}}, swept={"lr": 0.1})
    assert json.loads(json.dumps(config)) == {"model": {"depth": 2}, "lr": 0.1}
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert copied.model.depth == 2
        copied.update({"lr": 9}, allow_val_change=True)
    assert config.lr == 0.1
    assert type(config.copy()) is dict
    merged: Any = config
    merged |= {"new": 1}
    assert config.new == 1


def test_every_change_is_reported_once_and_no_change_never() -> None:
    seen: list[dict[str, Any]] = []
    config = Config({"lr": 0.1}, on_change=seen.append)
    config.update({"a": 1, "b": {"c": 2}})
    config.lr = 0.1
    config.setdefaults({"lr": 3})
    assert seen == [{"lr": 0.1, "a": 1, "b": {"c": 2}}]


def test_defaults_are_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config-defaults.yaml"
    path.write_text(
        "wandb_version: 1\nlr:\n  desc: step size\n  value: 1e-5\nepochs: {value: 3}\nplain: x\nd: {a: 1}\n"
    )
    assert read_defaults(path) == {"lr": 1e-5, "epochs": 3, "plain": "x", "d": {"a": 1}}
    assert read_defaults(tmp_path / "none.yaml") == {}
    path.write_text("")
    assert read_defaults(path) == {}
    path.write_text("a: [")
    with pytest.raises(SweepFileError, match=r"config-defaults.yaml:\d+:\d+: "):
        read_defaults(path)
    path.write_text("- 1")
    with pytest.raises(SweepFileError, match="expected a mapping"):
        read_defaults(path)


names = st.sampled_from(["a", "b", "c", "d"])
trees: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3) | st.text(max_size=2),
    lambda below: st.dictionaries(names, below, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(names, trees, max_size=4)


def leaves(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{above}{key}.") if is_dict(value) and value else {above + key: value}
    return found


@given(defaults=mappings, swept=mappings, updates=st.lists(mappings, max_size=3))
def test_law_swept_leaves_never_change(
    defaults: dict[str, Any], swept: dict[str, Any], updates: list[dict[str, Any]]
) -> None:
    config = Config(defaults, swept=swept)
    for values in updates:
        config.setdefaults(values)
        config.update(values, allow_val_change=True)
        config.absorb(values)
    for name, value in leaves(swept).items():
        if value != {}:
            assert config[name] == value


@given(
    flat=st.dictionaries(st.sampled_from(["a.x", "a.y", "b.z"]), st.integers(), min_size=1), defaults=mappings
)
def test_law_dotted_swept_names_resolve_in_each_spelling(
    flat: dict[str, int], defaults: dict[str, Any]
) -> None:
    config = Config(defaults, swept=flat)
    config.setdefaults(defaults)
    for name, value in flat.items():
        head, _, rest = name.partition(".")
        assert config[name] == value
        if not (head in defaults and not isinstance(defaults[head], dict)):
            assert config[head][rest] == value
            assert getattr(getattr(config, head), rest) == value
