"""What README and the pages of docs show is true: their code runs, and what they link exists."""

import importlib.util
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, run

from mlpfit import load_run
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.judging.published import tutorial

PAGES = {file.stem: file for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TUTORIAL = "tutorial"  # its files and commands are one test below
PLUGINS = ("launcher", "optuna")  # tests/plugins/test_plugin_docs.py runs theirs
DATA = "data"  # tests/data/test_data_page.py trains its tutorial
MADE = ("outputs/report.html", "outputs/playground.html")  # by commands, not kept in git
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
# Enough of a training or a judgement to see that the line works: what is added to it.
FEW = {
    r"mlpfit -m sweep=parabola/learning_rate": [  # its answer names 0.02 and 5000
        *("replicas=2", "optimizer.lr=0.01,0.02", "trainer.max_steps=20,5000"),
        "hydra.sweep.dir=outputs/sweeps/parabola/learning_rate",
    ],
    r"mlpfit -m .*optuna": ["replicas=2", "trainer.max_steps=20", "hydra.sweeper.n_trials=2"],
    r"mlpfit -m ": ["replicas=2", "trainer.max_steps=20"],
    r"mlpfit .*ensemble\.": ["replicas=4", "ensemble.shard=2", "trainer.max_steps=20"],
    r"mlpfit .*experiment=.*replicas=": ["replicas=4", "trainer.max_steps=20"],
    r"mlpfit .*experiment=": ["trainer.max_steps=20"],
    r"mlpfit ensembles": ["parabola", "replicas=4"],
    r"mlpfit (ledger|report)": ["parabola"],
    r"mlpfit tensorboard": ["--write-only"],
}


@dataclass(frozen=True)
class Block:
    """A fenced block. why: the reason of the comment before it for not running it, or None."""

    kind: str
    text: str
    why: str | None

    @property
    def lines(self) -> list[str]:
        """Its commands, without comments."""
        return [line.partition(" #")[0].strip() for line in self.text.splitlines()]

    @property
    def file(self) -> str | None:
        """Name of the file that it shows, in a comment at its top."""
        named = re.match(r"(?:# @package _global_\n)?# (\S+/\S+): ", self.text)
        return named[1] if named else None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page; none is overlooked."""
    found = [Block(m["kind"], m["text"], m["why"]) for m in FENCE.finditer(text_of(page))]
    assert 2 * len(found) == len(re.findall("^ *```", text_of(page), re.M)), page
    return found


def text_of(page: str) -> str:
    return PAGES[page].read_text("utf-8")


def shown_files(page: str) -> dict[str, str]:
    return {block.file: block.text for block in blocks(page) if block.file}


@pytest.fixture
def folder(reproduced, tmp_path):
    """A folder in which everything was reproduced, to write into."""
    shutil.copytree(reproduced[0], tmp_path / "finished")
    return tmp_path / "finished"


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({*PAGES} - {TUTORIAL, DATA, *PLUGINS}))
def test_every_block_runs_or_says_why_not(page, folder):
    files = shown_files(TUTORIAL)
    shown = [block for block in blocks(page) if block.why is None]
    prepare(page, folder)
    python: list[str] = []  # of the page so far; each block also sees those before
    for block in shown:
        if block.file:
            assert block.text == files[block.file], f"{page}: {block.file} differs from {TUTORIAL}"
        elif block.kind == "python":
            python.append(block.text)
        else:
            assert block.kind == "", f"{page}: say why this {block.kind} is not run"
            for line in filter(None, block.lines):
                check_line(line, page, folder)
    (folder / "page.py").write_text("\n".join(python), "utf-8")
    done = run("page", cwd=folder)
    assert done.returncode == 0, f"{page}: {done.stderr}"


def prepare(page: str, folder: Path) -> None:
    """What the page says has been done before."""
    if "mlpfit verify" in text_of(page):
        assert run("mlpfit", "verify", "--keep", cwd=folder).returncode == 0
    if "load_sweep" in text_of(page):
        check_line("mlpfit -m sweep=parabola/learning_rate", page, folder)


def check_line(line: str, page: str, folder: Path) -> None:
    """A target of make exists, and a command of mlpfit runs, with few steps and replicas."""
    program, *arguments = shlex.split(line)
    if program == "make":
        done = subprocess.run(
            ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True
        )
    elif "hydra/sweeper=optuna" in arguments and importlib.util.find_spec("optuna") is None:
        return  # an optional package, whose page has tests of its own
    else:
        assert program == "mlpfit", f"{page}: {line}"
        few = next((few for start, few in FEW.items() if re.match(start, line)), [])
        done = run("mlpfit", *arguments, *few, cwd=folder)
    if line == "mlpfit":  # lists the experiments, and asks for one
        assert done.returncode == 2 and all(name in done.stderr for name in experiments())
        return
    assert done.returncode == 0, f"{page}: {line}: {done.stderr}"


@pytest.mark.slow
def test_the_tutorial_of_the_page_is_trained_drawn_judged_verified_and_swept(tmp_path):
    """Every file and every command of docs/tutorial.md, as they stand there."""
    shown = blocks(TUTORIAL)
    assert all(block.file or block.kind == "" for block in shown)
    for name, text in shown_files(TUTORIAL).items():
        assert name.startswith("ramp/")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (commands,) = (block.lines for block in shown if block.kind == "")
    assert commands[0] == "export MLPFIT_PATH=ramp"
    own, printed = {"MLPFIT_PATH": str(tmp_path / "ramp")}, {}
    for line in commands[1:]:
        _, *arguments = line.split()
        done = run("mlpfit", *arguments, cwd=tmp_path, **own)
        assert done.returncode == 0, (line, done.stderr)
        printed[" ".join(arguments)] = done.stdout
    assert "ramp/steep:mse@100" in printed["ledger ramp"]
    assert "eight units beat two" in printed["ledger ramp"]
    assert "is fitted best, median error" in printed["-m sweep=ramp/slopes"]
    outputs = tmp_path / "outputs"
    assert load_run(outputs / "ensembles/ramp/steep").replicas == 200
    for name in ("figures/ramp/fit_band.svg", "report-ramp.html", "reference-ramp.npz"):
        assert (outputs / name).is_file(), name
    done = run("mlpfit", "verify", "ramp", cwd=tmp_path, **own)
    assert done.returncode == 0 and "1 identical" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_and_names_exists(page):
    text, here = FENCE.sub("", text_of(page)), PAGES[page].parent
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        target, _, heading = link.partition("#")
        file = (here / target).resolve() if target else PAGES[page]
        name = str(file.relative_to(ROOT))
        if name in MADE:
            continue
        assert file.exists(), f"{page}: {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
            anchors = [re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles]
            assert heading in anchors, f"{page}: {link}"
    for name in re.findall(r"`((?:src|conf|tests|docs|notebooks)/[\w./]+)`", text_of(page)):
        assert (ROOT / name).exists(), f"{page}: {name}"


def test_readme_is_short_and_leads_to_every_page():
    readme = text_of("README")
    assert len(readme.splitlines()) <= 150
    reachable, new = set(), {"README"}
    while new:
        reachable |= new
        texts = "".join(map(text_of, new))
        new = {*re.findall(r"\]\((?:docs/)?(\w+)\.md[#)]", texts)} & {*PAGES} - reachable
    assert reachable == {*PAGES}


def test_readme_cites_the_pages():
    readme = text_of("README")
    for owner in (owner for owner in tutorials() if owner.packaged):
        page = tutorial(owner.name)
        link = f"[{page.citation()}]({page.page})" if page.page else page.citation()
        assert f"`{owner.name}`: {link}\n" in readme


def test_readme_lists_every_folder_of_the_package():
    listed = re.findall(r"^  ([\w/, ]+/)   ?", text_of("README"), re.M)
    names = [name.strip().strip("/") for group in listed for name in group.split(",")]
    folders = (file.parent for file in (ROOT / "src/mlpfit").glob("*/__init__.py"))
    assert sorted(names) == sorted(folder.name for folder in folders)


def test_results_are_in_the_generated_block_alone(reproduced):
    """No final or published number is typed into the text of a page by hand."""
    cells = re.split(r"[,\s]", (reproduced[0] / "outputs/results.csv").read_text())
    results = {float(cell) for cell in cells if re.fullmatch(r"\d+\.\d{3,}", cell)}
    assert results
    for page in PAGES:
        text = re.sub(r"<!-- results -->.*<!-- /results -->", "", text_of(page), flags=re.S)
        typed = {*re.findall(r"\d+\.\d+", text)}
        rounded = {f"{r:.{digits}g}" for r in results for digits in (4, 5, 6)}
        assert not typed & rounded, page
