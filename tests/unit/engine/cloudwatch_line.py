# SPDX-License-Identifier: GPL-3.0-or-later
"""A line of metrics for CloudWatch, as tests make it and compare it with the format's specification."""

from __future__ import annotations

import json
from pathlib import Path

from nat_failover.service.status import status
from nat_failover.web import emf
from nat_failover.web.snapshot import Snapshot

AT = 1_700_000_000.25
ROOT = Path(__file__).resolve().parents[3]
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
MOST_METRICS, MOST_DIMENSIONS, LONGEST_NAME, MOST_NUMBERS = 100, 30, 255, 100
UNITS = {"None", "Count", "Milliseconds", "Seconds", "Bytes", "Percent"}


def seen(parts, **changes):
    return Snapshot({**json.loads(json.dumps(status(parts))), **changes}, "", AT)


def metrics(parts, connections=7, since=None, **changes):
    return (since or emf.Since()).metrics(seen(parts, **changes), connections)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def assert_in_the_format(text):
    """The rules of the specification, which CloudWatch Logs checks. Returns the document."""
    assert "\n" not in text and len(text) < 10_000
    root = json.loads(text)
    about = root["_aws"]
    assert set(about) == {"Timestamp", "CloudWatchMetrics"} and isinstance(about["Timestamp"], int)
    for directive in about["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 0 < len(directive["Namespace"]) <= LONGEST_NAME
        assert directive["Dimensions"]
        for names in directive["Dimensions"]:
            assert len(names) <= MOST_DIMENSIONS
            assert all(isinstance(root[name], str) and root[name] for name in names)
        assert len(directive["Metrics"]) <= MOST_METRICS
        for metric in directive["Metrics"]:
            assert set(metric) <= {"Name", "Unit"} and metric["Unit"] in UNITS
            target = root[metric["Name"]]
            assert is_number(target) or (0 < len(target) <= MOST_NUMBERS and all(map(is_number, target)))
    return root
