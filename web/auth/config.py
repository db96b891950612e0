"""All that tells whose token it is, checked and frozen by whoever wires it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """What a token must be signed with and say. Exactly one of `key` and `jwks_url` is there.

    `key` is the secret of HS256 or a PEM public key; `leeway` is how many seconds the clocks of those who make tokens and ours may
    differ; `user_claim` names the claim that holds the user id. Without `issuer` any will do; without `audience` only tokens that name none.
    """

    key: str = field(default="", repr=False)
    jwks_url: str = ""
    issuer: str = ""
    audience: str = ""
    leeway: float = 5.0
    user_claim: str = "sub"
