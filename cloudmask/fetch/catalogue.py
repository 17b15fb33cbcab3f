"""What the services have: a search by eodag, each acquisition once."""

import re
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional

from cloudmask.data.listing import newest
from cloudmask.fetch import login
from cloudmask.fetch.query import Query, distance
from common.data.files import DataFile
from common.errors import UserError, printable

# eodag's names; those of baselines are products that were made anew.
_COLLECTIONS = ("S3_SLSTR_L1RBT", "S3_SLSTR_L1RBT_BC003", "S3_SLSTR_L1RBT_BC004")
# eodag lists platforms A and B for them; no search is limited by that, because none is asked for a platform.
_NAME = re.compile(r"S3[A-D]_SL_1_RBT____(\d{8}T\d{6}_){3}[A-Za-z0-9_]{1,50}")
_MOST = 200  # products of one place and day; there are up to some 20
INSTALL = "eodag is not installed: `pip install eodag`, or this package with its extra geo"


class Offer(NamedTuple):
    """A product that a service has. name: X.SEN3; bytes: as the service says, 0 if it does not; product: eodag's."""

    name: str
    provider: str
    bytes: int
    product: Any
    login: login.Login


class Catalogue:
    """eodag with a user's own files and variables."""

    def __init__(self, provider: Optional[str]):
        """provider: eodag's name of a service, None for whichever has something, in eodag's order."""
        try:
            from eodag import EODataAccessGateway
        except ImportError:
            raise UserError(INSTALL) from None
        try:
            self._gateway = EODataAccessGateway()
            self._secrets = login.secrets_of(self._gateway)
            self._providers = {each: self._gateway.available_providers(each) for each in _COLLECTIONS}
        except Exception as error:
            raise UserError(f"eodag cannot be started with its own settings ({login.hidden(error, ())})") from None
        known = self._providers[_COLLECTIONS[0]]
        if provider is not None and provider not in known:
            raise UserError(
                f"--provider {provider}: eodag has {', '.join(known)}; others need credentials before they can be "
                "searched (docs/how-to/fetch.md)"
            )
        self._provider = provider

    def offers(self, query: Query, tell: Callable[[str], object] = print) -> list[Offer]:
        """The products that a query means, each acquisition once, by time. Raises UserError if there are none."""
        found = list(self._found(query))
        files = {each.name: DataFile(each.name, each.bytes, 0) for each in found}
        kept = {file.path for file in newest(files.values(), tell)}
        offers = sorted((each for each in found if each.name in kept), key=lambda each: each.name[16:])
        offers = list({each.name: each for each in offers}.values())  # some services list a product twice
        if not offers:
            raise UserError(f"no service has a product of {query.words}: look at another day, or at --provider")
        return sorted(offers, key=lambda each: distance(query, each.name))[:1] if query.nearest else offers

    def _found(self, query: Query) -> Iterable[Offer]:
        provider = self._provider
        for collection in _COLLECTIONS:
            if provider is not None and provider not in self._providers[collection]:
                continue
            for product in self._search(collection, provider, query):
                provider = product.provider  # what was made anew is asked of the same service
                offer = self._offer(product)
                if offer is not None:
                    yield offer

    def _search(self, collection: str, provider: Optional[str], query: Query) -> list:
        where = f"POINT ({query.longitude} {query.latitude})"
        try:
            results = self._gateway.search(
                collection=collection,
                provider=provider,
                start=query.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
                end=query.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                geom=where,
                limit=_MOST,
                raise_errors=provider is not None,
                validate=False,
            )
        except Exception as error:
            raise UserError(
                f"{provider or 'eodag'}: the search failed ({login.hidden(error, self._secrets)})"
            ) from None
        if not results and getattr(results, "errors", None):
            failed, reason = results.errors[0]
            raise UserError(f"{failed}: the search failed ({login.hidden(reason, self._secrets)})")
        if len(results) >= _MOST:
            raise UserError(
                f"{results[0].provider}: has {len(results)} products of {query.words}, at most {_MOST} expected"
            )
        return list(results)

    def _offer(self, product: Any) -> Optional[Offer]:
        """None for what is not a product by its name, which becomes a name on this disk."""
        stem = str(product.properties.get("title") or "").removesuffix(".SEN3")
        if not _NAME.fullmatch(stem):
            print(f"{product.provider}: lists {printable(ascii(stem[:100]))}, which is no SLSTR product: left out")
            return None
        try:
            self._gateway._setup_downloader(product)  # does nothing if the search did it
        except Exception as error:
            raise UserError(f"{product.provider}: {login.hidden(error, self._secrets)}") from None
        size = product.properties.get("file:size")
        size = size if isinstance(size, int) and 0 < size < 1 << 50 else 0
        access = login.Login(product.provider, product.downloader_auth, self._secrets)
        return Offer(f"{stem}.SEN3", product.provider, size, product, access)
