# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipping shell on virtual time: the engine's own service, loop, transport, codec, collector, executor and EC2 adapter.

Only the world is modelled: the event loop's clock, the network, AWS at the level of boto3's calls, this host's kernel.
"""
