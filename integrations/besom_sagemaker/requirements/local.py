"""Wheels of what no index has: packages installed from a folder or a repository, and besom itself.

What is installed is packed again as it is; only an editable package is built, from its folder. The same
content gives the same bytes, so that a wheel's hash says what is in it.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from besom.errors import BesomError
from besom_sagemaker.requirements.resolve import Environment, Package, normalize

EPOCH = (1980, 1, 1, 0, 0, 0)
BUILD_SECONDS = 600
BESOM = "besom"


class WheelError(BesomError):
    """A wheel cannot be made; says of what and why."""


def make_wheel(package: Package, folder: Path, environment: Environment) -> Path:
    """Put a wheel of an installed package into a folder; gives its path."""
    distribution = environment.distributions[package.key]
    folder.mkdir(parents=True, exist_ok=True)
    if package.origin != "editable":
        return _pack(distribution, dict(_installed_files(distribution)), folder)
    if package.key == BESOM:
        return _pack(distribution, dict(_besom_files()), folder)
    return build_folder(Path(str(package.source)), folder)


def besom_wheel(folder: Path) -> Path:
    """Put a wheel of the besom that is running, its integrations with it, into a folder; needs no index."""
    package = Environment().package(BESOM)
    if package is None:
        raise WheelError("besom is not installed here, only on the path; pip install it (-e will do)")
    return make_wheel(package, folder, Environment())


def _besom_files() -> Iterator[tuple[str, Path]]:
    """Give besom's own packages where they are in a checkout."""
    import besom
    import besom_sagemaker

    for root in (Path(besom.__file__).parents[1], Path(besom_sagemaker.__file__).parents[1]):
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            ours = name.startswith(("besom/", "besom_", "hydra_plugins/"))
            if ours and path.is_file() and "__pycache__" not in path.parts:
                yield name, path


def _installed_files(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    name = normalize(distribution.metadata["Name"])
    if not distribution.files:
        raise WheelError(f"{name} does not say which files it has; install it again with pip")
    for file in distribution.files:
        path = Path(str(file.locate()))
        if ".dist-info/" in file.as_posix() or file.suffix == ".pyc":
            continue
        if file.parts[0] == "..":  # bin/ and share/; commands come back from entry points
            continue
        if not path.is_file():
            raise WheelError(f"{name} lacks its file {file}; install it again")
        yield file.as_posix(), path


def _pack(distribution: metadata.Distribution, files: Mapping[str, Path], folder: Path) -> Path:
    """Write a wheel of these files with the distribution's own metadata."""
    name = distribution.metadata["Name"].replace("-", "_").replace(".", "_")
    info = f"{name}-{distribution.version}.dist-info"
    tags = _tags(distribution)
    contents = {file: path.read_bytes() for file, path in files.items()}
    for part in ("METADATA", "entry_points.txt", "top_level.txt"):
        if text := distribution.read_text(part):
            contents[f"{info}/{part}"] = text.encode()
    purelib = "true" if all(tag.endswith("-none-any") for tag in tags) else "false"
    contents[f"{info}/WHEEL"] = "".join(
        [
            "Wheel-Version: 1.0\nGenerator: besom\n",
            f"Root-Is-Purelib: {purelib}\n",
            *(f"Tag: {tag}\n" for tag in tags),
        ]
    ).encode()
    wheel = folder / f"{name}-{distribution.version}-{_file_tag(tags)}.whl"
    _write(wheel, contents, f"{info}/RECORD")
    return wheel


def _tags(distribution: metadata.Distribution) -> list[str]:
    text = distribution.read_text("WHEEL") or ""
    tags = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:")]
    editable = "editable" in (distribution.read_text("direct_url.json") or "")
    return ["py3-none-any"] if editable or not tags else tags


def _file_tag(tags: list[str]) -> str:
    """Give several tags as a file's name has them: each part's choices with dots between."""
    parts = zip(*(tag.split("-", 2) for tag in tags), strict=True)
    return "-".join(".".join(dict.fromkeys(part)) for part in parts)


def _write(wheel: Path, contents: Mapping[str, bytes], record: str) -> None:
    lines = [f"{name},sha256={_record_hash(data)},{len(data)}" for name, data in sorted(contents.items())]
    whole = {**contents, record: "".join(f"{line}\n" for line in (*lines, f"{record},,")).encode()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(whole.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build_folder(source: Path, folder: Path) -> Path:
    """Build the wheel of a project's folder, with uv where there is one, else with pip; a wheel is copied."""
    folder.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".whl":
        return _steady(source, folder)
    with tempfile.TemporaryDirectory(prefix="besom-wheel-") as scratch:
        if uv := find_uv():
            command = [uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", scratch]
        else:
            command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", scratch]
        try:
            done = subprocess.run(
                [*command, str(source)], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise WheelError(f"building {source} took over {BUILD_SECONDS} s") from None
        built = sorted(Path(scratch).glob("*.whl"))
        if done.returncode or not built:
            raise WheelError(f"no wheel can be built from {source}:\n{done.stderr.strip()[-2000:]}")
        return _steady(built[0], folder)


def _steady(built: Path, folder: Path) -> Path:
    """Write a built wheel anew, without the times of its files."""
    with zipfile.ZipFile(built) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    record = next(name for name in contents if name.endswith(".dist-info/RECORD"))
    del contents[record]
    _write(folder / built.name, contents, record)
    return folder / built.name


def find_uv() -> str | None:
    """Give the path of uv: the one on PATH, else the one beside this interpreter."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
