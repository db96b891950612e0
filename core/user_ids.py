"""User ids in the form Postgres prints them, so that two processes never name one user's channel in two ways."""

from __future__ import annotations

import re
import uuid
from enum import StrEnum

from core.errors import InvalidUserIdError

_BIGINT = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_SURROGATE = re.compile("[\ud800-\udfff]")  # what JSON gives for "\ud800" alone
_BIGINT_MIN, _BIGINT_MAX = -(2**63), 2**63 - 1
# Bytes. rowcast.refuse_size keeps longer ones out of the table.
LONGEST = 1000


class UserIdType(StrEnum):
    """The type of `notifications.user_id`, chosen at the first `rowcast migrate --user-id-type`."""

    BIGINT = "bigint"
    UUID = "uuid"
    TEXT = "text"

    def canonical(self, text: str) -> str:
        """The id as Postgres prints it ("007" → "7"); raises InvalidUserIdError for what is no id of this type."""
        match self:
            case UserIdType.BIGINT:
                return _bigint(text)
            case UserIdType.UUID:
                return _uuid(text)
            case UserIdType.TEXT:
                return _text(text)


def _bigint(text: str) -> str:
    if not _BIGINT.fullmatch(text) or not _BIGINT_MIN <= int(text) <= _BIGINT_MAX:
        raise InvalidUserIdError(
            f"The user id {text[:80]!r} is not a whole number of 64 bits, as user ids of this database are."
        )
    return str(int(text))


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise InvalidUserIdError(f"The user id {text[:80]!r} is not a UUID, as user ids of this database are.")
    return str(uuid.UUID(text))


def _text(text: str) -> str:
    if not text or "\x00" in text or _SURROGATE.search(text):
        raise InvalidUserIdError(
            "A user id must have at least one character, no NUL and no half of a surrogate pair, which Postgres text can't hold."
        )
    if len(text.encode()) > LONGEST:
        raise InvalidUserIdError(
            f"The user id {text[:80]!r}… is longer than {LONGEST} bytes, more than the log's indexes are made for."
        )
    return text
