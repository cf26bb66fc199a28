"""`besom requirements`: write the requirements.txt that a program needs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from besom.cli.output import Column, counted, print_table, say

if TYPE_CHECKING:
    from besom_sagemaker.requirements import Requirements


@click.command()
@click.argument("program", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; show each line's reason, and what is left out.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it.  [default: stdout]")
@click.option("--root", type=click.Path(path_type=Path), help="The folder that travels with the program.")
@click.option("--from", "given", type=click.Path(path_type=Path), help="A file that states requirements.")
@click.option(
    "--image-provides", metavar="NAMES", help="What the image brings, with commas; names may have *."
)
@click.option("--allow-missing", multiple=True, metavar="NAMES", help="Imports that may be missing here.")
def requirements(
    program: Path,
    *,
    check: bool,
    output: Path | None,
    root: Path | None,
    given: Path | None,
    image_provides: str | None,
    allow_missing: tuple[str, ...],
) -> None:
    """Work out what PROGRAM imports, pinned as it is installed here, without what the image brings."""
    from besom_sagemaker.requirements import IMAGE_PROVIDES, gather_requirements

    found = gather_requirements(
        program,
        root,
        given=given,
        image_provides=IMAGE_PROVIDES if image_provides is None else _names((image_provides,)),
        allow_missing=_names(allow_missing),
    )
    if check:
        _show(found)
    found.refuse_missing()
    if check:
        raise click.exceptions.Exit(_compare(found, output))
    if output is None:
        click.echo(found.text, nl=False)
        if found.wheels:
            say(f"{counted(len(found.wheels), 'wheel')} to go with it; -o FILE writes them too")
        return
    found.write(output)
    say(f"{output}: {counted(len(found.lines), 'line')}, {counted(len(found.wheels), 'wheel')}")


def _names(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for word in words for name in word.split(",") if name.strip())


def _show(found: Requirements) -> None:
    columns = (Column("requirement"), Column("why", flexible=True))
    rows = [
        *((one.text, one.reason) for one in found.requirements),
        *((f"({one.name})", one.reason) for one in found.left_out),
        *((f"MISSING {one.module}", f"{one.place} {one.hint}".rstrip()) for one in found.missing),
    ]
    print_table(columns, rows)


def _compare(found: Requirements, output: Path | None) -> int:
    """Say whether the file is what would be written; gives the exit code."""
    if output is None:
        return 0
    if output.is_file() and f"sha256:{found.sha256}\n" in output.read_text(encoding="utf-8"):
        say(f"{output} is up to date")
        return 0
    say(f"{output} is {'out of date' if output.exists() else 'not there'}; besom requirements -o makes it")
    return 1
