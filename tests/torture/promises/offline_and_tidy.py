"""No network, and only the working folder can be written: not home, sources or environment."""

import sys
from pathlib import Path

from injection import IS_ROOT, ROOT, python
from promise import promise

ALLOWED = {"runs", "ensembles", "figures", "results.csv", ".locks", ".cache", "tmp"}
COMMANDS = [
    ["reproduce"],
    ["experiment=plane/scratch", "replicas=64"],
    ["tensorboard", "--write-only"],
]


@promise(
    13,
    "Offline and tidy",
    "no network, read-only home, sources and environment",
    full=1,
    quick=1,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    home, work = folder / "home", folder / "work"
    home.mkdir()
    (work / "outputs/tmp").mkdir(parents=True)
    places = (home, ROOT, sys.prefix)
    bind = [f"mount --bind '{p}' '{p}' && mount -o remount,ro,bind '{p}'" for p in places]
    wrap = ("unshare", "-n", "-m", "sh", "-c", f'{" && ".join(bind)} && exec "$@"', "sh")
    if not IS_ROOT:
        home.chmod(0o555)
    proxy = "http://127.0.0.1:9"
    env = {"HOME": str(home), "TMPDIR": str(work / "outputs/tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
    for command in [["reproduce", "plane"]] if quick else COMMANDS:
        ended = python("mlpfit", *command, cwd=work, wrap=wrap if IS_ROOT else (), **env)
        ended.fine()
        assert ended.stderr == "", ended.stderr
    assert not list(home.iterdir())
    assert [file.name for file in work.iterdir()] == ["outputs"]
    assert {file.name for file in (work / "outputs").iterdir()} <= ALLOWED
