"""Imports run one way, and a folder of a user's own is a tutorial like the others."""

import ast
import re
from pathlib import Path

from conftest import ROOT, run

from mlpfit import load_run

SRC = ROOT / "src/mlpfit"
# Each imports from those before it only; tutorials are loaded by name, and nobody imports them.
ORDER = [
    *[
        "errors",
        "files",
        "sealed",
        "process",
        "processes",
        "data",
        "engine",
        "model",
        "config",
        "runs",
    ],
    *["training", "figures", "judging", "sweeps", "tensorboard", "report", "commands"],
    "tutorials",
]
BESIDE = {("figures", "judging")}  # pictures show quantiles, as the statistics define them


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            deeper = [f"{node.module}.{a.name}" for a in node.names]
            names = deeper if node.module == "mlpfit" else [node.module]
        yield from (name.split(".")[1] for name in names if name.startswith("mlpfit."))


def test_imports_run_one_way():
    seen = set()
    for file in SRC.rglob("*.py"):
        folder = file.relative_to(SRC).parts[0].removesuffix(".py")
        for target in imports(file):
            if folder in ORDER and target in ORDER and target != folder:
                seen.add((folder, target))
                below = ORDER.index(target) < ORDER.index(folder)
                assert below or (folder, target) in BESIDE, f"{file}: {folder} -> {target}"
    assert ("training", "runs") in seen and ("commands", "report") in seen


def test_general_code_names_no_tutorial():
    names = ("tower", "plane", "gradient/", "parabola", "restoration")
    for file in SRC.rglob("*.py"):
        if "tutorials" not in file.parts and "tests" not in file.parts:
            texts = [
                node.value
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            code = [text for text in texts if "\n" not in text and "mlpfit " not in text]
            assert not [t for t in code for name in names if t.startswith(f"{name}/")], file


def test_the_readmes_tutorial_is_trained_drawn_judged_verified_and_swept(tmp_path: Path):
    """Every file and every command of README's section, as they stand there."""
    section = (ROOT / "README.md").read_text().partition("## Your own tutorial")[2]
    section = section.partition("\n## ")[0]
    blocks = re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL)
    for _, text in (block for block in blocks if block[0]):
        name = re.search(r"^# (ramp/\S+):", text, re.MULTILINE)[1]
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (commands,) = (text for kind, text in blocks if not kind)
    printed = {}
    for line in commands.splitlines()[1:]:
        arguments = line.partition("#")[0].split()
        done = run(*arguments, cwd=tmp_path, MLPFIT_PATH=str(tmp_path / "ramp"))
        assert done.returncode == 0, (line, done.stderr)
        printed[" ".join(arguments[1:])] = done.stdout
    assert "ramp/steep:mse@100" in printed["ledger ramp"]
    assert "eight units beat two" in printed["ledger ramp"]
    assert "is fitted best, median error" in printed["-m sweep=ramp/slopes"]
    outputs = tmp_path / "outputs"
    assert load_run(outputs / "ensembles/ramp/steep").replicas == 200
    for name in ("figures/ramp/fit_band.svg", "report-ramp.html", "reference-ramp.npz"):
        assert (outputs / name).is_file(), name
    done = run("mlpfit", "verify", "ramp", cwd=tmp_path, MLPFIT_PATH=str(tmp_path / "ramp"))
    assert done.returncode == 0 and "1 identical" in done.stdout, done.stdout + done.stderr
