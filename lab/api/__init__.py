# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's EC2 API: an in-process moto server, corrected where it differs from AWS, with faults on demand and a call log."""
