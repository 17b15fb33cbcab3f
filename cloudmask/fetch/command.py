"""The command: search, say what there is, fetch, and one line at the end."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cloudmask.fetch.catalogue import Catalogue, Offer
from cloudmask.fetch.delivery import Delivery, Fetcher
from cloudmask.fetch.query import parse
from common.cli.program import whole_number
from common.data.files import make_folder
from common.downloads.command import MAX_STREAMS, fetch_all
from common.errors import UserError


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--near", required=True, metavar="LAT,LON", help="a place that the products cover, such as 50.1,-4.2")
    add(
        "--at",
        required=True,
        metavar="DATE",
        help="a day such as 2026-06-15, for all its acquisitions, or a time such as 2026-06-15T10:30, for the nearest "
        "one; UTC",
    )
    add("--target", required=True, metavar="DIR", help="where the products go; existing ones are kept")
    add("--provider", metavar="NAME", help="eodag's name of a service, such as cop_dataspace; default eodag's order")
    add("--list", action="store_true", help="say what there is, and fetch nothing")
    add(
        "--num-streams",
        type=whole_number(1, MAX_STREAMS),
        default=MAX_STREAMS,
        metavar="N",
        help=f"files at a time, at most {MAX_STREAMS}, which services allow",
    )


def main(options: argparse.Namespace, first_pause: float = 1.0) -> int:
    """Returns 0. first_pause: seconds before the second attempt at a request. Raises UserError."""
    query = parse(options.near, options.at)
    target = Path(options.target).expanduser()
    started = time.monotonic()
    offers = Catalogue(options.provider).offers(query)
    for offer in offers:
        print(f"{offer.provider}: {offer.name}{f', {offer.bytes / 1e9:.3f} GB' if offer.bytes else ''}", flush=True)
    if options.list:
        return 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = Console(quiet=not sys.stdout.isatty())  # a disabled Progress still prints an empty line
    make_folder(target)
    with Progress(*columns, transient=True, console=quiet) as progress:
        fetcher = Fetcher(first_pause, progress, target)
        deliveries = _missing(offers, target)
        for delivery in deliveries:
            delivery.plan(fetcher)
        _check_space(deliveries, target)
        pieces = [piece for delivery in deliveries for piece in delivery.pieces]
        fetch_all(fetcher, pieces, options.num_streams, progress)
    print(
        f"{target}: {len(deliveries)} of {len(offers)} products fetched, {len(offers) - len(deliveries)} were there "
        f"already; {fetcher.bytes / 1e9:.3f} GB in {time.monotonic() - started:.1f} s, {fetcher.retries} retries"
    )
    return 0


def _missing(offers: list[Offer], target: Path) -> list[Delivery]:
    deliveries = [Delivery(offer, target) for offer in offers]
    return [delivery for delivery in deliveries if delivery.existing() is None]


def _check_space(deliveries: list[Delivery], target: Path) -> None:
    needed, free = sum(delivery.missing for delivery in deliveries), shutil.disk_usage(target).free
    if needed > free:
        raise UserError(f"{target}: {needed} bytes are still to be fetched, but only {free} are free on this disk")
