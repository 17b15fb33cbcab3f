"""Fetches samples over HTTP(S) from an index page, the list of links that a web server shows for a folder."""

import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urljoin, urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from common.downloads import LONGEST_NAME, MAX_STREAMS, Downloader, check_address, fetch_all
from common.errors import UserError


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
        if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
            raise UserError(f"{url}: links to a file named {ascii(name)[:100]}: refused, nothing was fetched")
        elsewhere = (target.netloc, f"{parent}/") != (folder.netloc, folder.path)
        if elsewhere or ".." in link or "/" in name or "\\" in name or "\0" in name or name.startswith("."):
            raise UserError(f"{url}: the link '{link}' leaves the folder: refused, nothing was fetched")
        names.add(name)
    return sorted(names, key=lambda name: (name.startswith("data-"), name))


def main(
    url: str, target_dir: str, num_files: Optional[int], num_streams: int, force: bool, first_pause: float = 1.0
) -> int:
    """Fetch stats.h5 (where there is one) and the first num_files samples by name (None is all)."""
    if num_streams > MAX_STREAMS and not force:
        raise UserError(
            f"--num-streams {num_streams}: a public server should not be asked for more than {MAX_STREAMS} at once; "
            "add --force if it is your own"
        )
    if num_streams < 1:
        raise UserError(f"--num-streams {num_streams}: at least 1 is needed")
    if num_files is not None and num_files < 1:
        raise UserError(f"--num-files {num_files}: at least 1 is needed; leave it away to fetch all")
    url, target = url if url.endswith("/") else f"{url}/", Path(target_dir).expanduser()
    check_address(url)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = Console(quiet=not sys.stdout.isatty())  # a disabled Progress still prints an empty line
    with Progress(*columns, transient=True, console=quiet) as progress:
        downloader = Downloader(url, target, first_pause, progress)
        names = names_in(downloader.page(), url)
        samples = [name for name in names if name.startswith("data-")][:num_files]
        names = [name for name in names if not name.startswith("data-")] + samples
        if not names:
            raise UserError(f"{url}: this page links to no .h5 file; give the address of the folder that lists them")
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{target}: cannot be made ({error.strerror})") from error
        fetched = fetch_all(downloader, names, num_streams, progress)
    seconds = time.monotonic() - started
    print(
        f"{target}: {fetched} of {len(names)} files fetched, {len(names) - fetched} were there; "
        f"{downloader.bytes / 1e9:.3f} GB in {seconds:.1f} s, {downloader.retries} retries"
    )
    return 0
