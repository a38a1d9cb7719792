# Copyright (c) 2026, aws_ha.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This node's iptables rules, through an injected runner.

They are compared, replaced at once and removed without touching a rule of anybody else, and there
is no moment in which nothing is masqueraded.
"""

from __future__ import annotations

import typing as t

from ..errors import NatFailoverError
from ..model.nat import Nat
from . import address_map, nft_batch, nft_json, users
from .iptables_text import copies
from .packet_rule import ACCEPT, DROP, TRANSLATE, ends_in, hazards
from .rule_tables import FAMILIES, TIMEOUT, WAIT, Runner, Table, answer, read, run
from .wanted_rules import COMMANDS, FORWARD, GUARDS, POSTROUTING, TABLES, Chain, Wanted, rules, states

__all__ = ["TIMEOUT", "Runner"]

MOST_COPIES = 100  # jumps that are removed at most
# Verdicts that keep a packet from a chain of this product. In the table nat: an end without a
# translation, and one to an address that a rule of others names.
FATAL: t.Mapping[Chain, tuple[str, ...]] = {FORWARD: (DROP,), POSTROUTING: (DROP, ACCEPT, TRANSLATE)}
NFT_LIST = ["nft", "--json", "--terse", "list", "ruleset"]  # terse: without the elements of sets


class RulesReading(t.NamedTuple):
    """The result of a reading of this node's rules, each in words, empty if there is nothing."""

    missing: str = ""  # the first difference from the wanted rules
    repeated: str = ""  # a jump that is there more than once
    unreadable: t.Mapping[str, str] = {}  # command -> why the rules of its family cannot be read
    unguarded: str = ""  # the first difference in rules that protect this node itself
    states: t.Mapping[str, str] = {}  # identity -> the state that the rules are in
    foreign: tuple[str, ...] = ()  # rules of others before this node's own that may drop clients' packets
    unmapped: str = ""  # why synchronised identities are not rewritten, so that flows of them begin here


def read_rules(nat: Nat, runner: Runner) -> RulesReading:
    """Compare the rules of both families with the wanted ones."""
    whole, (nat, unmapped) = nat, _mapped(nat, runner)
    missing, repeated, unguarded = "", "", ""
    unreadable: dict[str, str] = {}
    foreign: list[str] = []
    seen: dict[tuple[str, str], Table] = {}
    for command, table, wanted in _tables(nat):
        if not any(wanted.values()):
            continue  # each table costs a process; see ``left_over_rules``
        try:
            seen[command, table] = read(command, table, tuple(wanted), nat.interface, runner)
        except NatFailoverError as error:
            unreadable.setdefault(command, str(error))
    found = _states_in(whole, seen.get(("iptables", POSTROUTING.table)))
    for command, table, wanted in _tables(nat.translating(found)):
        if (command, table) not in seen:
            continue
        present = seen[command, table]
        where = f"{command} -t {table}"
        for chain, lines in wanted.items():
            difference = _difference(where, chain, lines, present)
            if chain in GUARDS:
                unguarded = unguarded or difference
            else:
                missing = missing or difference
            repeated = repeated or _repeated(where, chain, present)
            foreign += _before(where, chain, present)
    return RulesReading(missing, repeated, unreadable, unguarded, found, tuple(foreign), unmapped)


def _mapped(nat: Nat, runner: Runner) -> tuple[Nat, str]:
    """(the translation as this kernel has it, why it does not rewrite synchronised identities).

    A packet that left with the egress address of another node would be lost. So flows of identities
    begin here, as at level 1, where they are not rewritten.
    """
    if not nat.synced:
        return nat, ""
    try:
        missing = address_map.differences(nat, runner)
    except NatFailoverError as error:
        missing = [str(error)]
    return (nat.unsynced(), missing[0].removeprefix("missing: ")) if missing else (nat, "")


def states_seen(nat: Nat, runner: Runner) -> dict[str, str]:
    """Identity -> the state that the rules are in. Empty without identities, or if unreadable."""
    if not nat.identities:
        return {}
    try:
        present = read("iptables", POSTROUTING.table, (POSTROUTING,), nat.interface, runner)
    except NatFailoverError:
        return {}
    return _states_in(nat, present)


