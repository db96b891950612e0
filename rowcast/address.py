"""Where the web is, for the commands that talk to it."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx

from core.errors import ConfigurationError, RowcastError
from rowcast.folders import state_folder
from rowcast.possession import running_up
from rowcast.settings import Settings, spelled

# Seconds; a heartbeat comes far more often.
_TIMEOUT = httpx.Timeout(10.0, read=60.0)
_LONGEST_DETAIL = 500


def web_url(settings: Settings) -> str:
    """--url, else that of the `up` that runs on --data-dir; raises RowcastError if there is neither."""
    if settings.url is not None:
        if not settings.url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"{spelled('url')} must begin with http:// or https://, and not be {settings.url[:80]!r}."
            )
        return settings.url.rstrip("/")
    report = running_up(state_folder(settings.data_dir))
    if report is None:
        raise RowcastError(
            f"No `rowcast up` runs on {settings.data_dir}: start one, or give its --data-dir, or the address of a web with --url."
        )
    return str(report["web_url"])


def open_client(settings: Settings) -> httpx.Client:
    """A client for that address; proxies of the environment are not for an `up` on this machine."""
    return httpx.Client(base_url=web_url(settings), timeout=_TIMEOUT, trust_env=settings.url is not None)


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def refusal(response: httpx.Response) -> RowcastError:
    """What the web says is wrong; `response` has been read."""
    try:
        detail = str(response.json()["detail"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        detail = response.text.strip() or response.reason_phrase
    return RowcastError(
        f"{response.url.copy_with(query=None)} answered {response.status_code}: {detail[:_LONGEST_DETAIL]}"
    )
