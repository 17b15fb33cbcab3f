"""Fetching from a real web server, one that breaks connections, forgets ranges, is busy, or lies."""

import fcntl
import http.server
import re
import threading
from functools import partial

import numpy as np
import pytest

from common.downloads import downloader
from common.errors import UserError
from tests.helpers import WebServer, errors, run
from tf_deepcam.tools import download

FILES = {
    "stats.h5": 5_000,
    **{f"data-{year}-01-01-00-1.h5": 3_000_000 + year for year in range(2000, 2005)},
}


def content(name: str) -> bytes:
    seed = [ord(letter) for letter in name]
    body = np.random.Generator(np.random.PCG64(seed)).bytes(FILES[name] - 8)
    return b"\x89HDF\r\n\x1a\n" + body


class Server(WebServer):
    """A folder over HTTP. `faults`: by file name, what each next GET of it suffers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.links = [*FILES, "../", "?C=M;O=A", "readme.txt"]
        self.faults, self.requests, self.busy, self.most = {}, [], 0, 0
        self.ranges, self.version, self.lock = True, "1", threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/climate/"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(200, len(content(self.path.split("/")[-1])))

    def _answer(self, code: int, length: int, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", self.server.version)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        name = self.path.split("/")[-1]
        with self.server.lock:
            self.server.requests.append((name, self.headers.get("Range")))
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
            fault = self.server.faults.get(name, []).pop(0) if self.server.faults.get(name) else None
        try:
            self._serve(name, fault)
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def _serve(self, name: str, fault) -> None:
        if name == "":
            page = "".join(f'<a href="{link}">x</a>' for link in self.server.links).encode()
            self._answer(200, len(page))
            self.wfile.write(page)
            return
        if fault == "busy":
            self._answer(503, 0, Retry_After="0")
            return
        if fault == "gone":
            self._answer(404, 0)
            return
        if fault and fault.startswith("to "):
            self._answer(302, 0, Location=fault[3:])
            return
        if fault == "gzip":
            self._answer(200, 5, Content_Encoding="gzip")
            self.wfile.write(b"12345")
            return
        whole = b"<html>sign in</html>".ljust(FILES[name]) if fault == "portal" else content(name)
        start, wanted = 0, re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted and self.server.ranges:
            start = int(wanted.group(1))
            self._answer(206, len(whole) - start, Content_Range=f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        else:
            self._answer(200, len(whole) + (4 if fault == "more" else 0))
        if fault == "more":
            self.wfile.write(whole + b"more")
            return
        if fault == "break":  # a third of what is missing, then the line is cut
            self.wfile.write(whole[start : start + (len(whole) - start) // 3])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(whole[start:])


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


fetch = partial(download.main, num_files=None, num_streams=4, force=False, first_pause=0.01)


def check(folder, names) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name in names:
        assert (folder / name).read_bytes() == content(name)


def test_everything_arrives_and_is_not_fetched_twice(server, tmp_path, capsys):
    fetch(server.url.rstrip("/"), str(tmp_path / "new"))
    check(tmp_path / "new", FILES)
    assert "6 of 6 files fetched" in capsys.readouterr().out
    assert server.most <= 4
    before = len(server.requests)
    fetch(server.url, str(tmp_path / "new"))
    assert server.requests[before:] == [("", None)]
    assert "0 of 6 files fetched, 6 were there" in capsys.readouterr().out


def test_broken_connections_and_a_busy_server_are_survived_by_resuming(server, tmp_path):
    server.faults = {name: ["break", "busy", "break", "break"] for name in FILES}
    fetch(server.url, str(tmp_path))
    check(tmp_path, FILES)
    ranges = [wanted for name, wanted in server.requests if name == "data-2003-01-01-00-1.h5"]
    starts = [int(re.sub(r"\D", "", wanted)) for wanted in ranges[1:]]  # after a break, busy, a break, a break
    assert ranges[0] is None
    assert len(starts) == 4
    assert 900_000 < starts[0] == starts[1] < starts[2] - 600_000 < starts[3] - 900_000


def test_a_server_without_ranges_is_read_from_the_start_again(server, tmp_path):
    server.ranges, server.faults = False, {"stats.h5": ["break", "break"]}
    fetch(server.url, str(tmp_path), num_files=1)
    check(tmp_path, ["stats.h5", "data-2000-01-01-00-1.h5"])


def test_giving_up_keeps_what_is_there_and_the_next_time_goes_on(server, tmp_path):
    name = "data-2000-01-01-00-1.h5"
    server.faults = {name: ["break", *["busy"] * 20]}
    with pytest.raises(UserError, match=r"data-2000-01-01-00-1\.h5: gave up after 8 attempts in a row \(HTTP 503\)"):
        fetch(server.url, str(tmp_path), num_files=1)
    assert not (tmp_path / name).exists()
    server.faults = {}
    before = len(server.requests)
    fetch(server.url, str(tmp_path), num_files=1)
    ((_, wanted),) = (request for request in server.requests[before:] if request[0] == name)
    assert wanted.startswith("bytes=9")
    check(tmp_path, ["stats.h5", name])


def test_what_another_program_is_fetching_is_not_mixed_with_this(server, tmp_path):
    """Without a checksum, bytes from two programs would have the right number; the other one is not disturbed."""
    name = "data-2000-01-01-00-1.h5"
    server.faults = {name: ["break", *["busy"] * 20]}
    with pytest.raises(UserError):
        fetch(server.url, str(tmp_path), num_files=1)
    server.faults = {}
    (part,) = tmp_path.glob(".*.part")
    before = part.read_bytes()
    with open(part, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"\.part: another program is fetching this file"):
            fetch(server.url, str(tmp_path), num_files=1)
    assert part.read_bytes() == before
    fetch(server.url, str(tmp_path), num_files=1)
    check(tmp_path, ["stats.h5", name])


def test_a_file_that_changed_on_the_server_is_not_pieced_together(server, tmp_path):
    name = "data-2000-01-01-00-1.h5"
    server.faults = {name: ["break", *["busy"] * 20]}
    with pytest.raises(UserError):
        fetch(server.url, str(tmp_path), num_files=1)
    server.faults, server.version = {}, "2"
    before = len(server.requests)
    fetch(server.url, str(tmp_path), num_files=1)
    assert (name, None) in server.requests[before:]
    assert (tmp_path / name).read_bytes() == content(name)


@pytest.mark.parametrize(
    "link",
    [
        "../data-1.h5",
        "..%2fdata-1.h5",
        "%2e%2e%2fdata-1.h5",
        "/etc/data-1.h5",
        "http://other.org/climate/data-1.h5",
        "a%5cdata-1.h5",
        ".data-1.h5",
        "sub/data-1.h5",
    ],
)
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_fetched(server, tmp_path, link):
    server.links.append(link)
    with pytest.raises(UserError, match=f"the link '{re.escape(link)}' leaves the folder: refused"):
        fetch(server.url, str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_file_of_another_size_is_left_alone(server, tmp_path):
    (tmp_path / "stats.h5").write_text("mine")
    with pytest.raises(UserError, match="exists with 4 bytes, the server's has 5000; it is left as it is"):
        fetch(server.url, str(tmp_path), num_files=1)
    assert (tmp_path / "stats.h5").read_text() == "mine"


@pytest.mark.parametrize(("fault", "message"), [("portal", "it is not an HDF5 file"), ("gone", "HTTP 404")])
def test_what_is_no_sample_is_not_kept(server, tmp_path, fault, message):
    server.faults = {"stats.h5": [fault]}
    with pytest.raises(UserError, match=message):
        fetch(server.url, str(tmp_path), num_files=1)
    assert not (tmp_path / "stats.h5").exists()


def test_more_than_four_streams_need_force(server, tmp_path):
    with pytest.raises(UserError, match="not be asked for more than 4 at once; add --force"):
        fetch(server.url, str(tmp_path), num_streams=5)
    fetch(server.url, str(tmp_path), num_streams=6, force=True)
    check(tmp_path, FILES)


def test_a_full_disk_is_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloader.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="bytes are still to be fetched, but only 10 are free on this disk"):
        fetch(server.url, str(tmp_path), num_files=1)


def test_the_command_says_what_is_wrong_in_one_line(server, tmp_path):
    server.links = ["readme.txt"]
    output = run("-m", "tf_deepcam", "download", server.url, "--target-dir", tmp_path)
    assert output.returncode == 1
    assert errors(output.stdout) == [
        f"error: {server.url}: this page links to no .h5 file; give the address of the folder that lists them"
    ]


def test_a_longer_file_is_left_alone_and_a_longer_part_is_thrown_away(server, tmp_path):
    name = "data-2003-01-01-00-1.h5"
    (tmp_path / name).write_bytes(content(name) + b"more")
    with pytest.raises(UserError, match=rf"exists with {FILES[name] + 4} bytes, the server's has {FILES[name]}"):
        fetch(server.url, str(tmp_path))
    assert (tmp_path / name).read_bytes() == content(name) + b"more"
    (tmp_path / name).unlink()
    for part in tmp_path.glob(".*.part"):
        part.unlink()
    server.faults = {name: ["break"] * 20}
    with pytest.raises(UserError, match="gave up"):
        fetch(server.url, str(tmp_path), first_pause=0.0)
    (part,) = tmp_path.glob(f".{name}.*.part")
    part.write_bytes(b"x" * (FILES[name] + 9))
    server.faults = {}
    fetch(server.url, str(tmp_path))
    assert (tmp_path / name).read_bytes() == content(name)


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("http://localhost:99999/x/", {}, "is not an address"),
        ("http://[::1/x/", {}, "is not an address"),
        ("ftp://localhost/x/", {}, "an address that begins with http"),
        ("http:///x/", {}, "an address that begins with http"),
        ("http://localhost/\x1b[31m/", {}, "an address that begins with http"),
        ("http://localhost/", {"num_streams": 0}, "--num-streams 0: at least 1"),
        ("http://localhost/", {"num_files": -1}, "--num-files -1: at least 1"),
        ("http://localhost/", {"num_files": 0}, "--num-files 0: at least 1"),
    ],
)
def test_wrong_addresses_and_numbers_are_one_line_at_once(tmp_path, address, options, message):
    with pytest.raises(UserError, match=message) as caught:
        fetch(address, str(tmp_path / "new"), **options)
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["data-\x07.h5", "data-%0a.h5", "data-%1b[31m.h5", f"data-{'x' * 300}.h5"])
def test_names_that_a_terminal_would_obey_or_no_disk_takes_are_refused(server, tmp_path, name):
    server.links = [name]
    with pytest.raises(UserError, match="refused, nothing was fetched") as caught:
        fetch(server.url, str(tmp_path))
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_end_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("common.downloads.client.LONGEST_PAGE", 1000)
    server.links = [f"data-{number}.h5" for number in range(500)]
    with pytest.raises(UserError, match="the page is longer than 1000 bytes"):
        fetch(server.url, str(tmp_path))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("more", "the server sends more than the .* bytes that it announced|it was deleted"),
        ("gzip", "sends it compressed"),
    ],
)
def test_a_server_that_sends_other_bytes_than_it_announced_is_stopped(server, tmp_path, fault, message):
    name = "data-2003-01-01-00-1.h5"
    server.faults = {name: [fault] * 20}
    with pytest.raises(UserError, match=message):
        fetch(server.url, str(tmp_path), first_pause=0.0)
    assert not (tmp_path / name).exists()


def test_redirects_are_bounded_and_another_host_is_said(server, tmp_path, capsys):
    port = server.server_address[1]
    name = "data-2003-01-01-00-1.h5"
    server.faults = {name: [f"to http://localhost:{port}/climate/{name}"] * 2}
    fetch(server.url, str(tmp_path))
    assert f"the server redirects to localhost:{port}" in capsys.readouterr().out
    assert (tmp_path / name).read_bytes() == content(name)
    (tmp_path / name).unlink()
    server.faults = {name: [f"to {server.url}{name}"] * 50}
    with pytest.raises(UserError, match="Exceeded 5 redirects"):
        fetch(server.url, str(tmp_path))
