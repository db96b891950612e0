"""/, /docs, /openapi.json and /static: what people and their tools look at. Nothing on a page comes from another host."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from quart import Blueprint, Response, render_template, request

from core.user_ids import UserIdType
from web.answers import json_value
from web.assets import Asset, asset, load_assets
from web.openapi import openapi_document
from web.problems import not_found


def pages_blueprint(ids: UserIdType, *, locked: bool) -> Blueprint:
    """The pages of a server whose user ids are of the type `ids`, which needs tokens if it is `locked`."""
    blueprint = Blueprint("pages", __name__)
    release = version("rowcast")
    document = openapi_document(ids, version=release, locked=locked)
    assets = load_assets()
    openapi = asset(json.dumps(document, ensure_ascii=False).encode(), ".json")
    docs: list[Asset] = []
    itself = {
        "name": "rowcast",
        "version": release,
        "user_id_type": ids.value,
        "auth": "jwt" if locked else "off",
        "routes": _routes(document),
    }

    @blueprint.get("/")
    async def index() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = await assets["index.html"].response()
        else:
            response = json_value(itself)
        response.headers["Vary"] = "Accept"
        return response

    @blueprint.get("/openapi.json")
    async def openapi_json() -> Response:
        return await openapi.response()

    @blueprint.get("/docs")
    async def docs_page() -> Response:
        if not docs:
            page = await render_template("docs.html", document=document, schemas=document["components"]["schemas"])
            docs.append(asset(page.encode(), ".html"))
        return await docs[0].response()

    @blueprint.get("/static/<path:name>")
    async def static(name: str) -> Response:
        if name not in assets:
            raise not_found("There is no such file.")
        return await assets[name].response()

    return blueprint


def _routes(document: dict[str, Any]) -> dict[str, str]:
    """Each route of the document with its summary: {"GET /notifications": "List"}."""
    return {
        f"{method.upper()} {path}": operation["summary"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    }
