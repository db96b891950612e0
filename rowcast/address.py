"""Where the web is, for the commands that talk to it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx

from core.errors import ConfigurationError, RowcastError
from rowcast.credentials import Errand, bearer
from rowcast.folders import state_folder
from rowcast.own_key import with_key_of_up
from rowcast.possession import running_up
from rowcast.settings import Settings, spelled
from rowcast.terminal import safe

# Seconds; a heartbeat comes far more often.
_TIMEOUT = httpx.Timeout(10.0, read=60.0)
_LONGEST_DETAIL = 500


def open_client(settings: Settings, errand: Errand) -> httpx.Client:
    """A client for the web of --url, else for the `up` that runs on --data-dir, with a token if there is one; raises RowcastError for neither.

    Proxies of the environment are not for an `up` on this machine, and a key in it is for no other web.
    """
    if settings.url is not None:
        url, settings = _checked(settings.url), settings.model_copy(update={"jwt_key": ""})
    else:
        report = find_up(settings)
        url, settings = str(report["web_url"]), with_key_of_up(settings, report)
    return httpx.Client(
        base_url=url, auth=bearer(settings, errand), timeout=_TIMEOUT, trust_env=settings.url is not None
    )


def find_up(settings: Settings) -> dict[str, Any]:
    """What the `up` that runs on --data-dir says of itself (`Stack.write_report`)."""
    report = running_up(state_folder(settings.data_dir))
    if report is None:
        raise RowcastError(
            f"No `rowcast up` runs on {settings.data_dir}: start one, or give its --data-dir, or the address of a web with --url."
        )
    return report


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{spelled('url')} must begin with http:// or https://, and not be {url[:80]!r}.")
    return url.rstrip("/")


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def refusal(response: httpx.Response, errand: Errand) -> RowcastError:
    """What the web says is wrong, and what to do about it; `response` has been read."""
    try:
        detail = str(response.json()["detail"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        detail = response.text.strip() or response.reason_phrase
    return RowcastError(
        f"{response.url.copy_with(query=None)} answered {response.status_code}: {safe(detail[:_LONGEST_DETAIL])}"
        f"{errand.advice(response.status_code)}"
    )
