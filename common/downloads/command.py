"""The download command of a benchmark: several streams, progress, and one line at the end.

The benchmark finds out which files there are, from an index page or from an object store's list.
"""

import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Protocol
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from common.data.files import make_folder
from common.downloads.downloader import Downloader
from common.errors import UserError

MAX_STREAMS = 4  # at once from a public server
_PROGRESS_SECONDS = 5.0  # between lines of progress where there is no terminal, unless a file is completed


def check_address(url: str) -> None:
    """Raise UserError unless `url` is the address of a web server."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError as error:  # such as a port of 99999
        raise UserError(f"{url}: is not an address ({error})") from error
    if not valid:
        raise UserError(f"{url}: expected an address that begins with http:// or https:// and a server's name")


class Fetcher(Protocol):
    """What fetches files by several threads. bytes: received so far."""

    bytes: int

    def fetch(self, name: Any) -> bool:
        """Fetch one; False if it was there already."""
        ...

    def stop(self) -> None:
        """Make all threads end soon; what they received is kept."""
        ...


def fetch_all(downloader: Fetcher, names: list, streams: int, progress: Progress) -> int:
    """Fetch files by several streams. The first error ends all of them; what they received is kept for the next call.

    Args:
        downloader: fetches the files.
        names: the files, as it takes them.
        streams: files fetched at once.
        progress: shows the progress.

    Returns:
        The number of files that were fetched, the others being there already.

    Raises:
        UserError: if a file cannot be fetched.
    """
    files = progress.add_task(f"0 of {len(names)} files", total=None)
    fetched = 0
    with ThreadPoolExecutor(streams, thread_name_prefix="download") as threads:
        jobs = [threads.submit(downloader.fetch, name) for name in names]
        waiting, before = set(jobs), -1
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=_PROGRESS_SECONDS, return_when=FIRST_COMPLETED)
                fetched += sum(job.result() for job in finished)
                done = len(jobs) - len(waiting)
                progress.update(files, description=f"{done} of {len(names)} files", completed=downloader.bytes)
                if not finished and not sys.stdout.isatty():
                    silent = "; the server is silent" if downloader.bytes == before else ""
                    print(f"  {done} of {len(names)} files, {downloader.bytes / 1e9:.3f} GB{silent}", flush=True)
                before = downloader.bytes
        except BaseException:
            downloader.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return fetched


class DownloadOptions(NamedTuple):
    """The options that every download command takes."""

    target_dir: str
    num_files: Optional[int]  # None for all
    num_streams: int
    force: bool  # allow more than MAX_STREAMS

    def check(self) -> None:
        """Raise UserError for numbers below 1, and for more streams than a public server should be asked for."""
        if self.num_streams > MAX_STREAMS and not self.force:
            raise UserError(
                f"--num-streams {self.num_streams}: a public server should not be asked for more than {MAX_STREAMS} at "
                "once; add --force if it is your own"
            )
        if self.num_streams < 1:
            raise UserError(f"--num-streams {self.num_streams}: at least 1 is needed")
        if self.num_files is not None and self.num_files < 1:
            raise UserError(f"--num-files {self.num_files}: at least 1 is needed; leave it out to fetch all files")


def download(
    url: str,
    options: DownloadOptions,
    names: Callable[[Downloader], list[str]],
    *,
    first_pause: float = 1.0,
    md5_etags: bool = False,
) -> int:
    """Run a benchmark's download command.

    Args:
        url: address below which the files are.
        options: options from the command line.
        names: finds the names of the files to fetch.
        first_pause: seconds before the second attempt at a request, doubled for each further one.
        md5_etags: whether ETags that look like MD5 checksums are such, as in S3 stores.

    Returns:
        The exit code, 0.

    Raises:
        UserError: if an option is not valid or a file cannot be fetched.
    """
    options.check()
    target = Path(options.target_dir).expanduser()
    check_address(url)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = Console(quiet=not sys.stdout.isatty())  # a disabled Progress still prints an empty line
    with Progress(*columns, transient=True, console=quiet) as progress:
        downloader = Downloader(url, target, first_pause, progress, md5_etags)
        to_fetch = names(downloader)
        make_folder(target)
        fetched = fetch_all(downloader, to_fetch, options.num_streams, progress)
    seconds = time.monotonic() - started
    print(
        f"{target}: {fetched} of {len(to_fetch)} files fetched, {len(to_fetch) - fetched} were there already; "
        f"{downloader.bytes / 1e9:.3f} GB in {seconds:.1f} s, {downloader.retries} retries"
    )
    return 0
