"""For tests: the code of a documentation page, as one script that does what the page says.

A block whose first line is a comment with a file's name becomes that file; other bash and python blocks are
run. A block after `<!-- not run: why -->` is only read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"# (?P<name>[\w./-]+\.(?:py|yaml))\n")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    code: str


def page_blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page that are more than read, in their order."""
    for found in FENCE.finditer(page.read_text()):
        if not found["skip"]:
            yield Block(found["language"], found["code"])


def page_script(page: Path, *, read_only: Collection[str] = ()) -> str:
    """Give one bash script that does all that a page says, in its order, in an empty folder.

    Blocks in the languages of `read_only` that are no files are left out; AssertionError for any other that
    can be neither run nor written.
    """
    lines = ["set -euo pipefail"]
    for number, (language, code) in enumerate(page_blocks(page)):
        end = f"END_OF_BLOCK_{number}"
        if name := FILE.match(code):
            path = name["name"]
            if "/" in path:
                lines.append(f"mkdir -p {path.rpartition('/')[0]}")
            lines.append(f"cat > {path} <<'{end}'\n{code}{end}")
        elif language == "python":
            lines.append(f"python - <<'{end}'\n{code}{end}")
        elif language == "bash":
            lines.append(code)
        else:
            assert language in read_only, f"{page.name}: nobody runs this {language} block:\n{code}"
    return "\n".join(lines)
