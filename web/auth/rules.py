"""What a caller may do, for whom: each returns, or raises a 403 that says what is missing (pure). Scopes imply nothing else.

That a user id exists is no secret, for there is no table of users: another's is a 403, the same whatever the id. That a row exists is
one: another's is a 404 like that of a row which is not there, and the queries of db/inbox see to it.
"""

from __future__ import annotations

from http import HTTPStatus

from web.auth.caller import Caller, Scope
from web.problems import Problem


def require_scope(caller: Caller, scope: Scope) -> None:
    """The token has it."""
    if not caller.may(scope):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"This token lacks the scope {scope.value!r}. Get one whose claim scope has that word.",
            WWW_Authenticate=f'Bearer error="insufficient_scope", scope="{scope.value}"',
        )


def require_own(caller: Caller, user_id: str) -> None:
    """It is that user, or may be any. `user_id` is in the form Postgres prints."""
    if not caller.acts_for(user_id):
        _user(caller)
        raise Problem(HTTPStatus.FORBIDDEN, "This is another user's than the token's. Ask for your own.")


def viewer(caller: Caller, asked: str | None) -> str | None:
    """As whom rows are seen: the token's user, who may be named too; with auth off whoever is named, or nobody in particular."""
    if caller.everybody:
        return asked
    if asked is not None:
        require_own(caller, asked)
    return _user(caller)


def _user(caller: Caller) -> str:
    if caller.user_id is None:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "This token names no user, so it has no notifications to read or mark. Use the token of a user.",
        )
    return caller.user_id
