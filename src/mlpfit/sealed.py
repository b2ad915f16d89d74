"""Files made from runs that tell by themselves whether they are as they were written: JSON, SVG and
tables."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpfit.errors import RunError

KEY = "sha256"  # of JSON, and column of a table


def json_bytes(content: dict[str, Any]) -> bytes:
    """JSON with its own hash as the last key."""
    return (json.dumps(content | {KEY: _of(content)}, indent=1) + "\n").encode()


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """What json_bytes wrote, without the hash. Raises RunError, which ends in the remedy."""
    try:
        content = json.loads(file.read_bytes())
        if content.pop(KEY) == _of(content):
            return content
    except OSError:
        raise RunError(f"{file} is not there: {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # no JSON, no dict, no hash
    raise RunError(f"{file}: not as it was written; {remedy}")


def read_ledger(outputs: Path) -> dict[str, Any]:
    """outputs/ledger.json. Raises RunError if it is not there, or not as it was written."""
    return read_json(
        outputs / "ledger.json", "remove it, and make ensembles report writes it again"
    )


def svg_bytes(svg: bytes) -> bytes:
    """The picture with its hash as a closing comment."""
    return svg + _comment(svg)


def is_whole(svg: bytes) -> bool:
    """Whether svg_bytes wrote this."""
    length = len(_comment(b""))
    return svg[-length:] == _comment(svg[:-length])


def read_svg(file: Path) -> bytes:
    """A picture. Raises RunError unless it is as it was written."""
    svg = file.read_bytes()
    if not is_whole(svg):
        raise RunError(f"{file}: not as it was written; make figures draws it again")
    return svg


def table_hash(rows: Sequence[dict[str, str]]) -> str:
    """Goes into the column KEY of every row of a table."""
    return hashlib.sha256(repr([list(row.items()) for row in rows]).encode()).hexdigest()[:16]


def _of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _comment(svg: bytes) -> bytes:
    return f"<!-- sha256 of the above: {hashlib.sha256(svg).hexdigest()} -->\n".encode()
