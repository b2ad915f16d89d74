"""Files with a hash of their own content, which shows changes: JSON, SVG and tables."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpfit.errors import RunError

KEY = "sha256"  # of JSON, and the column of a table


def json_bytes(content: dict[str, Any]) -> bytes:
    """JSON with its own hash as the last key."""
    return (json.dumps(content | {KEY: _hash(content)}, indent=1) + "\n").encode()


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """Content of a file of :func:`json_bytes`, without the hash. Raises RunError, which ends in the
    remedy, if it is missing or changed."""
    try:
        content = json.loads(file.read_bytes())
        if content.pop(KEY) == _hash(content):
            return content
    except OSError:
        raise RunError(f"{file} is not there: {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # not JSON, not a dict, or without hash
    raise RunError(f"{file}: not as it was written; {remedy}")


def is_unchanged(content: dict[str, Any]) -> bool:
    """Whether the content of such a file has the hash that it was written with."""
    return content.get(KEY) == _hash({k: v for k, v in content.items() if k != KEY})


def read_ledger(outputs: Path) -> dict[str, Any]:
    """Content of ledger.json. Raises RunError if it is missing or changed."""
    file = outputs / "ledger.json"
    if not file.is_file():
        own = "mlpfit report <tutorial> needs none"
        raise RunError(f"{file} is not there: make ensembles report writes it; {own}")
    return read_json(file, "remove it, and make ensembles report writes it again")


def svg_bytes(svg: bytes) -> bytes:
    """The picture with its hash as a comment at the end."""
    return svg + _hash_comment(svg)


def is_whole(svg: bytes) -> bool:
    """Whether this is unchanged since :func:`svg_bytes`."""
    length = len(_hash_comment(b""))
    return svg[-length:] == _hash_comment(svg[:-length])


def read_svg(file: Path) -> bytes:
    """Bytes of an SVG file. Raises RunError if it has changed since it was written."""
    svg = file.read_bytes()
    if not is_whole(svg):
        raise RunError(f"{file}: not as it was written; make figures draws it again")
    return svg


def table_hash(rows: Sequence[dict[str, str]]) -> str:
    """Hash of a table, for the column KEY of every row."""
    return hashlib.sha256(repr([list(row.items()) for row in rows]).encode()).hexdigest()[:16]


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _hash_comment(svg: bytes) -> bytes:
    return f"<!-- sha256 of the above: {hashlib.sha256(svg).hexdigest()} -->\n".encode()
