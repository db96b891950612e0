"""Docs lead where they say and name what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.checkout import PACKAGES, documents, tracked
from tests.parts import ROOT


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """The files of the checkout that a document links to, with the anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", tracked().get(path, "")):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            yield (ROOT / path.parent / file).resolve() if file else ROOT / path, anchor


def test_links_between_documents_lead_somewhere() -> None:
    for path in documents():
        for target, anchor in links(path):
            assert target.exists(), f"{path} links to {target.relative_to(ROOT)}"
            assert not anchor or anchor in anchors(target.read_text()), f"{path} links to {target.name}#{anchor}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    open_ends = {Path("README.md")}
    while open_ends:
        path = open_ends.pop()
        seen.add(path)
        found = {target.relative_to(ROOT) for target, _ in links(path) if target.suffix == ".md"}
        open_ends |= found - seen
    assert set(documents()) - seen == set()


def test_files_that_docs_name_are_there() -> None:
    """`folder/file.py` in backticks, from the root of the repository."""
    pattern = re.compile(
        r"`((?:" + "|".join([*PACKAGES, "tests", "docs", "requirements"]) + r")/[\w./-]*\w)(?:\([^`]*)?`"
    )
    for path in documents():
        for name in pattern.findall(tracked().get(path, "")):
            assert (ROOT / name).exists() or (ROOT / f"{name}.py").exists(), f"{path} names {name}"
