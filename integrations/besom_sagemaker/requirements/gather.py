"""Puts a program's requirements together: what the project states, what it imports, what the image has."""

from __future__ import annotations

import fnmatch
import hashlib
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from besom.errors import UsageError
from besom_sagemaker.leaks import refuse_leaks, scan_bytes
from besom_sagemaker.requirements.install import IMAGE_PROVIDES
from besom_sagemaker.requirements.local import BESOM, build_folder, make_wheel
from besom_sagemaker.requirements.lock import Line, find_given, read_given
from besom_sagemaker.requirements.render import WHEELS, LeftOut, Missing, Requirement, Requirements
from besom_sagemaker.requirements.resolve import WELL_KNOWN, Environment, Package, normalize
from besom_sagemaker.requirements.scan import Import, Need, scan_program

BY_IMAGE = "the image provides it"


@dataclass(slots=True)
class _Gathering:
    environment: Environment
    root: Path
    patterns: tuple[str, ...]
    allowed: frozenset[str]
    folder: Path  # where wheels are made
    lines: dict[str, Requirement] = field(default_factory=dict[str, Requirement])
    options: list[Requirement] = field(default_factory=list[Requirement])
    left_out: dict[str, LeftOut] = field(default_factory=dict[str, LeftOut])
    image_has: set[str] = field(default_factory=set[str])
    missing: list[Missing] = field(default_factory=list[Missing])


def gather_requirements(
    program: Path,
    root: Path | None = None,
    *,
    given: Path | None = None,
    image_provides: Sequence[str] = IMAGE_PROVIDES,
    allow_missing: Iterable[str] = (),
    environment: Environment | None = None,
) -> Requirements:
    """Work out what `program` needs; `root` is the folder that travels with it, its own by default.

    `given` is a file that states requirements; without one it is `root`'s requirements.txt, uv.lock,
    poetry.lock or pyproject.toml. Its lines win; imports that it lacks are pinned to what is installed here.
    Imports that nothing provides are in `missing`, unless `allow_missing` names them. NotFoundError and
    UsageError for files that are not there or cannot be read; WheelError for what cannot be built.
    """
    root = (root or program.resolve().parent).resolve()
    scan = scan_program(program, root)
    with tempfile.TemporaryDirectory(prefix="besom-requirements-") as scratch:
        work = _Gathering(
            environment or Environment(),
            root,
            tuple(normalize(pattern) for pattern in image_provides),
            frozenset(allow_missing),
            Path(scratch),
        )
        if stated := given or find_given(root):
            for line in read_given(stated):
                _take_line(work, line)
        for found in scan.imports:
            _take_import(work, found)
        wheels = {path.name: path.read_bytes() for path in sorted(Path(scratch).glob("*.whl"))}
    _keep_hashes(work, wheels)
    shown = program.resolve()
    return Requirements(
        program=shown.relative_to(root).as_posix() if shown.is_relative_to(root) else shown.name,
        requirements=(*work.options, *sorted(work.lines.values(), key=lambda one: one.name or "")),
        left_out=tuple(sorted(work.left_out.values(), key=lambda one: one.name)),
        missing=tuple(work.missing),
        image_provides=work.patterns,
        image_has=tuple(sorted(work.image_has)),
        wheels=wheels,
    )


def _keep_hashes(work: _Gathering, wheels: Mapping[str, bytes]) -> None:
    """Where the project's lines have hashes, which pip then asks of all: give wheels theirs.

    UsageError for an import that is not among the project's lines, whose hash is not known here.
    """
    if not any("--hash=" in line.text for line in work.lines.values()):
        return
    for name, line in work.lines.items():
        if "--hash=" in line.text:
            continue
        wheel = wheels.get(line.text.removeprefix(f"./{WHEELS}/"))
        if wheel is None:
            raise UsageError(
                f"the project states its requirements with hashes, but {name} ({line.reason}) is not among"
                " them; add it there with its hash"
            )
        digest = hashlib.sha256(wheel).hexdigest()
        work.lines[name] = Requirement(f"{line.text} --hash=sha256:{digest}", line.reason, name)


