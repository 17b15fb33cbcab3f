"""Fetching scenes from a server that speaks S3's XML: pages of 1000 keys, breaks, checksums, hostile names."""

import argparse
import hashlib
import http.server
import threading
from html import escape
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from cloudmask.tools import download
from common.errors import UserError
from tests.helpers import WebServer, errors, run

PREFIX = "es/cloud_slstr_ds1/inference/"
NAMES = [f"{part}/S3A_SL_1_RBT____2018010{day}T000000.hdf" for part in ("day", "night") for day in (1, 2, 3)]


class Store(WebServer):
    """A bucket over HTTP. `keys` are listed, `page` at a time; what is not in `objects` does not exist."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = {PREFIX + name: self.content(name) for name in NAMES}
        self.keys, self.page, self.break_after, self.requests = [PREFIX, *self.objects], 1000, {}, []
        self.etags: dict = {}
        self.body = self.token = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/bucket"

    @staticmethod
    def content(name: str) -> bytes:
        rng = np.random.Generator(np.random.PCG64(list(name.encode())))
        return b"\x89HDF\r\n\x1a\n" + rng.bytes(300_000)

    def list(self, query: dict) -> str:
        if self.body is not None:
            return self.body
        keys = [key for key in self.keys if key.startswith(query["prefix"][0]) or not key.startswith("es/")]
        first = int(query.get("continuation-token", ["0"])[0].removeprefix("to+ken/"))
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in keys[first:][: self.page]
        )
        more = first + self.page < len(keys)
        token = self.token or f"to+ken/{first + self.page}"
        following = f"<NextContinuationToken>{token}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{entries}</ListBucketResult>"
        )


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self.reply(body=False)

    def do_GET(self) -> None:
        self.reply(body=True)

    def reply(self, body: bool) -> None:
        store, parts = self.server, urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/bucket").lstrip("/")
        store.requests.append((self.command, key, parts.query, self.headers.get("Range")))
        if not key:
            assert parse_qs(parts.query)["list-type"] == ["2"]
            content, code = store.list(parse_qs(parts.query)).encode(), 200
        elif key in store.objects:
            content, code = store.objects[key], 200
        else:
            content, code = b"<Error><Code>NoSuchKey</Code></Error>", 404
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else code)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", store.etags.get(key, f'"{hashlib.md5(content).hexdigest()}"'))
        self.end_headers()
        if body:
            left = store.break_after.pop(key, None)
            self.wfile.write(content[start:] if left is None else content[start:][:left])
            if left is not None:
                self.close_connection = True


@pytest.fixture
def store():
    server = Store()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(store: Store, target, **changes) -> int:
    options = {"part": "inference", "target_dir": str(target), "num_files": None, "num_streams": 2, "force": False}
    return download.main(argparse.Namespace(url=store.url, **{**options, **changes}), first_pause=0.01)


def test_all_scenes_arrive_in_their_folders_and_are_not_fetched_twice(store, tmp_path, capsys):
    assert fetch(store, tmp_path) == 0
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == store.content(name)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.hdf")) == NAMES
    assert "6 of 6 files fetched, 0 were there" in capsys.readouterr().out
    assert fetch(store, tmp_path) == 0
    assert "0 of 6 files fetched, 6 were there" in capsys.readouterr().out
    gets = [key for command, key, _, _ in store.requests if command == "GET" and key]
    assert len(gets) == 6


def test_a_list_of_several_pages_is_read_to_its_end(store, tmp_path):
    """2500 keys, 1000 a page; the token holds characters that must be quoted."""
    store.keys = [f"{PREFIX}day/S3A_{number:04d}.hdf" for number in range(2500)] + store.keys
    store.objects[f"{PREFIX}day/S3A_2499.hdf"] = store.content("x")
    downloader_pages = []
    fetch_pages = type(
        "Pages", (), {"page": lambda _, url: downloader_pages.append(url) or store.list(parse_qs(urlsplit(url).query))}
    )
    keys = download.list_keys(fetch_pages(), store.url, PREFIX)
    assert len(keys) == 2500 + 1 + 6
    assert len(downloader_pages) == 3
    assert downloader_pages[1].endswith("continuation-token=to%2Bken%2F1000")
    store.objects |= {key: store.content(key) for key in keys[:2]}
    assert fetch(store, tmp_path, num_files=1) == 0
    assert len(list(tmp_path.rglob("*.hdf"))) == 1


def test_a_broken_connection_is_gone_on_with(store, tmp_path):
    store.break_after = {PREFIX + NAMES[0]: 100_000, PREFIX + NAMES[4]: 5}
    assert fetch(store, tmp_path) == 0
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == store.content(name)
    assert any(asked and asked.startswith("bytes=") for _, _, _, asked in store.requests)


def test_bytes_that_do_not_fit_their_checksum_are_thrown_away(store, tmp_path):
    store.etags[PREFIX + NAMES[1]] = f'"{"0" * 32}"'
    with pytest.raises(UserError, match="its checksum is not the one that the server gives; it was deleted"):
        fetch(store, tmp_path)
    assert not (tmp_path / NAMES[1]).exists()
    assert not list(tmp_path.rglob(f".{NAMES[1].split('/')[1]}*"))


def test_an_object_that_was_stored_in_parts_has_no_checksum_to_compare(store, tmp_path):
    store.etags = {PREFIX + name: '"0123456789abcdef0123456789abcdef-12"' for name in NAMES}
    assert fetch(store, tmp_path) == 0


@pytest.mark.parametrize(
    "key",
    [
        f"{PREFIX}../../escaped.hdf",
        f"{PREFIX}/rooted.hdf",
        f"{PREFIX}day//empty.hdf",
        f"{PREFIX}day/.hidden.hdf",
        f"{PREFIX}a/b/c/d/deep.hdf",
        f"{PREFIX}day/back\\slash.hdf",
        f"{PREFIX}day/line\nbreak.hdf",
        f"{PREFIX}day/{'long' * 60}.hdf",
        "elsewhere/S3A.hdf",
    ],
)
def test_a_key_that_would_leave_the_folder_stops_everything(store, tmp_path, key):
    store.keys = [key, *store.keys]
    with pytest.raises(UserError, match=r"lists a file named .*: refused, nothing was fetched") as caught:
        fetch(store, tmp_path / "inside")
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<html><body>Welcome</body></html>", "answers with <html>, a store's <ListBucketResult> expected"),
        ("not even XML", "does not answer with a store's list"),
        ("<ListBucketResult>", "does not answer with a store's list"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult/>', "answers with an XML document type"),
        ("<ListBucketResult/>", "holds no scene below es/cloud_slstr_ds1/inference/"),
        ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "goes on, but brings nothing new"),
    ],
)
def test_what_is_no_list_is_one_line(store, tmp_path, body, message):
    store.body = body
    with pytest.raises(UserError, match=message):
        fetch(store, tmp_path)


def test_a_list_that_never_ends_is_given_up(store, tmp_path):
    store.page, store.token = 2, "to+ken/0"  # always the first page again
    with pytest.raises(UserError, match="goes on, but brings nothing new"):
        fetch(store, tmp_path)


def test_the_command_as_a_user_types_it(store, tmp_path):
    done = run("-m", "cloudmask", "download", "--part", "inference", "--target-dir", tmp_path, "--url", store.url)
    assert done.returncode == 0, done.stdout
    assert "6 of 6 files fetched" in done.stdout
    wrong = run("-m", "cloudmask", "download", "--part", "test", "--target-dir", tmp_path)
    assert errors(wrong.stdout) == ["error: --part test: there are training, inference, one-day, ssts"]
