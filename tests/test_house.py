"""Imports run one way, and a folder of a user's own is a tutorial like the others."""

import ast
from pathlib import Path

from conftest import ROOT, run

from mlpfit import load_run

SRC = ROOT / "src/mlpfit"
# Each imports from those before it only; tutorials are loaded by name, and nobody imports them.
ORDER = (
    *(
        "errors",
        "files",
        "sealed",
        "process",
        "data",
        "model",
        "config",
        "runs",
        "training",
        "figures",
    ),
    *("judging", "sweeps", "tensorboard", "report", "commands", "tutorials"),
)
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


def test_folders_files_and_functions_stay_small():
    for folder in (path for path in SRC.iterdir() if path.is_dir()):
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= 6, folder
    for file in SRC.rglob("*.py"):
        text = file.read_text()
        assert text.count("\n") <= 300, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= 40, f"{file}: {node.name}"


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


RAMP = {
    "targets.py": """
from dataclasses import dataclass
from mlpfit.data.targets import Target

@dataclass(frozen=True, kw_only=True)
class Ramp(Target, name="ramp"):
    slope: float

    def __call__(self, x):
        return self.slope * x
""",
    "figures.py": """
from mlpfit.figures.parts import Drawing, new_axes

def draw(run):
    figure, ax = new_axes()
    ax.plot(run.data["x"][0, :, 0], run.predict(run.data["x"])[0, :, 0])
    return figure

FIGURES = [Drawing("ramp/fit", "ramp/steep", "The fitted ramp", draw)]
""",
    "conf/target/ramp.yaml": """
{name: ramp, slope: 2.0, points: 20, inputs: grid, low: 0.0, high: 1.0, noise: 0.1,
 observed: null, standardise: false, float32: true}
""",
    "conf/experiment/ramp/steep.yaml": """# @package _global_
defaults: [override /target: ramp]
name: ramp/steep
question: How steep?
model: {hidden: 3}
trainer: {max_steps: 20}
""",
}


def test_a_folder_of_a_users_own_is_trained_drawn_and_swept(tmp_path: Path):
    for name, text in RAMP.items():
        (tmp_path / "ramp" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ramp" / name).write_text(text)
    for arguments in (
        ("reproduce", "ramp"),
        ("ensembles", "ramp", "replicas=4"),
        ("figures", "ramp"),
        ("-m", "experiment=ramp/steep", "target.slope=1,5"),
    ):
        done = run("mlpfit", *arguments, cwd=tmp_path, MLPFIT_PATH=str(tmp_path / "ramp"))
        assert done.returncode == 0, done.stderr
    outputs = tmp_path / "outputs"
    assert load_run(outputs / "ensembles/ramp/steep").replicas == 4
    for name in ("figures/ramp/fit.svg", "sweeps/ramp/steep/target.slope/summary.csv"):
        assert (outputs / name).is_file(), name
