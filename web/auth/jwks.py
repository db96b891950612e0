"""The keys that somebody publishes under a URL, fetched and kept fresh.

One loop fetches: before the last answer gets old, and at once when a token names a key that is not among them, for keys are changed so.
Whoever waits for keys waits for that one fetch. Tokens with invented names cause 3 fetches in a row at most, then one each 10 s; a token whose
key can't be looked for right then is told to come again, as while no answer is left that may be trusted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from core.clock import Clock, happens
from core.errors import ConfigurationError
from web.auth.caller import KeysUnavailableError, TokenRefusedError
from web.auth.freshness import Freshness, freshness
from web.auth.key_set import KeySet, read_key_set
from web.auth.keys import Key

if TYPE_CHECKING:
    import httpx

_log = structlog.get_logger("web")

# Bytes of an answer.
LARGEST = 256 * 1024
# Seconds that one fetch may take in all.
PATIENCE = 5.0
# Fetches that unknown names may cause at once, and the seconds after which they may cause one more.
BURST, REFILL = 3, 10.0
# Seconds for which the answer to such a fetch settles what keys there are.
SETTLED = 1.0
# Seconds between attempts while they fail.
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0


class Jwks:
    """A KeySource that needs its `run` to run."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._host = urlsplit(url).hostname  # what logs say: a URL may hold a secret
        self._clock = clock
        self._keys = KeySet()
        self._freshness = Freshness()
        self._fetched_at = -math.inf
        self._failures = 0
        self._told: object = None
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()  # nobody is fetching, and somebody has
        self._allowance = Allowance(BURST, REFILL, clock)
        self._looked_at = -math.inf  # when the answer came to a fetch for an unknown name

    async def find(self, kid: str | None) -> Sequence[Key]:
        """The keys of that name; raises TokenRefusedError if there are none, KeysUnavailableError if that can't be told now."""
        if not self._trusted:
            await self._answer()
        if not self._trusted:
            raise KeysUnavailableError
        if found := self._keys.named(kid):
            return found
        await self._look_for(kid)
        if found := self._keys.named(kid):
            return found
        if not self._keys:
            raise KeysUnavailableError
        raise TokenRefusedError(
            "This token is signed with a key (kid) that is not among those this server checks with."
        )

    async def run(self) -> None:
        """Fetch, and fetch again, until cancelled."""
        async with _client() as client:
            try:
                while True:
                    await self._fetch_once(client)
                    await happens(self._wanted, self._pause())
            finally:
                self._answered.set()

    @property
    def _trusted(self) -> bool:
        return self._clock.now() - self._fetched_at < self._freshness.trusted

    async def _answer(self) -> None:
        """Wait until nobody is fetching."""
        if not await happens(self._answered, PATIENCE + 1):
            raise KeysUnavailableError

    async def _look_for(self, kid: str | None) -> None:
        """Have the keys fetched anew, unless that was just done; raises KeysUnavailableError if it can't be done now."""
        if not self._answered.is_set():
            await self._answer()
        if self._keys.named(kid) or self._clock.now() - self._looked_at < SETTLED:
            return
        if not self._allowance.take():
            raise KeysUnavailableError
        self._answered.clear()
        self._wanted.set()
        await self._answer()
        if self._failures:
            raise KeysUnavailableError

    def _pause(self) -> float:
        """Seconds until the next fetch is due."""
        if self._failures:
            ceiling = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 16))
            return self._clock.jitter(ceiling / 2, ceiling)
        refresh = self._freshness.refresh
        return self._clock.jitter(refresh * 0.9, refresh)

    async def _fetch_once(self, client: httpx.AsyncClient) -> None:
        looking, begun = self._wanted.is_set(), self._clock.now()
        self._answered.clear()
        self._wanted.clear()
        try:
            keys, fresh = await _fetch(client, self._url)
        except JwksError as error:
            self._failures += 1
            if self._is_news(str(error)):
                _log.warning("web.jwks_failed", host=self._host, failures=self._failures, reason=str(error))
        else:
            self._keys, self._freshness, self._fetched_at, self._failures = keys, fresh, begun, 0
            self._looked_at = self._clock.now() if looking else self._looked_at
            if self._is_news(keys):
                self._tell(keys)
        self._answered.set()

    def _is_news(self, what: object) -> bool:
        """Whether it is not what was told last."""
        was, self._told = self._told, what
        return what != was

    def _tell(self, keys: KeySet) -> None:
        passed_over = list(keys.passed_over)
        if keys:
            _log.info("web.jwks_fetched", host=self._host, keys=len(keys), passed_over=passed_over)
        else:
            _log.warning("web.jwks_fetched", host=self._host, keys=0, passed_over=passed_over)


class JwksError(Exception):
    """The keys were not to be had, and why."""


class Allowance:
    """So many at once, and one more each so many seconds (a token bucket)."""

    def __init__(self, most: int, refill: float, clock: Clock) -> None:
        self._most = most
        self._refill = refill
        self._clock = clock
        self._left = float(most)
        self._seen = clock.now()

    def take(self) -> bool:
        """Use one up; False if there is none."""
        now = self._clock.now()
        self._left = min(self._most, self._left + (now - self._seen) / self._refill)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _client() -> httpx.AsyncClient:
    """Certificates are those of httpx, or of SSL_CERT_FILE; proxies those of HTTPS_PROXY. Raises ConfigurationError if these are wrong."""
    import httpx  # noqa: PLC0415 -- only who has a JWKS waits for it to load

    headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
    try:
        here = {"http://": httpx.AsyncHTTPTransport()}  # only this machine's: its keys are no proxy's to tell
        return httpx.AsyncClient(headers=headers, timeout=PATIENCE, follow_redirects=False, mounts=here)
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"The keys of tokens can't be fetched with this SSL_CERT_FILE or these proxies: {error}"
        ) from error


async def _fetch(client: httpx.AsyncClient, url: str) -> tuple[KeySet, Freshness]:
    import httpx  # noqa: PLC0415

    try:
        async with asyncio.timeout(PATIENCE), client.stream("GET", url) as response:
            raw = await _body(response)
            return read_key_set(raw), freshness(response.headers)
    except TimeoutError:
        raise JwksError(f"no answer within {PATIENCE:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise JwksError(f"{type(error).__name__}: {error}") from None
    except ValueError as error:
        raise JwksError(f"the answer is no JWKS: {error}") from None


async def _body(response: httpx.Response) -> bytes:
    """All of it, if it is what was asked for. A redirect is not followed: it could lead anywhere."""
    if response.status_code != 200:  # noqa: PLR2004
        raise JwksError(f"the answer has status {response.status_code}, and not 200")
    if "content-encoding" in response.headers:
        raise JwksError("the answer is compressed, which was not asked for")
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > LARGEST:
            raise JwksError(f"the answer is larger than {LARGEST} bytes")
    return bytes(raw)
