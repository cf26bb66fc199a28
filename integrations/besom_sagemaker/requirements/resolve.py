"""Which installed distribution an import comes from: pillow for PIL, scikit-learn for sklearn."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

WELL_KNOWN = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "PyYAML",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "hydra": "hydra-core",
    "tensorflow": "tensorflow",
    "attr": "attrs",
    "git": "GitPython",
    "google.protobuf": "protobuf",
    "umap": "umap-learn",
    "faiss": "faiss-cpu",
    "Crypto": "pycryptodome",
    "jose": "python-jose",
    "OpenSSL": "pyOpenSSL",
    "serial": "pyserial",
    "usb": "pyusb",
    "wx": "wxPython",
    "fitz": "PyMuPDF",
    "jwt": "PyJWT",
    "docx": "python-docx",
    "pptx": "python-pptx",
    "magic": "python-magic",
    "Levenshtein": "python-Levenshtein",
    "pytorch_lightning": "pytorch-lightning",
}
"""What provides a module that is not installed here; a hint in a message, never a line of the result."""


def normalize(name: str) -> str:
    """Give a distribution's name as indexes compare it: lower case, with single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution."""

    name: str
    version: str
    origin: str = "index"  # index, editable, local or vcs
    source: str | None = None  # the folder or address it was installed from

    @property
    def key(self) -> str:
        """The normalized name."""
        return normalize(self.name)

    @property
    def pin(self) -> str:
        """The line that installs it: an exact version, without the local tag (`+cpu`) that no index knows."""
        return f"{self.name}=={self.version.partition('+')[0]}"


class Environment:
    """The distributions that this interpreter, or the folders of `path`, can import from."""

    def __init__(self, path: list[str] | None = None) -> None:
        self._path = path

    @cached_property
    def distributions(self) -> Mapping[str, metadata.Distribution]:
        """Every distribution by its normalized name; the first on the path wins."""
        found: dict[str, metadata.Distribution] = {}
        every = metadata.distributions() if self._path is None else metadata.distributions(path=self._path)
        for distribution in every:
            if name := distribution.metadata["Name"]:
                found.setdefault(normalize(name), distribution)
        return found

    @cached_property
    def _owners(self) -> Mapping[str, tuple[str, ...]]:
        """The distributions that have files below each top-level name."""
        owners: dict[str, set[str]] = {}
        for name, distribution in self.distributions.items():
            for top in _top_levels(distribution):
                owners.setdefault(top, set()).add(name)
        return {top: tuple(sorted(names)) for top, names in owners.items()}

    def package(self, name: str) -> Package | None:
        """Give an installed distribution by name."""
        distribution = self.distributions.get(normalize(name))
        return None if distribution is None else _package(distribution)

    def packages_of(self, module: str) -> tuple[Package, ...]:
        """Give the distributions that `import module` needs; () if nothing here has it.

        Several have a part of a namespace package: those that have most of the dotted name are meant.
        """
        names = self._owners.get(module.partition(".")[0], ())
        if len(names) > 1:
            names = self._nearest(module, names)
        if not names:
            names = self._editable_owner(module)
        return tuple(_package(self.distributions[name]) for name in names)

    def _nearest(self, module: str, names: Iterable[str]) -> tuple[str, ...]:
        files = {name: _files(self.distributions[name]) for name in names}
        parts = module.split(".")
        for length in range(len(parts), 0, -1):
            base = "/".join(parts[:length])
            ends = (f"{base}.py", f"{base}/__init__.py")
            near = tuple(
                name
                for name, own in files.items()
                if any(end in own for end in ends) or any(_is_extension(file, base) for file in own)
            )
            if near:
                return near
        # None has that part: only those that do not say which files they have may.
        return tuple(files) if len(parts) == 1 else tuple(name for name, own in files.items() if not own)

    def _editable_owner(self, module: str) -> tuple[str, ...]:
        """Give the editable distribution whose folder has the module's file."""
        place = self.place_of(module)
        if place is None or {"site-packages", "dist-packages"} & set(place.parts):
            return ()
        for name, distribution in self.distributions.items():
            package = _package(distribution)
            if package.origin == "editable" and package.source and place.is_relative_to(package.source):
                return (name,)
        return ()

    def place_of(self, module: str) -> Path | None:
        """Give where Python would import the module's top level from, without importing it."""
        top = module.partition(".")[0]
        if self._path is not None:
            from importlib.machinery import PathFinder

            spec = PathFinder.find_spec(top, self._path)
        else:
            try:
                spec = importlib.util.find_spec(top)
            except (ImportError, ValueError):
                return None
        if spec is None:
            return None
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        return Path(places[0]).resolve() if places else None


def _is_extension(file: str, base: str) -> bool:
    return file.startswith(f"{base}.") and file.endswith((".so", ".pyd"))


def _files(distribution: metadata.Distribution) -> frozenset[str]:
    return frozenset(file.as_posix() for file in distribution.files or ())


def _top_levels(distribution: metadata.Distribution) -> set[str]:
    """Give the names that a distribution's files can be imported by."""
    tops = set((distribution.read_text("top_level.txt") or "").split())
    for file in distribution.files or ():
        first = file.parts[0]
        if len(file.parts) == 1:
            stem, _, ending = first.partition(".")
            if ending == "py" or ending.endswith((".so", ".pyd")) or ending in {"so", "pyd"}:
                tops.add(stem)
        elif first.isidentifier() and file.suffix in {".py", ".so", ".pyd"}:
            tops.add(first)
    return {top for top in tops if not top.startswith("__editable__")}


def _package(distribution: metadata.Distribution) -> Package:
    name, version = distribution.metadata["Name"], distribution.version
    text = distribution.read_text("direct_url.json")
    if not text:
        return Package(name, version)
    direct: dict[str, Any] = json.loads(text)
    url = str(direct.get("url", ""))
    if "vcs_info" in direct:
        commit = direct["vcs_info"].get("commit_id", "")
        return Package(name, version, "vcs", f"{direct['vcs_info'].get('vcs', 'git')}+{_bare(url)}@{commit}")
    if not url.startswith("file:"):
        return Package(name, version, "vcs", _bare(url))
    folder = unquote(urlsplit(url).path)
    editable = direct.get("dir_info", {}).get("editable", False)
    return Package(name, version, "editable" if editable else "local", str(Path(folder).resolve()))


def _bare(url: str) -> str:
    """Give an address without a user or password in it."""
    parts = urlsplit(url)
    return url.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1) if parts.netloc else url