def _states_in(nat: Nat, present: Table | None) -> dict[str, str]:
    """The same by the table nat. None: it is not known."""
    if present is None:
        return {}
    lines = present.get(POSTROUTING.name)
    return states(nat, None if lines is None else [rule.text for rule in lines])


def read_other_tables(nat: Nat, runner: Runner) -> tuple[str, ...]:
    """Rules and policies of nftables outside of the chains that ``read_rules`` reads which may drop
    clients' packets, in words.

    Raises ``NatFailoverError`` if nft cannot list them.
    """
    found = nft_json.ruleset(run(NFT_LIST, runner), nat.interface, nat.has_ipv6)
    read_already = {
        f"{FAMILIES[command]} {chain.table} {chain.built_in}"
        for command, _table, wanted in _tables(nat)
        for chain, lines in wanted.items()
        if lines
    }
    texts = []
    for base in found.bases:
        if base.key in read_already:
            continue
        texts += [f"nft chain {key}: {rule.text}" for key, rule in hazards(found.chains, base.key)]
        if base.policy == DROP and not ends_in(found.chains, base.key):
            texts.append(f"nft chain {base.key}: policy drop")
    return tuple(texts)


def differences(nat: Nat, runner: Runner) -> list[str]:
    """The changes that ``apply_rules`` would make, a line each: missing, unprotected, repeated, left
    over.

    Raises ``NatFailoverError`` if the rules cannot be read.
    """
    reading = read_rules(nat, runner)
    for problem in reading.unreadable.values():
        raise NatFailoverError(problem)
    found = (
        ("missing", reading.missing),
        ("unprotected", reading.unguarded),
        ("repeated", reading.repeated),
        ("missing", reading.unmapped),
        ("left over", left_over_rules(nat, runner)),
    )
    return [f"{kind}: {text}" for kind, text in found if text]


def rules_in_nftables(runner: Runner) -> bool:
    """Whether iptables keeps its rules in nf_tables, which reports changes.

    The legacy tables do not.
    """
    answers = [runner([f"{command}-save", "--version"], timeout=TIMEOUT) for command in COMMANDS]
    versions = [out for code, out, _err in answers if not code]
    return bool(versions) and all("nf_tables" in version for version in versions)


def left_over_rules(nat: Nat, runner: Runner) -> str:
    """Rules of this product that the configuration does not want any more, in words.

    Empty if there are none.
    """
    for command, table, wanted in _tables(nat):
        unwanted = [chain for chain, lines in wanted.items() if not lines]
        present = _present(command, table, unwanted, nat.interface, runner)
        for chain in unwanted:
            if _is_there(chain, present):
                return f"{command} -t {table}: {chain.name} is not configured any more"
    return ""


def apply_rules(
    nat: Nat,
    runner: Runner,
    wanted_states: t.Mapping[str, str] | None = None,
    send: address_map.Send = nft_batch.transact,
) -> bool:
    """Put the wanted rules in place, each table at once. Returns whether anything was changed.

    ``wanted_states``: identity -> its state. One that is left out stays as it is.

    A jump that is there already is not added again, and further copies of it go. Raises
    ``NatFailoverError``, for rules that protect this node, and for the rewriting of synchronised
    identities, only after all others are in place.
    """
    changed, refused, unmapped = False, "", ""
    found = {**states_seen(nat, runner), **(wanted_states or {})}
    if nat.synced:
        try:
            changed = address_map.apply(nat, runner, send)
        except NatFailoverError as error:
            nat, unmapped = nat.unsynced(), str(error)
    nat = nat.translating(found)
    for command, table, wanted in _tables(nat):
        needed = {chain: lines for chain, lines in wanted.items() if lines}
        present = _present(command, table, tuple(wanted), nat.interface, runner, needed=bool(needed))
        forwarding = {chain: lines for chain, lines in needed.items() if chain not in GUARDS}
        guards = {chain: lines for chain, lines in needed.items() if chain in GUARDS}
        changed = _put(command, table, forwarding, present, runner) or changed
        try:
            changed = _put(command, table, guards, present, runner) or changed
        except NatFailoverError as error:
            refused = refused or str(error)
        unwanted = [chain for chain in wanted if chain not in needed]
        changed = _remove(command, table, unwanted, present, runner) or changed
    if refused:
        raise NatFailoverError(f"the rules that protect this node itself are not in place: {refused}")
    if unmapped:
        raise NatFailoverError(f"flows of identities are not synchronised: {unmapped}")
    return changed


