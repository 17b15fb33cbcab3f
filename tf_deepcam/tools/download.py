"""Fetches samples over HTTP(S) from an index page, the list of links that a web server shows for a folder.

A file is written as `.NAME.KEY.part`, where KEY stands for the server's size and version of it, and takes its name
when it is whole: a download that was stopped goes on where it ended, unless the server's file has changed.
"""

import hashlib
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urljoin, urlsplit

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from common.errors import UserError

MAX_STREAMS = 4  # what a public server may be asked for
_ATTEMPTS = 8  # in a row without a byte
_LONGEST_PAUSE = 60.0  # seconds
_TIMEOUTS = (20, 60)  # seconds: to connect, and between two packets
_BLOCK = 1 << 16  # bytes; what is lost at most when a connection breaks
_HDF5 = b"\x89HDF\r\n\x1a\n"


class _TroubleError(Exception):
    """Worth another attempt. `wait`: seconds the server asked for."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """A file as the server describes it."""

    bytes: int
    key: str  # changes when the file does


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append(target)


def names_in(page: str, url: str) -> list:
    """Names of the HDF5 files that an index page at `url` links to, sorted, samples after stats.h5.

    Raises UserError for a link whose name would leave the target folder.
    """
    parser = _Links()
    parser.feed(page)
    folder = urlsplit(url)
    names = set()
    for link in parser.links:
        target = urlsplit(urljoin(url, link.split("?")[0].split("#")[0]))
        parent, _, last = target.path.rpartition("/")
        name = unquote(last)
        if not name.endswith(".h5"):
            continue
        elsewhere = (target.netloc, f"{parent}/") != (folder.netloc, folder.path)
        if elsewhere or ".." in link or "/" in name or "\\" in name or "\0" in name or name.startswith("."):
            raise UserError(f"{url}: the link '{link}' leaves the folder: refused, nothing was fetched")
        names.add(name)
    return sorted(names, key=lambda name: (name.startswith("data-"), name))


class Downloader:
    """Fetches files of one folder of a server. Used by several threads; `progress` may be given to show it."""

    def __init__(self, url: str, target: Path, first_pause: float, progress: Progress):
        """first_pause: seconds before the second attempt, doubled for each further one."""
        self._url, self._target, self._first_pause, self._progress = url, target, first_pause, progress
        self.bytes = self.retries = 0
        self._counting, self._stopped = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """End every thread's work soon; what is there is kept."""
        self._stopped.set()

    def get(self, session: requests.Session, url: str, *, method: str = "GET", **headers: str) -> requests.Response:
        """One request. Raises _TroubleError if another attempt may help, UserError if not."""
        try:
            # Compressed transfer would make sizes and offsets those of another stream.
            headers = {"Accept-Encoding": "identity", **headers}
            reply = session.request(method, url, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=True)
        except requests.RequestException as error:
            raise _TroubleError(f"{type(error).__name__}: no answer") from error
        if reply.status_code in (408, 429) or reply.status_code >= 500:
            wait = reply.headers.get("Retry-After", "")
            reply.close()
            raise _TroubleError(f"HTTP {reply.status_code}", float(wait) if wait.isdigit() else 0.0)
        if reply.status_code >= 400 and reply.status_code != 416:
            reply.close()
            raise UserError(f"{url}: the server answers HTTP {reply.status_code} {reply.reason}")
        return reply

    def persist(self, what: str, attempt, size_so_far=lambda: 0):
        """Call `attempt` until it succeeds; gives up after several attempts in a row that brought no byte."""
        pause, failures, before = self._first_pause, 0, size_so_far()
        while True:
            try:
                return attempt()
            except _TroubleError as trouble:
                now = size_so_far()
                failures = failures + 1 if now <= before else 1
                if now > before:
                    pause, before = self._first_pause, now
                if failures >= _ATTEMPTS:
                    raise UserError(
                        f"{what}: gave up after {failures} attempts in a row ({trouble}); what is there is kept, "
                        "the same command goes on from it"
                    ) from trouble
                with self._counting:
                    self.retries += 1
                if self._stopped.wait(max(pause, trouble.wait)):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)

    def index(self) -> str:
        """The text of the index page."""

        def attempt() -> str:
            with requests.Session() as session, self.get(session, self._url) as reply:
                try:
                    return reply.text
                except requests.RequestException as error:
                    raise _TroubleError("the connection broke") from error

        return self.persist(self._url, attempt)

    def fetch(self, name: str) -> bool:
        """Bring one file into the target folder; False if it was there, whole. Raises UserError."""
        url, final = urljoin(self._url, requests.utils.quote(name)), self._target / name
        with requests.Session() as session:
            remote = self.persist(url, lambda: self._describe(session, url))
            if final.exists():
                if final.stat().st_size != remote.bytes:
                    raise UserError(
                        f"{final}: exists with {final.stat().st_size} bytes, the server's has {remote.bytes}; it is "
                        "left as it is: move it away to fetch it anew"
                    )
                return False
            part = self._target / f".{name}.{remote.key}.part"
            try:
                free, there = shutil.disk_usage(self._target).free, _size(part)
                if remote.bytes - there > free:
                    raise UserError(f"{final}: {remote.bytes - there} bytes are missing, {free} are free on this disk")
                task = self._progress.add_task(name, total=remote.bytes, completed=there)
                self.persist(url, lambda: self._go_on(session, url, part, remote, task), lambda: _size(part))
                self._progress.remove_task(task)
                _check_whole(part, remote, url)
                os.replace(part, final)
            except OSError as error:
                raise UserError(f"{final}: cannot be written ({error.strerror})") from error
        return True

    def _describe(self, session: requests.Session, url: str) -> Remote:
        with self.get(session, url, method="HEAD") as reply:
            size = reply.headers.get("Content-Length", "")
            version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        if not size.isdigit():
            raise UserError(f"{url}: the server does not tell the file's size, so a broken file could not be noticed")
        return Remote(int(size), hashlib.sha256(f"{url} {size} {version}".encode()).hexdigest()[:12])

    def _go_on(self, session: requests.Session, url: str, part: Path, remote: Remote, task) -> None:
        """Append what is missing to `part`."""
        start = _size(part)
        if start > remote.bytes:
            part.unlink()
            start = 0
        if start == remote.bytes and part.exists():
            return
        with self.get(session, url, **({"Range": f"bytes={start}-"} if start else {})) as reply:
            if start and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                start = 0  # the server sends the file from its beginning, whatever was asked for
            self._progress.update(task, completed=start)
            with open(part, "ab") as file:
                file.truncate(start)
                try:
                    for block in reply.iter_content(_BLOCK):
                        file.write(block)
                        with self._counting:
                            self.bytes += len(block)
                        self._progress.advance(task, len(block))
                        if self._stopped.is_set():
                            return
                except requests.RequestException as error:
                    raise _TroubleError("the connection broke") from error
        if _size(part) < remote.bytes and not self._stopped.is_set():
            raise _TroubleError("the connection ended early")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_whole(part: Path, remote: Remote, url: str) -> None:
    size = _size(part)
    with open(part, "rb") as file:
        begins = file.read(len(_HDF5))
    if size != remote.bytes or begins != _HDF5:
        what = f"{size} bytes came, {remote.bytes} were announced" if size != remote.bytes else "it is no HDF5 file"
        part.unlink()
        raise UserError(f"{url}: {what}; it was thrown away: look at the address in a browser, then start again")


