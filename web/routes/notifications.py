"""/notifications: insert, list, read, mark and delete rows. An insert only inserts: the trigger and the bridge do the rest."""

from __future__ import annotations

from http import HTTPStatus

from quart import Blueprint, Response, request

from core.user_ids import UserIdType
from db.inbox import Inbox
from web.answers import json_text
from web.auth.asking import caller, require
from web.auth.caller import Scope
from web.auth.rules import viewer
from web.body import json_body
from web.models import Mark, parse, parse_rows
from web.params import flag, integer, optional_integer, refuse_broken_url
from web.problems import Problem, bad_request, not_found

DEFAULT_LIMIT, MOST_ITEMS = 50, 1000


def notifications_blueprint(inbox: Inbox, ids: UserIdType) -> Blueprint:
    """The rows of `inbox`, whose user ids are of the type `ids`."""
    blueprint = Blueprint("notifications", __name__, url_prefix="/notifications")
    blueprint.before_request(refuse_broken_url)
    _add_the_list(blueprint, inbox, ids)
    _add_one_row(blueprint, inbox, ids)
    return blueprint


def _add_the_list(blueprint: Blueprint, inbox: Inbox, ids: UserIdType) -> None:
    @blueprint.post("")
    async def create() -> Response:
        require(Scope.SEND)
        value, text = await json_body()
        parse_rows(value, ids)
        # The text goes on as it came: Postgres reads numbers more exactly than Python does.
        if isinstance(value, list):
            rows = await inbox.insert(text)
            return json_text(_array([body for _, body in rows]), HTTPStatus.CREATED)
        row_id, body = (await inbox.insert(f"[{text}]"))[0]
        return json_text(body, HTTPStatus.CREATED, location=f"/notifications/{row_id}")

    @blueprint.get("")
    async def index() -> Response:
        user_id = viewer(require(Scope.READ), _named(ids))
        if user_id is None:
            raise bad_request("Say whose notifications, with the query parameter 'user_id'.")
        page = await inbox.page(
            user_id,
            before=optional_integer(request.args, "before"),
            limit=_limit(),
            unread=flag(request.args, "unread"),
        )
        following = "null" if page.next_before is None else page.next_before
        return json_text(f'{{"items":{_array(page.items)},"unread":{page.unread},"seq":{page.seq},"next":{following}}}')


def _add_one_row(blueprint: Blueprint, inbox: Inbox, ids: UserIdType) -> None:
    @blueprint.get("/<row>")
    async def read(row: str) -> Response:
        who = viewer(require(Scope.READ), _named(ids))
        row_id = _row_id(row)
        return json_text(_found(await inbox.get(row_id, viewer=who), row_id))

    @blueprint.patch("/<row>")
    async def mark(row: str) -> Response:
        marker, row_id = require(Scope.VIEW), _row_id(row)
        value, _ = await json_body()
        wanted = parse(Mark, value, ids)
        body = await inbox.mark(row_id, viewed=wanted.is_viewed, viewer=viewer(marker, wanted.user_id))
        return json_text(_found(body, row_id))

    @blueprint.delete("/<row>")
    async def delete(row: str) -> Response:
        whose, row_id = _deletable(), _row_id(row)
        if not await inbox.delete(row_id, viewer=whose):
            raise _missing(row_id)
        return Response(status=HTTPStatus.NO_CONTENT)


def _named(ids: UserIdType) -> str | None:
    user_id = request.args.get("user_id")
    return None if user_id is None else ids.canonical(user_id)


def _deletable() -> str | None:
    """Whose rows the caller may delete; None: whichever."""
    return None if caller().may(Scope.ADMIN) else viewer(require(Scope.VIEW), None)


def _array(items: list[str]) -> str:
    return f"[{','.join(items)}]"


def _limit() -> int:
    limit = optional_integer(request.args, "limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MOST_ITEMS:
        raise bad_request(f"The query parameter 'limit' must be from 1 to {MOST_ITEMS}, not {limit}.")
    return limit


def _row_id(text: str) -> int:
    return integer(text, name="The id of a notification")


def _found(body: str | None, row_id: int) -> str:
    if body is None:
        raise _missing(row_id)
    return body


def _missing(row_id: int) -> Problem:
    return not_found(f"There is no notification {row_id}, or it is not for this user.")