def remove_rules(runner: Runner) -> bool:
    """Remove the chains and jumps of this product. Returns whether anything was changed.

    Raises ``NatFailoverError``.
    """
    changed = [
        _remove(command, table, chains, _present(command, table, chains, "", runner), runner)
        for command in COMMANDS
        for table, chains in TABLES.items()
    ]
    return any(changed)


def _tables(nat: Nat) -> t.Iterator[tuple[str, str, Wanted]]:
    uids = users.ids((*users.ALWAYS, *(nat.imds_users or ())))
    for command in COMMANDS:
        wanted = rules(nat, command, uids)
        for table, chains in TABLES.items():
            yield command, table, {chain: wanted[chain] for chain in chains}


def _difference(where: str, chain: Chain, wanted: tuple[str, ...], present: Table) -> str:
    if not wanted:
        return ""
    if not copies(present, chain.built_in, chain.jump):
        return f"{where}: no jump from {chain.built_in} to {chain.name}"
    found = tuple(rule.text for rule in present.get(chain.name, ()))
    for rule in wanted:
        if rule not in found:
            return f"{where}: no rule {rule}"
    return "" if found == wanted else f"{where}: {chain.name} holds other rules, or the rules in another order"


def _repeated(where: str, chain: Chain, present: Table) -> str:
    count = copies(present, chain.built_in, chain.jump)
    return f"{where}: {chain.built_in} jumps to {chain.name} {count} times" if count > 1 else ""


def _before(where: str, chain: Chain, present: Table) -> list[str]:
    """The rules of others that stand before this node's own and may drop clients' packets."""
    fatal = FATAL.get(chain)
    if not fatal or not copies(present, chain.built_in, chain.jump):
        return []
    found = hazards(present, chain.built_in, before=chain.jump, fatal=fatal)
    return [f"{where}: {rule.text}" for _name, rule in found]


def _put(command: str, table: str, wanted: Wanted, present: Table, runner: Runner) -> bool:
    script: list[str] = []
    for chain, lines in wanted.items():
        if _difference("", chain, lines, present) or _repeated("", chain, present):
            # With --noflush, a declaration of a chain empties this chain and no other.
            script += [f":{chain.name} - [0:0]", *lines, *_jumps(chain, copies(present, chain.built_in, chain.jump))]
    if script:
        text = "\n".join((f"*{table}", *script, "COMMIT", ""))
        run([f"{command}-restore", "--noflush", *WAIT], runner, stdin=text)
    return bool(script)


def _jumps(chain: Chain, there: int) -> list[str]:
    """The changes that leave exactly one jump, where ``there`` exist."""
    if there == 1:
        return []
    rest = chain.jump[len("-A ") :]
    position = f"-I {chain.built_in} 1 -j {chain.name}" if chain.first else chain.jump
    return [*[f"-D {rest}"] * there, position]


def _remove(command: str, table: str, chains: t.Sequence[Chain], present: Table, runner: Runner) -> bool:
    changed = False
    for chain in chains:
        if not _is_there(chain, present):
            continue
        changed = True
        delete = [command, *WAIT, "-t", table, "-D", chain.built_in, "-j", chain.name]
        for _count in range(MOST_COPIES):
            if not answer(delete, runner):
                break
        for verb in ("-F", "-X"):
            answer([command, *WAIT, "-t", table, verb, chain.name], runner)
    return changed


def _present(
    command: str, table: str, chains: t.Sequence[Chain], interface: str, runner: Runner, needed: bool = False
) -> Table:
    """The table. Empty without ``chains``, and on a host without IPv6 that needs none of them."""
    if not chains:
        return {}
    try:
        return read(command, table, chains, interface, runner)
    except NatFailoverError:
        if needed or command != "ip6tables":
            raise
        return {}


def _is_there(chain: Chain, present: Table) -> bool:
    return chain.name in present or copies(present, chain.built_in, chain.jump) > 0
