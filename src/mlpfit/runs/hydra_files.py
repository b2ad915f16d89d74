"""The files that Hydra writes into a run's folder: its config (``hydra.output_subdir``) and its log
(``hydra/job_logging=default``). A finished run replaces the folder, but not them."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def hydra_files_kept(folder: Path, output_subdir: str | None) -> Iterator[None]:
    """Write Hydra's files again that the body has removed with the folder, also what was logged
    meanwhile."""
    folder = folder.resolve()
    files = list((folder / output_subdir).glob("*")) if output_subdir else []
    written = {path: path.read_bytes() for path in files if path.is_file()}
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.FileHandler)
        and folder in Path(handler.baseFilename).resolve().parents
        and Path(handler.baseFilename).is_file()
    ]
    with ExitStack() as stack:
        logs = [(h, stack.enter_context(open(h.baseFilename, "rb"))) for h in handlers]
        try:
            yield
        finally:
            for handler, log in logs:
                path = Path(handler.baseFilename)
                if folder.is_dir() and not path.exists():
                    handler.close()  # it opens the new file with the next line
                    written[path] = log.read()
            for path, content in written.items():
                if folder.is_dir() and not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
