# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``module_utils/_credentials.py``, which modules that call AWS share."""

    DOCUMENTATION = r"""
options:
  profile:
    description: Profile of the credentials, when the module runs on your machine.
    type: str
  access_key:
    description: Access key id. Give O(secret_key) with it.
    type: str
  secret_key:
    description: Secret access key.
    type: str
  session_token:
    description: Session token of temporary credentials.
    type: str
  aws_ca_bundle:
    description: File of the certificates that sign the API's certificate.
    type: path
notes:
  - Without credentials the module finds them as boto3 does, on an instance from its role.
  - The options are named as in P(amazon.aws.ec2_instance#module); C(module_defaults) of
    C(group/aws_ha.egress.aws) reach this module and all of the collection C(amazon.aws).
"""
