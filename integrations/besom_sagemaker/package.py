"""The code of a sweep's jobs, uploaded once for each version: the runner, besom, the user's source folder.

The folder in S3 is named by a hash of what is in it, so uploading the same again costs one look.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import besom
from besom.errors import UsageError
from besom_sagemaker.cloud import Cloud
from besom_sagemaker.job import BOOT, CHANNEL, SOURCE, Layout
from besom_sagemaker.plan import Code
from besom_sagemaker.template import JobTemplate

IGNORED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".besom", ".venv", "venv", ".ipynb_checkpoints", ".DS_Store"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".idea", ".vscode", "node_modules", "wandb"}
)
"""Files and folders that are left out of a source folder, wherever they are in it."""

REQUIREMENTS = "requirements.txt"

_PACKAGES = ("besom", "besom_sagemaker", "besom_lightning", "besom_hydra", "hydra_plugins.besom")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of files in archives, so that equal files make equal archives


def build_files(template: JobTemplate, requirements: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the files of channel `besom`; equal code gives equal bytes."""
    here = Path(__file__).parent
    files = {
        BOOT: (here / "inside" / BOOT).read_bytes(),
        f"besom-{besom.__version__}.whl": besom_archive(),
        **requirements,
    }
    if template.source is None and template.source_dir is not None:
        files[SOURCE] = source_archive(template.source_dir)
    return files


def upload(cloud: Cloud, layout: Layout, template: JobTemplate, files: Mapping[str, bytes]) -> Code:
    """Upload files that are not there yet; what is whole has its boot file, which comes last."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    sha = digest.hexdigest()
    prefix = layout.code(sha[:32])
    if not cloud.exists(prefix + BOOT):
        for name in sorted(files, key=lambda name: name == BOOT):
            cloud.put(prefix + name, files[name])
    source = template.source
    if SOURCE in files:
        source = f"channel:{CHANNEL}/{SOURCE}"
    return Code(sha[:32], prefix, REQUIREMENTS if REQUIREMENTS in files else None, source)


def source_files(folder: Path) -> Iterator[str]:
    """Give the paths of the files of a source folder that are uploaded, relative to it, in order."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name in IGNORED or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from (f"{path.name}/{inner}" for inner in source_files(path))
        elif path.is_file():
            yield path.name


def source_archive(folder: Path) -> bytes:
    """Give a folder as a .tar.gz that is the same for the same files, whatever their times and owners."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name in source_files(folder):
            data = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if (folder / name).stat().st_mode & 0o100 else 0o644
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def besom_archive() -> bytes:
    """Give besom and its integrations as a zip file that Python can import from."""
    import importlib.util

    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            spec = importlib.util.find_spec(package)
            for place in list(spec.submodule_search_locations or ())[:1] if spec else ():
                _add(archive, Path(place), package.replace(".", "/"))
    return raw.getvalue()


def _add(archive: zipfile.ZipFile, root: Path, name: str) -> None:
    for path in source_files(root):
        entry = zipfile.ZipInfo(f"{name}/{path}", date_time=_EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, (root / path).read_bytes())


def requirement_files(
    template: JobTemplate,
    program: str | None,
    requirements: str | Path | Iterable[str] | None,
    *,
    image_provides: Sequence[str] | None = None,
    allow_missing: Sequence[str] = (),
) -> dict[str, bytes]:
    """Give requirements.txt, and the wheels it names, for channel `besom`; nothing if no packages are needed.

    "auto" works them out from what the program imports; besom itself comes along anyway. A path is taken as
    it is, and so are lines. `image_provides` and `allow_missing` are for "auto", as `gather_requirements`
    takes them. UnresolvedImportsError for imports that nothing here provides.
    """
    if requirements is None:
        return {}
    if requirements == "auto":
        folder = template.source_dir
        if folder is None or program is None:
            return {}
        return _gathered(folder, program, image_provides, allow_missing)
    if isinstance(requirements, (str, Path)):
        try:
            return {REQUIREMENTS: Path(requirements).read_bytes()}
        except OSError as error:
            raise UsageError(
                f"requirements {str(requirements)!r} cannot be read: {error.strerror}"
            ) from error
    return {REQUIREMENTS: "".join(f"{line}\n" for line in requirements).encode()}


def with_store_client(files: Mapping[str, bytes], address: str) -> dict[str, bytes]:
    """Give requirement files that have what besom needs, in the job, to reach the store at an address, too.

    UsageError where the requirements are held to hashes, and lack it.
    """
    text = files.get(REQUIREMENTS, b"").decode()
    if not address.startswith(("postgres:", "postgresql:")) or re.search(r"(?m)^psycopg\b", text):
        return dict(files)
    line = f"psycopg[binary]=={version('psycopg')}"
    if "--hash=" in text:
        raise UsageError(
            f"jobs reach a PostgreSQL store by psycopg: add {line} with its hashes to the requirements"
        )
    return {**files, REQUIREMENTS: f"{text}{line}\n".encode()}


def _gathered(
    folder: Path, program: str, image_provides: Sequence[str] | None, allow_missing: Sequence[str]
) -> dict[str, bytes]:
    from besom_sagemaker.requirements import IMAGE_PROVIDES, gather_requirements

    entry = folder / program
    if entry.suffix != ".py" or not entry.is_file():
        return {}
    found = gather_requirements(
        entry,
        folder,
        image_provides=IMAGE_PROVIDES if image_provides is None else image_provides,
        allow_missing=(*(name.partition(".")[0] for name in _PACKAGES), *allow_missing),
    )
    found.refuse_missing()
    kept = tuple(one for one in found.requirements if one.name != "besom")
    wheels = {name: data for name, data in found.wheels.items() if not name.startswith("besom-")}
    return replace(found, requirements=kept, wheels=wheels).files() if kept or found.image_has else {}
