"""Download of samples over HTTP(S) from an index page, the list of links that a web server shows for a folder."""

from html.parser import HTMLParser
from typing import Optional
from urllib.parse import unquote, urljoin, urlsplit

from common.downloads.command import DownloadOptions, download
from common.downloads.downloader import LONGEST_NAME, Downloader
from common.errors import UserError


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        target = dict(attrs).get("href")
        if tag == "a" and target:
            self.links.append(target)


def names_in(page: str, url: str) -> list:
    """List the names of the HDF5 files that an index page at `url` links to, sorted, samples after stats.h5.

    Raises:
        UserError: for a link whose name would leave the target folder.
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
    """Fetch stats.h5, if there is one, and samples.

    Args:
        url: address of the index page.
        target_dir: folder for the files.
        num_files: samples to fetch, the first by name; None is all.
        num_streams: files at a time.
        force: allow more streams than usual.
        first_pause: seconds before the first retry.

    Returns:
        The exit code.
    """
    url = url if url.endswith("/") else f"{url}/"

    def names(downloader: Downloader) -> list[str]:
        listed = names_in(downloader.page(), url)
        samples = [name for name in listed if name.startswith("data-")][:num_files]
        chosen = [name for name in listed if not name.startswith("data-")] + samples
        if not chosen:
            raise UserError(f"{url}: this page links to no .h5 file; give the address of the folder that lists them")
        return chosen

    options = DownloadOptions(target_dir, num_files, num_streams, force)
    return download(url, options, names, first_pause=first_pause)
