"""The code with one rule broken, beside the code as it is: imported a second time, from texts that nobody wrote to disk."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tests.checkout import PACKAGES
from tests.parts import ROOT

_ANEW = (*PACKAGES, "tests.model", "tests.event_source")


class _Loader(importlib.abc.SourceLoader):
    """Loads the modules whose text is another."""

    def __init__(self, texts: Mapping[Path, str]) -> None:
        self._texts = {ROOT / path: text for path, text in texts.items()}

    def finds(self, file: Path) -> bool:
        return file in self._texts

    def get_filename(self, fullname: str) -> str:
        return str(ROOT.joinpath(*fullname.split(".")).with_suffix(".py"))

    def get_data(self, path: str | bytes) -> bytes:
        text = self._texts.get(Path(str(path)))
        if text is None:
            raise OSError(f"no compiled file for {path!r}")
        return text.encode()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds those modules, before anybody else does."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = ROOT.joinpath(*fullname.split(".")).with_suffix(".py")
        if not self._loader.finds(file):
            return None
        return importlib.util.spec_from_file_location(fullname, file, loader=self._loader)


@contextmanager
def with_texts(texts: Mapping[Path, str]) -> Iterator[ModuleType]:
    """`tests.model.walk`, over code in which these files (paths in the checkout) have these texts, until the end of the block."""
    before = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    finder = _Finder(_Loader(texts))
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module("tests.model.walk")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_ours(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in _ANEW)
