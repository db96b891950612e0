"""The request bodies, and the sentence for a body that is none of them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
)

from core.errors import InvalidUserIdError
from core.user_ids import UserIdType
from web.auth.claims import LONGEST_TOKEN_ID
from web.problems import Problem, bad_request

MOST_ROWS = 1000

Model = TypeVar("Model", bound="Body")


def _canonical(value: object, info: ValidationInfo[UserIdType]) -> str:
    """A user id as JSON has it → as Postgres prints it. A bigint may come as a string: JavaScript holds only 53 bits."""
    ids = info.context
    if ids is UserIdType.BIGINT and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        or_null = "" if info.field_name == "user" else "null or "
        raise ValueError(f"must be {or_null}{_SHAPES[ids]}")  # noqa: TRY004 -- the kind that pydantic collects
    try:
        return ids.canonical(value)
    except InvalidUserIdError as error:
        raise ValueError(f"is not right. {error}") from None


_SHAPES = {
    UserIdType.BIGINT: "a whole number of 64 bits.",
    UserIdType.UUID: "a UUID in a string.",
    UserIdType.TEXT: "a string.",
}

UserId = Annotated[str, BeforeValidator(_canonical)]
Seq = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]

# As web.auth takes a `jti`: any other can't be of a token that would be let in.
TokenId = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_TOKEN_ID)]
LATEST_TIME = 253402300799  # the last second of the year 9999
Time = Annotated[float, Field(strict=True, ge=0, le=LATEST_TIME)]


class Body(BaseModel):
    """A JSON object that has these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewNotification(Body):
    """What may be said of a row that is to be inserted; the other columns are Postgres's and the bridge's."""

    user_id: UserId | None
    message: StrictStr
    key: StrictStr | None = None
    channel_type: StrictStr = "notifications_channel"
    data: Any = None


class Mark(Body):
    """Viewed or not; `user_id` says by whom, for a row for everyone."""

    is_viewed: StrictBool
    user_id: UserId | None = None


class ViewedUpTo(Body):
    """A position in the log, as events and lists carry it."""

    up_to: Seq


class Revocation(Body):
    """What is revoked: all tokens of a user up to now, or the one with that `jti`; and when these expire by themselves (`exp`)."""

    user: UserId = ""
    token: TokenId = ""
    expires_at: Time | None = None


def parse(model: type[Model], value: object, ids: UserIdType, *, item: int | None = None) -> Model:
    """`value` as a `model`; a Problem that names the field, and the item of an array, where it is not one."""
    place = "The body" if item is None else f"Item {item} of the array"
    if not isinstance(value, dict):
        raise bad_request(f"{place} must be a JSON object.")
    try:
        return model.model_validate(value, context=ids)
    except ValidationError as error:
        raise _problem(error, model, place) from None


def parse_rows(value: object, ids: UserIdType) -> list[NewNotification]:
    """One object, or an array of 1 to 1,000 of them."""
    if not isinstance(value, list):
        return [parse(NewNotification, value, ids)]
    if not 1 <= len(value) <= MOST_ROWS:
        raise bad_request(
            f"An array must have 1 to {MOST_ROWS} notifications, this one has {len(value)}. Send several arrays."
        )
    return [parse(NewNotification, row, ids, item=index) for index, row in enumerate(value)]


def _problem(error: ValidationError, model: type[Body], place: str) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    field = str(first["loc"][0])[:80]
    fields = ", ".join(model.model_fields)
    match first["type"]:
        case "missing":
            hint = " (null: for everyone)" if field == "user_id" else ""
            return bad_request(f"{place} lacks the field {field!r}{hint}.")
        case "extra_forbidden":
            return bad_request(f"{place} has a field {field!r} that this route does not take. It takes: {fields}.")
        case "value_error":
            return bad_request(f"{place} is wrong: {field!r} {first['msg'].removeprefix('Value error, ')}")
        case kind:
            return bad_request(
                f"{place} is wrong: {field!r} must be {_BY_FIELD.get(field) or _KINDS.get(kind, _WHOLE_NUMBER)}."
            )


_WHOLE_NUMBER = "a whole number of 64 bits"
_KINDS = {
    "string_type": "a string",
    "string_too_short": f"a string of 1 to {LONGEST_TOKEN_ID} characters",
    "string_too_long": f"a string of 1 to {LONGEST_TOKEN_ID} characters",
    "bool_type": "true or false",
}
_BY_FIELD = {"expires_at": f"seconds since 1970, from 0 to {LATEST_TIME}, as the exp of a token"}
