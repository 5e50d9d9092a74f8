"""Finds the code blocks of a Markdown page, and what its author says of how they are to be run.

An HTML comment right before a block, which no reader sees, says so:

``not run: REASON``   it is only checked that its commands and options exist
``background``        a server: it runs until the page ends
``file: NAME``        it is saved under this name; pytest runs it where it holds tests
``stores: ID URL``    afterwards the connection ID is stored and leads to URL
``connection: URL``   afterwards the connection grokvideo_default in the environment leads to URL
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>```+)(?P<info>[^`]*)$")
_MARK = re.compile(r"<!-- (?P<name>not run|background|file|stores|connection)(?:: (?P<value>.*))? -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    :param info: what follows the fence: the language, or a directive of Sphinx.
    :param mark: name of the comment before it.
    """

    path: Path
    line: int
    info: str
    text: str
    mark: str | None = None
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    lines = path.read_text().splitlines()
    number, mark, value = 0, None, ""
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _MARK.match(line.strip()):
            mark, value = found["name"], found["value"] or ""
        elif fence := _FENCE.match(line):
            begin = number
            while lines[number].strip() != fence["fence"]:
                number += 1
            text = textwrap.dedent("\n".join(lines[begin:number])) + "\n"
            number += 1
            yield Block(path, begin + 1, fence["info"].strip(), text, mark, value)
            mark, value = None, ""
        elif line.strip():
            if mark:
                raise ValueError(f"{path.name}:{number}: the comment before this line belongs to no block")
            mark, value = None, ""
