"""notebooks/tour.ipynb, run from its first cell to its last: make tour keeps what it then shows."""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TOUR = Path(__file__).parents[2] / "notebooks/tour.ipynb"


def executed(folder: Path) -> nbformat.NotebookNode:
    """The tour with new outputs, run in this folder; without times and versions."""
    tour = nbformat.read(TOUR, as_version=4)
    client = NotebookClient(
        tour,
        timeout=120,
        record_timing=False,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    tour.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return tour


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), TOUR)
    sys.stdout.write(f"{TOUR.stat().st_size // 1000} kB\n")
