# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables as operators write them: in YAML, in INI, with -e; the filters aws_ha.egress.arguments and argument_problem."""

from __future__ import annotations

import re

import pytest
import yaml

from .conftest import ROOT

OPTIONS = {
    "web_name": {"type": "str", "required": True, "description": ["Name of the site. It is shown."]},
    "web_tls": {"type": "bool", "default": True},
    "web_port": {"type": "int", "default": 443},
    "web_wait_s": {"type": "float", "default": 1.5},
    "web_hosts": {"type": "list", "elements": "str", "default": []},
    "web_mode": {"type": "str", "choices": ["fast", "slow"], "default": "fast"},
    "web_limits": {"type": "dict", "default": {}, "options": {"rate": {"type": "float"}, "strict": {"type": "bool"}}},
    "web_key": {"type": "str", "no_log": True},
}
SPECS = {"main": {"options": OPTIONS}, "other": {"options": {"web_step": {"type": "str", "required": True}}}}


@pytest.fixture
def typed(load):
    return lambda **given: load("plugin_utils.arguments").arguments(given, OPTIONS)


@pytest.fixture
def problem(load):
    function = load("filter.arguments").FilterModule().filters()["argument_problem"]

    def call(**given):
        known = {name: value for name, value in given.items() if name in OPTIONS}
        return function(list(given), known, SPECS, prefix="web_", known=["web_documented_elsewhere"])

    return call


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0", "n", " no "])
def test_text_that_means_false_is_false(typed, text):
    assert typed(web_tls=text)["web_tls"] is False


@pytest.mark.parametrize("text", ["true", "yes", "On", "1"])
def test_text_that_means_true_is_true(typed, text):
    assert typed(web_tls=text)["web_tls"] is True


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("web_port", "15", 15),
        ("web_port", 15.0, 15),
        ("web_wait_s", "15", 15),
        ("web_wait_s", "1.5", 1.5),
        ("web_name", 42, "42"),
        ("web_hosts", "a, b", ["a", "b"]),
        ("web_hosts", "['a', 'b']", ["a", "b"]),
        ("web_hosts", '["a"]', ["a"]),
        ("web_hosts", "", []),
        ("web_limits", '{"rate": "3", "strict": "no"}', {"rate": 3, "strict": False}),
        ("web_limits", "rate=3 strict=no", {"rate": 3, "strict": False}),
        ("web_limits", {"strict": "off", "rate": None}, {"strict": False}),
    ],
)
def test_text_means_the_same_as_a_typed_value(typed, name, given, meant):
    found = typed(**{name: given})[name]
    assert found == meant and type(found) is type(meant)


def test_a_typed_number_stays_as_it_is(typed):
    found = typed(web_wait_s=30, web_limits={"rate": 2})
    assert repr(found["web_wait_s"]) == "30" and repr(found["web_limits"]) == "{'rate': 2}"


def test_what_is_not_given_has_its_default_and_none_is_not_given(typed):
    assert typed(web_port=None) == {
        "web_tls": True,
        "web_port": 443,
        "web_wait_s": 1.5,
        "web_hosts": [],
        "web_mode": "fast",
        "web_limits": {},
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"web_tls": "maybe"}, "web_tls (got 'maybe') must be true or false"),
        ({"web_port": "8o"}, "web_port (got '8o') must be a whole number"),
        ({"web_port": 1.5}, "web_port (got 1.5) must be a whole number"),
        ({"web_wait_s": True}, "web_wait_s (got True) must be a number"),
        ({"web_wait_s": "nan"}, "web_wait_s (got 'nan') must be a number"),
        ({"web_wait_s": "1_000"}, "web_wait_s (got '1_000') must be a number"),
        ({"web_name": ["x"]}, "web_name (got ['x']) must be text"),
        ({"web_name": True}, "web_name (got True) must be text; put it in quotes"),
        ({"web_hosts": "[a"}, "web_hosts (got '[a') must be a list"),
        ({"web_hosts": [{}]}, "web_hosts[0] (got {}) must be text"),
        ({"web_limits": 3}, "web_limits (got 3) must be a dictionary"),
        ({"web_limits": {"rat": 1}}, "web_limits.rat is not known; did you mean web_limits.rate? Its keys are"),
        ({"web_limits": {"rate": "x"}}, "web_limits.rate (got 'x') must be a number"),
        ({"web_mode": "fats"}, "web_mode (got 'fats') must be one of fast, slow, perhaps fast"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(problem, given, words):
    said = problem(**{"web_name": "x", **given})
    assert words in said and "\n" not in said and len(said) < 200


def test_a_secret_is_never_shown(problem):
    assert problem(web_name="x", web_key=["s3cret"]) == "web_key must be text; put it in quotes"
    assert problem(web_name="x", web_kye="s3cret") == "web_kye is not known; did you mean web_key?"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web_mod", "did you mean web_mode?"),
        ("web_limit", "did you mean web_limits?"),
        ("web_xyzzy", "correct its name or remove it"),
        ("webs_hosts", "did you mean web_hosts?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(problem, name, said):
    assert problem(web_name="x", **{name: 1}) == f"{name} is not known; {said}"


@pytest.mark.parametrize("name", ["web_documented_elsewhere", "website", "web", "webs_of_mine"])
def test_the_names_of_others_are_left_alone(problem, name):
    assert problem(web_name="x", **{name: 1}) == ""


@pytest.mark.parametrize("given", [{}, {"web_name": ""}, {"web_name": None}])
def test_what_is_required_is_asked_for_with_its_meaning(problem, given):
    assert problem(**given) == "web_name is missing; set it in the inventory (Name of the site)"


def test_what_is_enough_for_another_entry_point_is_enough(load):
    function = load("filter.arguments").FilterModule().filters()["argument_problem"]
    assert function(["web_step"], {"web_step": "one"}, SPECS, prefix="web_") == ""


def test_the_result_has_short_names_and_no_secrets(load):
    function = load("filter.arguments").FilterModule().filters()["arguments"]
    found = function({"web_name": "x", "web_key": "s3cret"}, OPTIONS, prefix="web_")
    assert found["name"] == "x" and "key" not in found and "web_key" not in found


def test_the_filter_fails_with_the_same_line(load):
    from ansible.errors import AnsibleFilterError

    function = load("filter.arguments").FilterModule().filters()["arguments"]
    with pytest.raises(AnsibleFilterError, match=re.escape("web_port (got 'x') must be a whole number")):
        function({"web_port": "x"}, OPTIONS)


@pytest.mark.parametrize(
    "role", sorted(each.parent.parent.name for each in ROOT.glob("roles/*/meta/argument_specs.yml"))
)
def test_each_variable_of_a_role_means_the_same_as_text(load, role):
    """Every documented boolean and number, also in a dictionary: its text gives the value that YAML gives."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    arguments = load("plugin_utils.arguments").arguments
    samples = {"bool": (False, "false"), "int": (7, "7"), "float": (2.5, "2.5")}
    count = 0
    for spec in specs["argument_specs"].values():
        for name, option in spec["options"].items():
            inner = {key: each for key, each in option.get("options", {}).items() if each["type"] in samples}
            for key, each in inner.items():
                value, text = samples[each["type"]]
                # A dictionary, or a list of them.
                given, wanted = (
                    ({key: text}, {key: value}) if option["type"] == "dict" else ([{key: text}], [{key: value}])
                )
                assert arguments({name: given}, {name: option})[name] == wanted
                count += 1
            if option["type"] in samples:
                value, text = samples[option["type"]]
                found = arguments({name: text}, {name: option})[name]
                assert found == value and type(found) is type(value), name
                count += 1
    assert count or role == "arguments"
