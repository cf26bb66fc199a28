"""What a project already says it requires: requirements.txt, uv.lock, poetry.lock or pyproject.toml."""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom_sagemaker.requirements.local import find_uv
from besom_sagemaker.requirements.resolve import normalize

NAMES = ("requirements.txt", "uv.lock", "poetry.lock", "pyproject.toml")
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
MADE_BY_BESOM = "# Made by `besom requirements`"


@dataclass(frozen=True, slots=True)
class Line:
    """A requirement that a project states; `name` is normalized, None for an option such as --index-url."""

    text: str
    name: str | None
    source: str
    folder: str | None = None  # of a package in a folder: it needs a wheel


def find_given(root: Path) -> Path | None:
    """Give the file of a folder that states its requirements: the most exact wins."""
    for name in NAMES:
        path = root / name
        if path.is_file() and not (name == NAMES[0] and path.read_text().startswith(MADE_BY_BESOM)):
            return path
    return None


def read_given(path: Path) -> tuple[Line, ...]:
    """Read the file; UsageError if it cannot be read."""
    readers = {"uv.lock": _uv_lock, "poetry.lock": _poetry_lock, "pyproject.toml": _pyproject}
    return tuple(readers.get(path.name, _requirements)(path))


def _requirements(path: Path, seen: frozenset[Path] = frozenset()) -> Iterator[Line]:
    """Read a requirements.txt and those it includes."""
    if path in seen:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    number, begun, whole = 0, 1, ""
    for raw in text.splitlines():
        number += 1
        begun = begun if whole else number
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if line.endswith("\\"):
            whole += line[:-1].rstrip() + " "
            continue
        line, whole = whole + line, ""
        if line:
            yield from _requirement(line, path, f"{path.name}:{begun}", seen | {path})


def _requirement(line: str, path: Path, source: str, seen: frozenset[Path]) -> Iterator[Line]:
    option = re.match(r"(-r|--requirement|-c|--constraint|-e|--editable)[\s=]+(.+)", line)
    if option and option[1] in ("-r", "--requirement"):
        yield from _requirements(path.parent / option[2], seen)
    elif option and option[1] in ("-c", "--constraint"):
        raise UsageError(f"{source}: constraints are not carried along; write the versions into {path.name}")
    elif option:
        yield _folder_line(option[2], path, source)
    elif line.startswith("-"):
        yield Line(line, None, source)
    elif line.startswith((".", "/", "file:")) or re.search(r"@\s*file:", line):
        yield _folder_line(re.sub(r"^.*@\s*(?=file:)", "", line), path, source)
    elif found := _NAME.match(line):
        yield Line(line, normalize(found[0]), source)
    else:
        raise UsageError(f"{source}: not a requirement: {line.split(maxsplit=1)[0]}")


def _folder_line(words: str, path: Path, source: str) -> Line:
    place = words.removeprefix("file://").removeprefix("file:").partition("[")[0].strip()
    if "://" in place or place.startswith("git+"):
        egg = re.search(r"#egg=([\w.-]+)", place)
        name = normalize(egg[1]) if egg else None
        if name is None:
            raise UsageError(
                f"{source}: write it as NAME @ {place.partition('+')[0]}+..., so that it has a name"
            )
        return Line(f"{name} @ {place}", name, source)
    folder = (path.parent / place).resolve()
    if not folder.exists():
        raise UsageError(f"{source}: there is no {folder}")
    return Line(str(folder), _name_of_project(folder), source, str(folder))


def _name_of_project(folder: Path) -> str | None:
    """Give the name of the distribution in a folder, or of a wheel."""
    if folder.suffix == ".whl":
        return normalize(folder.name.partition("-")[0])
    if (project := folder / "pyproject.toml").is_file():
        name = _toml(project).get("project", {}).get("name")
        return normalize(str(name)) if name else None
    return None


def _uv_lock(path: Path) -> Iterator[Line]:
    """Read uv.lock: through uv, which writes markers too, else its versions as they are."""
    if uv := find_uv():
        command = [
            *(uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-dev", "--no-hashes"),
            *("--no-header", "--no-annotate", "--offline"),
        ]
        done = subprocess.run(
            command, cwd=path.parent, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise UsageError(f"uv cannot export {path}: {done.stderr.strip()[-500:]}")
        for line in done.stdout.splitlines():
            if text := line.split(" #")[0].strip():
                yield from _requirement(text, path, path.name, frozenset())
        return
    packages: dict[str, dict[str, Any]] = {
        normalize(package["name"]): package for package in _toml(path).get("package", [])
    }
    roots = [name for name, one in packages.items() if {"virtual", "editable"} & set(one.get("source", {}))]
    waiting, seen = list(roots), set(roots)
    while waiting:
        for dependency in packages[waiting.pop()].get("dependencies", []):
            name = normalize(dependency["name"])
            if name in seen or name not in packages:
                continue
            seen.add(name)
            waiting.append(name)
            marker = f" ; {dependency['marker']}" if dependency.get("marker") else ""
            yield Line(f"{name}=={packages[name]['version']}{marker}", name, path.name)


def _poetry_lock(path: Path) -> Iterator[Line]:
    for package in _toml(path).get("package", []):
        name, groups = normalize(package["name"]), package.get("groups", ["main"])
        if package.get("optional") or not ("main" in groups and package.get("category", "main") == "main"):
            continue
        source = package.get("source", {})
        if source.get("type") == "directory":
            yield _folder_line(source["url"], path, path.name)
            continue
        if source.get("type") == "git":
            yield Line(f"{name} @ git+{source['url']}@{source['resolved_reference']}", name, path.name)
            continue
        markers: Any = package.get("markers", "")
        marker: str = markers.get("main", "") if isinstance(markers, dict) else markers  # pyright: ignore
        yield Line(f"{name}=={package['version']}{f' ; {marker}' if marker else ''}", name, path.name)


def _pyproject(path: Path) -> Iterator[Line]:
    """Read what the project itself depends on; extras and groups are for other purposes."""
    for text in _toml(path).get("project", {}).get("dependencies", []):
        yield from _requirement(str(text), path, path.name, frozenset())


def _toml(path: Path) -> Mapping[str, Any]:
    """Read a TOML file; Python before 3.11 has no reader of its own and needs tomli."""
    for name in ("tomllib", "tomli"):
        try:
            reader: Any = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        try:
            read: dict[str, Any] = reader.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None
        return read
    raise UsageError(f"reading {path} needs Python 3.11 or tomli: pip install tomli")