def _take_line(work: _Gathering, line: Line) -> None:
    """Take a line that the project states, unless the image provides it; LeakError if a password is in it."""
    refuse_leaks(scan_bytes(line.source, line.text.encode()))
    if line.name is not None and _provided(work, line.name):
        # An image may do without what only a lock file names: it is nothing the program imports.
        work.left_out[line.name] = LeftOut(line.name, f"{BY_IMAGE} ({line.source})")
    elif line.name is None and line.folder is None:
        work.options.append(Requirement(line.text, line.source))
    elif line.folder is not None:
        built = build_folder(Path(line.folder), work.folder)
        name = line.name or normalize(built.name.partition("-")[0])
        work.lines[name] = Requirement(f"./{WHEELS}/{built.name}", f"local, {line.source}", name)
    elif line.name == BESOM:
        _take_package(work, work.environment.package(BESOM), line.source)
    elif line.name is not None:
        installed = work.environment.package(line.name)
        if installed is not None and installed.origin != "index":
            _take_package(work, installed, line.source)
            return
        work.lines[line.name] = Requirement(line.text, line.source, line.name)


def _take_import(work: _Gathering, found: Import) -> None:
    """Take what an import comes from."""
    place = str(found.place)
    packages = work.environment.packages_of(found.module)
    if found.need is Need.NEVER:
        name = packages[0].key if packages else found.top
        if name not in work.lines:
            work.left_out.setdefault(name, LeftOut(name, f"not imported at run time ({place})"))
        return
    for package in packages:
        _take_package(work, package, place, optional=found.need is Need.OPTIONAL)
        if package.origin == "editable" and not _in_wheel(work, package, found.top):
            why = f"found in the folder of {package.name}, whose wheel does not have it"
            work.missing.append(Missing(found.top, place, why))
    if packages or _stated(work, found):
        return
    if found.need is Need.OPTIONAL or found.top in work.allowed or found.module in work.allowed:
        why = "optional" if found.need is Need.OPTIONAL else "allowed to be missing"
        work.left_out.setdefault(found.top, LeftOut(found.top, f"{why}, and not installed here ({place})"))
        return
    if _provided(work, found.top):
        work.image_has.add(normalize(found.top))
        work.left_out[found.top] = LeftOut(found.top, f"{BY_IMAGE} ({place})")
        return
    if not any(one.module.partition(".")[0] == found.top for one in work.missing):
        module = found.module if work.environment.packages_of(found.top) else found.top
        work.missing.append(Missing(module, place, _hint(work, found)))


def _in_wheel(work: _Gathering, package: Package, top: str) -> bool:
    """Say whether the wheel of an editable package, if it has one here, has a module."""
    line = work.lines.get(package.key)
    if line is None or not line.text.startswith(f"./{WHEELS}/"):
        return True
    with zipfile.ZipFile(work.folder / line.text.rpartition("/")[2]) as wheel:
        return any(name.startswith((f"{top}/", f"{top}.")) for name in wheel.namelist())


def _stated(work: _Gathering, found: Import) -> bool:
    """Say whether a line of the project covers an import of what is not installed here."""
    known = normalize(WELL_KNOWN.get(found.top, found.top)).removesuffix("-headless")
    stated = {*work.lines, *work.left_out}
    return normalize(found.top) in stated or any(name.startswith(known) for name in stated)


def _take_package(work: _Gathering, package: Package | None, place: str, *, optional: bool = False) -> None:
    if package is None or package.key in work.lines:
        return
    if _provided(work, package.key):
        if not optional:
            work.image_has.add(package.key)
        told = work.left_out.get(package.key)
        if told is None or not told.reason.startswith(BY_IMAGE):
            work.left_out[package.key] = LeftOut(package.key, f"{BY_IMAGE} ({place})")
        return
    work.left_out.pop(package.key, None)
    if package.origin == "index" and package.key != BESOM:
        work.lines[package.key] = Requirement(package.pin, place, package.key)
        return
    wheel = make_wheel(package, work.folder, work.environment)
    # Folders of this machine say nothing elsewhere; a repository's address does.
    reason = f"{package.source if package.origin == 'vcs' else package.origin}, {place}"
    work.lines[package.key] = Requirement(f"./{WHEELS}/{wheel.name}", reason, package.key)


def _provided(work: _Gathering, name: str) -> bool:
    return any(fnmatch.fnmatchcase(normalize(name), pattern) for pattern in work.patterns)


def _hint(work: _Gathering, found: Import) -> str:
    """Say what to do about an import that no distribution owns."""
    if work.environment.packages_of(found.top):
        return f"not installed here, though other parts of {found.top} are"
    place = work.environment.place_of(found.module)
    if place is not None and not {"site-packages", "dist-packages"} & set(place.parts):
        return f"found at {place}, which is neither in {work.root} nor an installed package"
    known = WELL_KNOWN.get(found.top)
    return f"not installed here; it comes with {known}" if known else ""
