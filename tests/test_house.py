"""Imports run one way, and general code names no tutorial."""

import ast

from conftest import ROOT

SRC = ROOT / "src/mlpfit"
# Each imports from those before it only; tutorials are loaded by name, and nobody imports them.
ORDER = [
    *[
        "errors",
        "files",
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
BESIDE = {
    ("figures", "judging"),  # pictures show quantiles, as the statistics define them
    ("runs", "report"),  # a run shows itself: imported when it is asked to
}


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
