# SPDX-License-Identifier: GPL-3.0-or-later
"""A hook of aws_ha.egress: publishes each event to an SNS topic. Its argument is the ARN of the topic.

It needs the credentials of the instance, with sns:Publish on the topic. They need a drop-in for
nat-failover-hooks.service (docs/monitoring.md).
"""

from __future__ import annotations

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

LATER = 75  # EX_TEMPFAIL: the hook is run again
LONGEST = 100  # characters of a subject (SNS API Reference, Publish)


def main() -> int:
    """Publish the event of standard input. Returns 75 if SNS may take it later."""
    event, topic = json.load(sys.stdin), sys.argv[1]
    client = boto3.client(
        "sns",
        region_name=topic.split(":")[3],
        config=Config(connect_timeout=2, read_timeout=3, retries={"max_attempts": 1}),
    )
    subject = "{cluster} {node}: {kind}".format(**event).encode("ascii", "replace").decode()[:LONGEST]
    try:
        client.publish(TopicArn=topic, Subject=subject, Message=json.dumps(event, indent=2))
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BotoCoreError as error:
        sys.stderr.write(f"{error}\n")
        return LATER
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
