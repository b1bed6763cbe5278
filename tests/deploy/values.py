#!/usr/bin/env python3
"""Writes the table of values in the chart's README from the comments of values.yaml: `values.py` writes, `values.py --check`
says whether it is up to date. Standard library only, so that whoever changes a value needs nothing else. It reads the
layout that values.yaml keeps (two spaces a level, `# --` before each value), not YAML at large."""

import pathlib
import re
import sys

CHART = pathlib.Path(__file__).resolve().parents[2] / "helm" / "p92"
BEGIN = "<!-- Written by tests/deploy/values.py from the comments of values.yaml. -->"
KEY = re.compile(r"^( *)([A-Za-z0-9-]+):(?: (.*))?$")


def rows(text: str):
    """(path, default, meaning) of each commented value; a value without a comment is an error."""
    lines, path, anchors, about = text.splitlines(), [], {}, None
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.strip().startswith("# -- "):
            about = line.strip()[5:]
            continue
        match = KEY.match(line)
        if not match:
            continue
        depth, name, rest = len(match[1]) // 2, match[2], (match[3] or "").strip()
        path[depth:] = [name]
        if about is None and rest and not rest.startswith("&"):
            raise SystemExit(f"values.yaml: {'.'.join(path)} has no comment that begins with `# --`")
        if about is None:
            continue
        block = []
        while number < len(lines) and len(lines[number]) - len(lines[number].lstrip()) > depth * 2 and lines[number].strip():
            block.append(lines[number].strip())
            number += 1
        if anchor := re.match(r"^&(\S+)\s*(.*)$", rest):
            rest = anchor[2] or " · ".join(block)
            anchors[anchor[1]] = rest
        elif alias := re.match(r"^\*(\S+)$", rest):
            rest = anchors[alias[1]]
        yield ".".join(path), rest or " · ".join(block), about
        about = None


def table(text: str) -> str:
    out = [BEGIN, "", "| value | default | meaning |", "|---|---|---|"]
    for path, default, about in rows(text):
        cell = default.replace("|", "\\|")
        out.append(f"| `{path}` | `{cell}` | {about.replace('|', chr(92) + '|')} |")
    return "\n".join(out) + "\n"


def whole() -> str:
    readme = (CHART / "README.md").read_text()
    head, mark, _ = readme.partition(BEGIN)
    if not mark:
        raise SystemExit("the chart's README has lost the line after which its values stand")
    return head + table((CHART / "values.yaml").read_text())


def main() -> None:
    path = CHART / "README.md"
    if sys.argv[1:] == ["--check"]:
        if path.read_text() != whole():
            raise SystemExit("helm/p92/README.md is not what values.yaml says; run tests/deploy/values.py")
        return
    path.write_text(whole())


if __name__ == "__main__":
    main()
