# SPDX-License-Identifier: GPL-3.0-or-later
"""One EC2 call in a process of its own, as a shell script makes it with the AWS CLI (which takes rather longer to start).

``ec2_call.py ENDPOINT OPERATION [JSON]``; credentials come from the instance's role. Prints the answer as JSON.
"""

from __future__ import annotations

import json
import sys

import boto3


def main(endpoint: str, operation: str, arguments: str = "{}") -> int:
    client = boto3.client("ec2", region_name="eu-west-1", endpoint_url=endpoint)
    json.dump(getattr(client, operation)(**json.loads(arguments)), sys.stdout, default=str)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
