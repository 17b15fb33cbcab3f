"""A user's credentials, which eodag keeps: what signs requests, and how they stay out of all that is shown."""

import datetime
import logging
import re
import threading
from collections.abc import Iterable
from typing import Any, Optional

from requests import PreparedRequest
from requests.auth import AuthBase

from cloudmask.fetch.store import Store
from common.errors import UserError

logging.getLogger("eodag").addHandler(logging.NullHandler())  # else Python prints its warnings to standard error
_LONGEST = 300  # characters of another program's message
_SECTIONS = ("auth", "search_auth", "download_auth", "api", "search", "download")
_MINE = "set its credentials as eodag's documentation says (docs/how-to/fetch.md)"


class _Signature(AuthBase):
    """What signs a request, and which login it is of."""

    def __init__(self, inner: AuthBase, number: int):
        self._inner, self.number = inner, number

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return self._inner(request)


class Login:
    """One provider's. Safe to use from several threads, at most one of which logs in at a time."""

    def __init__(self, provider: str, plugin: Any, secrets: Iterable[str]):
        """plugin: eodag's, None where nothing needs a login; secrets: as `secrets_of` gives them."""
        self._provider, self._plugin, self._secrets = provider, plugin, set(secrets)
        self._lock, self._number = threading.Lock(), 0
        self._store: Optional[Store] = None

    def signature(self, url: str, refused: Optional[AuthBase] = None) -> Optional[AuthBase]:
        """What signs a request for an address, None for one that is none of the provider's: it gets no token.

        Args:
            url: the address.
            refused: the signature that the server has just refused; a new login takes its place.

        Raises:
            UserError: if the login fails.
        """
        if self._plugin is None or not self._is_for(url):
            return None
        with self._lock:
            if isinstance(refused, _Signature) and refused.number == self._number:
                self._forget()
                self._number += 1
            return _Signature(self._ask(self._plugin.authenticate), self._number)

    def _forget(self) -> None:
        """Make eodag ask for another token, which it does when the one it has expires."""
        if hasattr(self._plugin, "access_token_expiration"):  # it has a refresh token, which saves one-time passwords
            self._plugin.access_token_expiration = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
        else:
            self._plugin = self._ask(lambda: type(self._plugin)(self._provider, self._plugin.config))

    def of_store(self, bucket: str, key: str) -> tuple[str, Optional[AuthBase]]:
        """The address of an object of an S3 store, and what signs a request for it. Raises UserError."""
        with self._lock:
            if self._store is None:
                self._store = self._ask(lambda: Store(self._plugin))
            return self._ask(lambda: self._store.request(bucket, key))

    def _is_for(self, url: str) -> bool:
        config = self._plugin.config
        pattern = getattr(config, "matching_url", None)
        return bool(getattr(config, "matching_conf", None)) or bool(pattern and re.match(pattern, url))

    def _ask(self, question):
        try:
            return question()
        except Exception as error:
            raise UserError(
                f"{self._provider}: the login failed ({self.hidden(error)}): {_MINE}; what was received is kept"
            ) from None

    def hidden(self, error: Exception) -> str:
        """What eodag says, without anything secret."""
        tokens = (getattr(self._plugin, name, "") for name in ("access_token", "refresh_token", "token"))
        return hidden(error, {*self._secrets, *filter(None, tokens)})


def secrets_of(gateway: Any) -> set[str]:
    """Every credential in eodag's files and variables."""
    secrets: set[str] = set()
    for provider in gateway.providers.values():
        for section in _SECTIONS:
            credentials = getattr(getattr(provider.config, section, None), "credentials", None) or {}
            secrets.update(str(value) for value in credentials.values() if value)
    return secrets


def hidden(error: Exception, secrets: Iterable[str]) -> str:
    """One short line of an error of eodag's, whose messages may hold tokens, passwords and whole answers of servers."""
    lines = " ".join(map(str, error.args)).strip().splitlines()
    # The last line says what happened where a traceback is part of the message.
    text = f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"\?[^\s'\")]+", "?...", text)
    text = re.sub(r"\beyJ[\w.-]+", "***", text)  # a token of any login
    return text[:_LONGEST]
