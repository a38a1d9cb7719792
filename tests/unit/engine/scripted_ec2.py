# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 adapter over a client of AWS that answers as a test says."""

from __future__ import annotations

import copy
import functools

from nat_failover.aws.ec2 import Ec2
from nat_failover.model.cluster import Claim

CLAIM = Claim("rtb-1", "0.0.0.0/0", "nat-a")


class Aws:
    """In the place of the connection. ``answers``: for each call, in order, an answer or the code of its failure."""

    url = "https://ec2.test"

    def __init__(self, *answers):
        self.answers, self.made = list(answers), []

    def call(self, call, fail, **parameters):
        self.made.append((call.operation, parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise fail(answer, "As AWS writes it.")
        return answer

    @property
    def operations(self):
        return [operation for operation, _parameters in self.made]


def adapter(*answers, **options):
    ec2 = copy.copy(made(**options))
    ec2._aws = Aws(*answers)
    return ec2, ec2._aws


@functools.cache
def made(**options):
    """A client takes long to make."""
    return Ec2("eu-west-1", "http://127.0.0.1:1", clock=lambda: 7.0, **options)