def main(
    url: str, target_dir: str, num_files: Optional[int], num_streams: int, force: bool, first_pause: float = 1.0
) -> int:
    """Fetch stats.h5 (where there is one) and the first num_files samples by name (None is all)."""
    if num_streams > MAX_STREAMS and not force:
        raise UserError(
            f"--num-streams {num_streams}: a public server should not be asked for more than {MAX_STREAMS} at once; "
            "add --force if it is your own"
        )
    url, target = url if url.endswith("/") else f"{url}/", Path(target_dir).expanduser()
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url}: an address that begins with http:// or https:// expected")
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = Console(quiet=not sys.stdout.isatty())  # a disabled Progress still prints an empty line
    with Progress(*columns, transient=True, console=quiet) as progress:
        downloader = Downloader(url, target, first_pause, progress)
        names = names_in(downloader.index(), url)
        samples = [name for name in names if name.startswith("data-")][:num_files]
        names = [name for name in names if not name.startswith("data-")] + samples
        if not names:
            raise UserError(f"{url}: this page links to no .h5 file; give the address of the folder that lists them")
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{target}: cannot be made ({error.strerror})") from error
        fetched = _fetch_all(downloader, names, num_streams, progress)
    seconds = time.monotonic() - started
    print(
        f"{target}: {fetched} of {len(names)} files fetched, {len(names) - fetched} were there; "
        f"{downloader.bytes / 1e9:.3f} GB in {seconds:.1f} s, {downloader.retries} retries"
    )
    return 0


def _fetch_all(downloader: Downloader, names: list, streams: int, progress: Progress) -> int:
    """How many files were fetched. The first error ends all streams; what they brought is kept for the next time."""
    files = progress.add_task(f"0 of {len(names)} files", total=None)
    fetched = 0
    with ThreadPoolExecutor(streams, thread_name_prefix="download") as threads:
        jobs = [threads.submit(downloader.fetch, name) for name in names]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                fetched += job.result()
                progress.update(files, description=f"{done} of {len(names)} files", completed=downloader.bytes)
        except BaseException:
            downloader.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return fetched
