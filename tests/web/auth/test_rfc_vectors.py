"""The signed examples of RFC 7515 (appendix A) and RFC 8037 (appendix A), as published."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK

from tests.web.auth.minting import verify
from web.auth.caller import TokenRefusedError

EXPIRES = 1300819380
CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
SECRET = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
HS256 = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
RSA = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWv"
    "G6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_"
    "I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
}
RS256 = (
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
ES256 = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
EDDSA = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
EDDSA_SIGNATURE = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"


def pem(jwk: dict[str, Any]) -> str:
    public: Any = PyJWK(jwk).key
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def secret() -> str:
    """Bytes that are no UTF-8, as the environment hands them over."""
    return base64.urlsafe_b64decode(SECRET + "==").decode(errors="surrogateescape")


EXAMPLES = {
    "A.1 HS256": (f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.{HS256}", secret()),
    "A.2 RS256": (f"eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{RS256}", pem(RSA)),
    "A.3 ES256": (f"eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{ES256}", pem(EC)),
}


@pytest.mark.parametrize(("text", "key"), EXAMPLES.values(), ids=EXAMPLES.keys())
async def test_the_examples_of_rfc_7515(text: str, key: str) -> None:
    caller = await verify(text, key=key, at=EXPIRES - 1, issuer="joe")
    assert (caller.user_id, caller.expires_at) == (None, EXPIRES)
    with pytest.raises(TokenRefusedError, match="expired"):
        await verify(text, key=key, at=EXPIRES + 5)
    changed = text[:-2] + ("A" if text[-2] != "A" else "B") + text[-1]
    with pytest.raises(TokenRefusedError, match="signature"):
        await verify(changed, key=key, at=EXPIRES - 1)


async def test_the_unsecured_example_is_refused() -> None:
    """A.5: `none`."""
    with pytest.raises(TokenRefusedError, match="no signed token"):
        await verify(f"eyJhbGciOiJub25lIn0.{CLAIMS}.", key=secret(), at=EXPIRES - 1)


async def test_the_example_of_rfc_8037() -> None:
    """A.4: the signature is right, what is signed are no claims."""
    with pytest.raises(TokenRefusedError, match="claims"):
        await verify(f"{EDDSA}.{EDDSA_SIGNATURE}", key=pem(OKP))
    with pytest.raises(TokenRefusedError, match="signature"):
        await verify(f"{EDDSA}.{EDDSA_SIGNATURE.replace('hgyY', 'hgyZ')}", key=pem(OKP))
