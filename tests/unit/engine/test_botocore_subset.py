# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of botocore's data that is loaded says the same as the whole. Data that is not as expected is loaded as a whole."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.loaders import JSONFileLoader, create_loader

from nat_failover.aws import botocore_subset, calls, ec2, permissions, witness_table

OPERATION = {"name": "x", "documentation": "<p>long</p>"}


def undocumented(value):
    """A model as it is without its texts."""
    if isinstance(value, dict):
        return {k: undocumented(v) for k, v in value.items() if not (k == "documentation" and isinstance(v, str))}
    return [undocumented(each) for each in value] if isinstance(value, list) else value


def small_model(**changes):
    """A service model of the used operations, one of which refers to a shape that refers to another."""
    operations = {name: dict(OPERATION) for name in botocore_subset.USED["ec2"]}
    operations["StopInstances"]["input"] = {"shape": "Stop"}
    operations["Other"] = {"input": {"shape": "Unused"}}
    shapes = {
        "Stop": {"type": "structure", "members": {"documentation": {"shape": "Text", "documentation": "gone"}}},
        "Text": {"type": "string", "enum": ["größer", 'a"{b']},
        "Unused": {"type": "string"},
    }
    return {"version": "2.0", "metadata": {"serviceId": "EC2"}, "shapes": shapes, "operations": operations, **changes}


@pytest.fixture(autouse=True)
def loaders_of_their_own(monkeypatch):
    """In one process with them, the tests against the served API share a loader of another class (tests/integration/conftest.py)."""
    monkeypatch.setattr("botocore.session.create_loader", create_loader)


@pytest.fixture
def stock():
    """botocore's own loader."""
    return botocore.session.get_session().get_component("data_loader")


def test_each_call_has_the_name_and_the_method_of_botocore(stock):
    for call in calls.CALLS:
        known = stock.load_service_model(call.service, "service-2")["operations"]
        assert call.operation in known and call.method == xform_name(call.operation)
        assert call.operation in botocore_subset.USED[call.service], "and its description is loaded"


@pytest.mark.parametrize("adapter", [ec2, permissions, witness_table])
def test_no_adapter_names_a_call_beside_the_table(stock, adapter):
    """A call by a literal name would be an AttributeError at run time, as its description is not loaded."""
    known = {
        name
        for service in botocore_subset.USED
        for name in stock.load_service_model(service, "service-2")["operations"]
    }
    assert known & set(re.findall(r'"([A-Z][A-Za-z]+)"', Path(adapter.__file__).read_text(encoding="utf-8"))) == set()


@pytest.mark.parametrize("service", sorted(botocore_subset.USED))
def test_of_the_real_model_what_is_kept_is_unchanged(stock, service):
    whole = undocumented(stock.load_service_model(service, "service-2"))
    whole.pop("documentation", None)
    session = botocore.session.get_session()
    botocore_subset.apply(session)
    part = session.get_component("data_loader").load_service_model(service, "service-2")
    assert set(part["operations"]) == botocore_subset.USED[service]
    assert 0 < len(part["shapes"]) < len(whole["shapes"]) / 5
    for kind in ("operations", "shapes"):
        for name, value in part[kind].items():
            assert value == whole[kind][name], name
    rest = whole.keys() - {"operations", "shapes"}
    assert undocumented({key: part[key] for key in rest}) == {key: whole[key] for key in rest}


def test_of_the_real_endpoints_what_is_kept_is_unchanged(stock):
    whole = undocumented(stock.load_data("endpoints"))
    session = botocore.session.get_session()
    botocore_subset.apply(session)
    part = session.get_component("data_loader").load_data("endpoints")
    for mine, theirs in zip(part["partitions"], whole["partitions"]):
        kept = {name: each for name, each in theirs["services"].items() if name in botocore_subset.SERVICES}
        assert mine == {**theirs, "services": kept}
    assert len(part["partitions"]) == len(whole["partitions"])


def test_only_what_is_referred_to_is_kept_and_texts_are_not():
    text = json.dumps(small_model(), ensure_ascii=False, indent=1).encode("utf-8").decode("latin-1")
    found = botocore_subset.model(text)
    assert set(found["shapes"]) == {"Stop", "Text"}
    assert found["shapes"]["Stop"]["members"] == {"documentation": {"shape": "Text"}}
    assert found["shapes"]["Text"]["enum"] == ["größer", 'a"{b']
    assert found["operations"]["CreateRoute"] == {"name": "x"}


@pytest.mark.parametrize(
    "broken",
    [
        small_model(operations={"StopInstances": {}}),
        small_model(shapes={}),
        small_model(metadata={}),
        small_model(operations=[]),
        [],
        "a text",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_of_another_shape_is_loaded_as_a_whole(tmp_path, broken, packed):
    folder = tmp_path / "ec2" / "2099-01-01"
    folder.mkdir(parents=True)
    text = json.dumps(broken)
    if packed:
        with gzip.open(str(folder / "service-2.json.gz"), "wt") as file:
            file.write(text)
        if JSONFileLoader().load_file(str(folder / "service-2")) is None:
            pytest.skip("this botocore reads no packed files")
    else:
        (folder / "service-2.json").write_text(text, encoding="utf-8")
    assert botocore_subset.Lean().load_file(str(folder / "service-2")) == broken


def test_a_file_that_is_cut_off_fails_as_it_does_with_botocore(tmp_path):
    folder = tmp_path / "ec2" / "2099-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(small_model())[:-40], encoding="utf-8")
    with pytest.raises(ValueError):
        botocore_subset.Lean().load_file(str(folder / "service-2"))


@pytest.mark.parametrize("broken", [{"partitions": []}, {"partitions": [{"services": {}}]}, {"partitions": 1}, {}])
def test_endpoints_of_another_shape_are_loaded_as_a_whole(tmp_path, broken):
    (tmp_path / "endpoints.json").write_text(json.dumps(broken), encoding="utf-8")
    assert botocore_subset.Lean().load_file(str(tmp_path / "endpoints")) == broken


def test_other_services_are_loaded_as_a_whole_and_no_file_is_none(tmp_path):
    folder = tmp_path / "sts" / "2011-06-15"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps(small_model()), encoding="utf-8")
    assert botocore_subset.Lean().load_file(str(folder / "service-2")) == small_model()
    assert botocore_subset.Lean().load_file(str(folder / "nothing")) is None
    assert botocore_subset.Lean().load_file(str(tmp_path / "ec2" / "2099-01-01" / "service-2")) is None


def test_a_session_that_loads_in_a_way_of_its_own_is_left_alone():
    class Own(JSONFileLoader):
        pass

    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    own = loader.file_loader = Own()
    botocore_subset.apply(session)
    assert loader.file_loader is own


def test_the_client_makes_its_calls_by_names_of_the_part(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    client = ec2.Ec2("cn-north-1")._aws.client
    assert set(client.meta.service_model.operation_names) == botocore_subset.USED["ec2"]
    assert client.meta.endpoint_url == "https://ec2.cn-north-1.amazonaws.com.cn"
