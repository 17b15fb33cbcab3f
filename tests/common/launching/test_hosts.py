"""Hosts as -H gives them: every mistake is one line, before anything is started."""

import pytest

from common.errors import UserError
from common.launching import hosts
from common.launching.hosts import Host, parse_hosts
from common.launching.run import parse
from tests.helpers import run

PROGRAM = ["--", "cloudmask", "train"]


def test_hosts_and_their_slots():
    assert parse_hosts("") == []
    assert parse_hosts("node-1:4,node2.site:2,c") == [Host("node-1", 4), Host("node2.site", 2), Host("c", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:two", r"-H a:two: 'a:two' is not a host with the number of its ranks"),
        ("a:-1", r"'a:-1' is not a host"),
        ("a:0", r"'a:0' is not a host"),
        ("a:1.5", r"'a:1\.5' is not a host"),
        (":2", r"':2' is not a host"),
        ("a:2,,b:2", r"'' is not a host"),
        ("a:2,", r"'' is not a host"),
        ("a:2 b:2", r"'a:2 b:2' is not a host"),
        ("-a:2", r"'-a:2' is not a host"),
        ("a:2,b:1,a:1", r"a is named 2 times: name it once, with all of its slots \(a:3\)"),
        ("a:1,b:1", r"has 2 slots for 3 ranks \(-np\)"),
    ],
)
def test_mistakes_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse(["-np", "3", f"-H{text}", *PROGRAM])


def test_a_host_that_nobody_knows_is_refused(monkeypatch):
    monkeypatch.setattr(hosts, "_resolves", lambda name: name in ("localhost", "10.0.0.7"))
    monkeypatch.setattr(hosts, "_name_for_ssh", lambda name: "10.0.0.7" if name == "known-to-ssh" else name)
    assert parse(["-np", "3", "-H", "localhost:2,known-to-ssh:1", *PROGRAM]).np == 3
    with pytest.raises(UserError, match=r"-H: there is no host 'node9' \(1 of 2 names are unknown here\)"):
        parse(["-np", "3", "-H", "localhost:2,node9:1", *PROGRAM])


def test_names_are_looked_up():
    assert hosts._is_known("localhost")
    assert not hosts._is_known("no-such-host.invalid")
    assert not hosts._is_known("x" * 300)


def test_it_is_one_line_for_the_user():
    done = run("-m", "common.run", "-np", 2, "-H", "localhost:1", *PROGRAM)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stdout.startswith("error: -H localhost:1: has 1 slots for 2 ranks (-np)")
