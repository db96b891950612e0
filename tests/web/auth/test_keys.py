"""Which key is for which algorithm, and what is no key."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import load_pem_x509_certificates

from core.errors import ConfigurationError
from tests.certificates import make_certificate
from tests.web.auth.key_server import jwk
from tests.web.auth.minting import SECRET, private_key, private_pem, public_pem
from web.auth.keys import read_key

KINDS = ("RS256", "ES256", "EdDSA")


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError, match="ROWCAST_JWT_KEY") as caught:
        read_key(text)
    assert "\n" not in str(caught.value)
    assert text[8:40] not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_public_key_is_for_one_algorithm(algorithm: str) -> None:
    pem = public_pem(private_key(algorithm))
    for text in (pem, pem.strip(), pem.replace("\n", "\r\n"), pem.replace("\n", "\\n")):
        assert read_key(text).algorithm == algorithm


def test_a_secret_is_for_hs256_and_has_32_bytes() -> None:
    assert read_key("é" * 16).algorithm == "HS256"
    assert "openssl rand" in refusal("é" * 15 + "e")
    assert "hunter2" not in repr(read_key("hunter2" * 8))
    assert read_key("\udcff" * 32).material == b"\xff" * 32, "bytes that are no UTF-8, as the environment may hold them"
    assert read_key(base64.b64encode(bytes(range(40))).decode()).algorithm == "HS256"


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_private_key_is_refused(algorithm: str) -> None:
    key = private_key(algorithm)
    assert "openssl pkey" in refusal(private_pem(key))
    if algorithm != "EdDSA":
        old = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        assert "private key" in refusal(old)
    openssh = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    assert "private key" in refusal(openssh)
    assert "private key" in refusal(public_pem(key) + private_pem(key))


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_public_key_in_another_form_is_no_secret(algorithm: str) -> None:
    """Anybody who knows it could make tokens."""
    key = private_key(algorithm)
    public = key.public_key()
    der = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    listed = json.dumps(jwk(key, algorithm))
    lines = "\n".join(der[i : i + 64] for i in range(0, len(der), 64))
    bare = base64.urlsafe_b64encode(base64.b64decode(der)).decode().rstrip("=")
    rfc4716 = f"---- BEGIN SSH2 PUBLIC KEY ----\n{ssh.split()[1]}\n---- END SSH2 PUBLIC KEY ----"
    encoded = der, lines, der.rstrip("="), bare, base64.b64decode(der).hex(), base64.b64decode(der).hex(":")
    for text in (*encoded, ssh, rfc4716, listed, f'{{"keys":[{listed}]}}', f'"{der}"', f"'{der}'"):
        assert "other than PEM" in refusal(text)


def test_a_certificate_is_no_secret(tmp_path: Path) -> None:
    """Everybody is shown it. A JWKS has it in x5c."""
    certfile, _ = make_certificate(tmp_path)
    der = load_pem_x509_certificates(certfile.read_bytes())[0].public_bytes(Encoding.DER)
    for text in (base64.b64encode(der).decode(), base64.urlsafe_b64encode(der).decode().rstrip("="), der.hex()):
        assert "other than PEM" in refusal(text)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "P-256"),
        (ec.generate_private_key(ec.SECP256K1()), "P-256"),
        (ed448.Ed448PrivateKey.generate(), "Ed25519"),
        (x25519.X25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 1024), "2048"),
        (dsa.generate_private_key(1024), "Ed25519"),
    ],
    ids=["P-384", "secp256k1", "Ed448", "X25519", "RSA of 1024 bits", "DSA"],
)
def test_other_kinds_curves_and_sizes_are_refused(key: object, why: str) -> None:
    assert why in refusal(public_pem(key))


@pytest.mark.parametrize("what", ["PUBLIC KEY", "CERTIFICATE", "RSA PUBLIC KEY", "X"])
def test_pem_that_holds_no_public_key_is_refused(what: str) -> None:
    assert "no public key" in refusal(
        f"-----BEGIN {what}-----\n{base64.b64encode(SECRET.encode()).decode()}\n-----END {what}-----"
    )
