"""The JSON Schemas of what goes in and out over HTTP, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, TypeAlias

from core.user_ids import UserIdType
from web.auth.claims import LONGEST_TOKEN_ID
from web.models import LATEST_TIME, MOST_ROWS

Schema: TypeAlias = dict[str, Any]

INT64: Schema = {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1}
# Postgres text can't hold NUL (nor half a surrogate pair, which no tool for schemas can say).
TEXT: Schema = {"type": "string", "pattern": r"^[^\u0000]*$"}
FILLED: Schema = {"type": "string", "pattern": r"^[^\u0000]+$", "minLength": 1}

_IDS: dict[UserIdType, Schema] = {
    UserIdType.BIGINT: INT64,
    UserIdType.UUID: {"type": "string", "format": "uuid"},
    UserIdType.TEXT: FILLED,
}
EXAMPLE_IDS: dict[UserIdType, Any] = {
    UserIdType.BIGINT: 1,
    UserIdType.UUID: "00000000-0000-0000-0000-000000000001",
    UserIdType.TEXT: "ada",
}


def user_id(ids: UserIdType) -> Schema:
    """A user id as it is answered, and as it stands in a URL."""
    return _IDS[ids]


def reference(name: str) -> Schema:
    """A pointer to one of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(ids: UserIdType) -> Schema:
    """Every schema that has a name."""
    return {
        "Notification": _notification(ids),
        "NewNotification": _new_notification(ids),
        "NewNotifications": {
            "type": "array",
            "items": reference("NewNotification"),
            "minItems": 1,
            "maxItems": MOST_ROWS,
        },
        "Page": _page(),
        "Mark": _mark(ids),
        "ViewedUpTo": _object({"up_to": INT64 | {"description": "A seq, as events and lists carry it."}}, closed=True),
        "Unread": _object({"unread": _COUNT}),
        "Revocation": _revocation(ids),
        "Revoked": _revoked(ids),
        "Checks": _object({"status": {"const": "ok"}, "checks": _CHECKS}),
        "Status": _object({"status": {"const": "ok"}}),
        "Routes": _object(
            {name: {"type": "string"} for name in ("name", "version", "user_id_type", "auth")} | {"routes": _ROUTES}
        ),
        "Session": _session(ids),
        "Problem": _problem(),
    }


_COUNT: Schema = {
    "type": "integer",
    "minimum": 0,
    "description": "How many relayed notifications this user has not viewed.",
}
_CHECKS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "“ok”, or what is wrong, of postgres, redis, rereads, marks and, with tokens, revocations.",
}
_ROUTES: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "Each route and what it is for.",
}


def _object(properties: Schema, *, required: list[str] | None = None, closed: bool = False) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return schema | {"additionalProperties": False} if closed else schema


def _optional(schema: Schema, description: str) -> Schema:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


def _sent_id(ids: UserIdType) -> list[Schema]:
    as_text: list[Schema] = [{"type": "string", "pattern": "^-?[0-9]{1,18}$"}]
    return [_IDS[ids], *(as_text if ids is UserIdType.BIGINT else [])]


def _notification(ids: UserIdType) -> Schema:
    return _object(
        {
            "id": INT64 | {"description": "Rises with each insert, though not in the order of commits."},
            "user_id": _optional(_IDS[ids], "Whom it is for; null: everyone."),
            "key": _optional({"type": "string"}, "What it is about."),
            "message": {"type": "string"},
            "channel_type": {"type": "string"},
            "data": {"description": "Any JSON, as jsonb keeps it."},
            "is_sent": {
                "type": "boolean",
                "description": "Whether it has its place in the log, so that streams get it.",
            },
            "is_viewed": {"type": "boolean", "description": "Whether the user asked about has viewed it."},
            "created_at": {"type": "string", "description": "ISO 8601, UTC, milliseconds: 2026-01-31T12:00:00.123Z."},
            "seq": _optional(INT64, "Its place in the log; null until the bridge has given it one."),
        }
    )


def _new_notification(ids: UserIdType) -> Schema:
    properties = {
        "user_id": {"anyOf": [*_sent_id(ids), {"type": "null"}], "description": "Whom it is for; null: everyone."},
        "message": TEXT,
        "key": _optional(TEXT, "What it is about, for GET /read/{key}."),
        "channel_type": TEXT | {"default": "notifications_channel"},
        "data": {"description": "Any JSON without NUL and half surrogate pairs."},
    }
    example = {"user_id": EXAMPLE_IDS[ids], "message": "hello", "data": {"order": 7}}
    return _object(properties, required=["user_id", "message"], closed=True) | {"examples": [example]}


def _mark(ids: UserIdType) -> Schema:
    for_everyone = "Who has viewed it: required for a notification for everyone."
    properties = {
        "is_viewed": {"type": "boolean"},
        "user_id": {"anyOf": [*_sent_id(ids), {"type": "null"}], "description": for_everyone},
    }
    return _object(properties, required=["is_viewed"], closed=True) | {"examples": [{"is_viewed": True}]}


def _revocation(ids: UserIdType) -> Schema:
    until = "The latest `exp` of these tokens, if it is known: the revocation is forgotten an hour later."
    properties = {
        "user": {"anyOf": _sent_id(ids), "description": "Whose tokens."},
        "token": FILLED | {"maxLength": LONGEST_TOKEN_ID, "description": "The `jti` of the token."},
        "expires_at": {"type": "number", "minimum": 0, "maximum": LATEST_TIME, "description": until},
    }
    either = [{"required": ["user"]}, {"required": ["token"]}]
    return _object(properties, required=[], closed=True) | {"oneOf": either, "examples": [{"user": EXAMPLE_IDS[ids]}]}


def _revoked(ids: UserIdType) -> Schema:
    properties = {
        "user": _IDS[ids],
        "token": {"type": "string"},
        "revoked_at": {"type": "string", "description": "ISO 8601, UTC, milliseconds."},
        "expires_at": {"type": "number"},
    }
    return _object(properties, required=["revoked_at"])


def _page() -> Schema:
    following = "Hand it to ?before= for the next page; null: this was the last."
    return _object(
        {
            "items": {"type": "array", "items": reference("Notification")},
            "unread": _COUNT,
            "seq": INT64
            | {"description": "Hand it to ?since= of the stream: list and stream join without gap or double."},
            "next": _optional(INT64, following),
        }
    )


def _session(ids: UserIdType) -> Schema:
    return _object(
        {
            "user_id": _optional(_IDS[ids], "The user; null for a token without one, and with auth off."),
            "scope": {"type": "string", "description": "What the token allows, words with a space between."},
            "expires_at": _optional({"type": "string"}, "ISO 8601, UTC, milliseconds; null: never."),
        }
    )


def _problem() -> Schema:
    properties = {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence that says what to do."},
        "checks": _CHECKS,
    }
    return _object(properties, required=["type", "title", "status", "detail"])
