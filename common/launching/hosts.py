"""Hosts as -H gives them, `name:slots,...`, checked before anything is started on them."""

import re
import socket
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from common.errors import UserError

_PART = re.compile(r"(?P<name>[^\s:,-][^\s:,]*)(?::(?P<slots>\d+))?")
_LOOK_UPS = 16  # at a time
_SSH_SECONDS = 10


class Host(NamedTuple):
    """A host and its slots, the ranks that it may run."""

    name: str
    slots: int


def parse_hosts(text: str) -> list[Host]:
    """Parse the value of -H; empty is no host.

    Raises:
        UserError: for what is not `name:slots,...`, no slots, or a host that is named twice.
    """
    if not text:
        return []
    hosts = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        slots = int(match["slots"] or 1) if match else 0
        if match is None or not slots:
            raise UserError(f"-H {text}: '{part}' is not a host with the number of its ranks: such as node1:4,node2:4")
        hosts.append(Host(match["name"], slots))
    name, count = Counter(host.name for host in hosts).most_common(1)[0]
    if count > 1:
        total = sum(host.slots for host in hosts if host.name == name)
        raise UserError(
            f"-H {text}: {name} is named {count} times: name it once, with all of its slots ({name}:{total})"
        )
    return hosts


def cut_slots(hosts: str, ranks: int) -> str:
    """Cut `name:slots,...` to its first `ranks` slots.

    It is needed because horovodrun over Gloo starts a rank on every slot, whatever -np says (Horovod 0.28.1).

    Raises:
        UserError: if there are fewer slots than ranks, or as parse_hosts does.
    """
    kept, missing = [], ranks
    for host in parse_hosts(hosts):
        slots = min(host.slots, missing)
        missing -= slots
        if slots:
            kept.append(f"{host.name}:{slots}")
    if kept and missing:
        raise UserError(f"-H {hosts}: has {ranks - missing} slots for {ranks} ranks (-np): give more, or fewer ranks")
    return ",".join(kept)


def check_known(hosts: list[Host]) -> None:
    """Raise UserError for hosts whose names nobody knows: horovodrun would wait for them."""
    with ThreadPoolExecutor(_LOOK_UPS) as threads:
        known = list(threads.map(lambda host: _is_known(host.name), hosts))
    unknown = [host.name for host, found in zip(hosts, known) if not found]
    if unknown:
        raise UserError(f"-H: there is no host '{unknown[0]}' ({len(unknown)} of {len(hosts)} names are unknown here)")


def _is_known(name: str) -> bool:
    return _resolves(name) or _resolves(_name_for_ssh(name))


def _resolves(name: str) -> bool:
    try:
        return bool(name) and bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def _name_for_ssh(name: str) -> str:
    """What ssh's own configuration calls the host, by which ranks are started; empty without ssh."""
    try:
        found = subprocess.run(["ssh", "-G", name], capture_output=True, text=True, timeout=_SSH_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (line.split(" ", 1) for line in found.splitlines())
    return next((words[1] for words in lines if words[0] == "hostname" and len(words) == 2), "")
