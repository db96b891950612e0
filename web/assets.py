"""The files of the pages, read once: what is not in the folder at start does not exist."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from quart import Response, request

FOLDER = Path(__file__).parent / "static"

# What the machine's own table may say otherwise, or not know.
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

# What a page may load and do: nothing inline, nothing evaluated, nothing of others, in nobody's frame, no text made markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, media type and the tag that changes with the bytes."""

    content: bytes
    media_type: str
    tag: str

    async def response(self) -> Response:
        """The file, or 304 to whoever has it. Kept by caches, but asked for again each time: a new release shows at once."""
        response = Response(self.content, content_type=self.media_type)
        response.set_etag(self.tag)
        response.headers["Cache-Control"] = "no-cache"
        if self.media_type.startswith("text/html"):
            response.headers["Content-Security-Policy"] = _POLICY
        return await response.make_conditional(request)


def asset(content: bytes, suffix: str) -> Asset:
    """An asset of those bytes; `suffix` (".html") tells the type."""
    media_type = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:32])


def load_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Every file below `folder` by its path there."""
    return {
        path.relative_to(folder).as_posix(): asset(path.read_bytes(), path.suffix)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
