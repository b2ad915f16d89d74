"""The main command and what it leaves behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CONF, ROOT, TARGET, run

from mlpfit import load_run
from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import as_published, compose, keep_published
from mlpfit.judging import published
from mlpfit.processes import run_tasks, start_workers, stop_workers
from mlpfit.report import table as results
from mlpfit.training.train import train


def test_every_experiment_trains_with_all_its_files(reproduced):
    for name in experiments():
        run_ = load_run(reproduced[0] / "outputs/runs" / name)
        assert run_.history["loss"].shape == (run_.config["trainer"]["max_steps"], 1)
        if run_.config["trainer"]["max_steps"]:
            names = {path.name for path in (run_.path / "checkpoints").iterdir()}
            assert names == {"last.ckpt", "best.ckpt"}
            assert list(run_.path.glob("events.out.tfevents.*"))


def test_the_closing_table_names_every_experiment_and_figure(reproduced):
    for name in experiments():
        assert re.search(rf"^{name} .*outputs/figures/", reproduced[1], re.MULTILINE)


def test_a_second_time_everything_is_up_to_date(reproduced):
    again = run("mlpfit", "reproduce", cwd=reproduced[0])
    assert again.stdout.splitlines()[-1].startswith("everything is up to date: ")
    assert again.returncode == 0 and again.stderr == ""


def test_finding_everything_up_to_date_loads_nothing_that_it_does_not_use(reproduced):
    program = """
import atexit, runpy, sys
slow = {"torch", "lightning", "hydra", "omegaconf", "matplotlib", "pandas", "scipy"}
atexit.register(lambda: print(slow & {*sys.modules}))
sys.argv = ["mlpfit", "reproduce"]
runpy.run_module("mlpfit", run_name="__main__")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=reproduced[0], capture_output=True, text=True)
    *_, said, loaded = done.stdout.splitlines()
    assert said.startswith("everything is up to date: ") and loaded == "set()", done.stderr


def test_processes_that_are_left_take_tasks_of_another_function(tmp_path):
    workers, folder, failures = start_workers(1, "json"), tmp_path / "made", []
    ((process, _),) = workers
    for function, is_there in ((os.mkdir, True), (os.rmdir, False)):
        run_tasks(function, [folder], 1, lambda _, failure: failures.append(failure), workers)
        assert folder.is_dir() == is_there and [worker for worker, _ in workers] == [process]
    stop_workers(workers)
    assert failures == [None, None] and not process.is_alive() and not workers


def test_tensorboard_has_the_same_tags_everywhere(reproduced):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("tower/small", "plane/scratch", "restoration/wide"):
        folder, everything = reproduced[0] / "outputs/runs" / name, {"scalars": 0, "images": 0}
        events = EventAccumulator(str(folder), size_guidance=everything).Reload()
        tags = events.Tags()
        assert {"train/loss", "error/truth", "learning_rate", "units/dead"} <= set(tags["scalars"])
        assert {"question/text_summary", "command/text_summary"} <= set(tags["tensors"])
        history = load_run(folder).history["loss"][:, 0]
        for event in events.Scalars("train/loss"):
            assert event.value == pytest.approx(history[event.step - 1], rel=1e-6)


def test_the_published_numbers_are_all_there():
    numbers = [n for t in tutorials() for n in published.tutorial(t.name).numbers]
    assert len(numbers) == len({n.key for n in numbers})
    assert {n.experiment for n in numbers} - set(experiments()) == {"gradient/check"}


@pytest.mark.parametrize("content", [b"# My own\n", b"Gr\xfc\xdfe\r\n"])
def test_a_readme_of_somebody_elses_is_left_alone(tmp_path, content):
    (readme := tmp_path / "README.md").write_bytes(content)
    results.update_readme(ROOT / "outputs", readme)
    assert readme.read_bytes() == content


def test_unknown_names_are_refused(tmp_path):
    done = run("mlpfit", "reproduce", "castle", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpfit: castle: no such tutorial, experiment or figure")


def test_the_makefile_has_a_target_for_every_tutorial():
    command = ["make", "-n", *(t.name for t in tutorials())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    for tutorial in tutorials():
        assert f"-m mlpfit reproduce {tutorial.name}" in done.stdout


def beside(own, name, **changes):
    """One more experiment of the user's own, beside own/ramp, with other texts in it."""
    text = (Path(own) / "conf/experiment/own/ramp.yaml").read_text().replace("ramp\n", f"{name}\n")
    for old, new in changes.items():
        text = text.replace(old, new)
    (Path(own) / f"conf/experiment/own/{name}.yaml").write_text(text)


def test_editing_one_yaml_makes_that_experiment_alone_stale(own, tmp_path, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    beside(own, "flat")

    def stale():
        names = ("own/ramp", "own/flat")
        configs = [compose([f"experiment={n}", f"output_dir={tmp_path}/outputs"]) for n in names]
        return [config.name for config in configs if train(config)]

    assert stale() == ["own/ramp", "own/flat"] and stale() == []
    file = Path(own) / "conf/experiment/own/flat.yaml"
    file.write_text(file.read_text().replace("hidden: 3", "hidden: 4"))
    assert stale() == ["own/flat"]


def test_a_stale_ensemble_keeps_nothing_but_its_band_from_being_drawn(own, tmp_path):
    figure = 'FIGURES = [Drawing("fit", "ramp", "c", draw, band=True)]'
    draw = "from mlpfit.figures.parts import new_axes\n\ndef draw(run, replicas=None):\n"
    (Path(own) / "figures.py").write_text(f"{FIGURE}{draw}    return new_axes()[0]\n{figure}\n")
    for arguments in (("reproduce", "own"), ("ensembles", "own", "replicas=2"), ("figures", "own")):
        done = run("mlpfit", *arguments, cwd=tmp_path, MLPFIT_PATH=own)
        assert done.returncode == 0, done.stderr
    experiment = Path(own) / "conf/experiment/own/ramp.yaml"
    experiment.write_text(experiment.read_text().replace("max_steps: 20", "max_steps: 30"))
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 0 and "1 run trained" in done.stdout
    assert re.fullmatch(r"mlpfit: no bands: .*max_steps: 20, now 30.*\n", done.stderr)
    beside(own, "flat")
    flat = run("mlpfit", "reproduce", "own/flat", cwd=tmp_path, MLPFIT_PATH=own)
    assert flat.returncode == 0 and "mlpfit: no bands: " in flat.stderr
    refused = run("mlpfit", "figures", "own", cwd=tmp_path, MLPFIT_PATH=own)
    assert refused.returncode == 1 and "mlpfit ensembles own/ramp trains that" in refused.stderr


def test_a_missing_table_of_results_is_written_again(reproduced, tmp_path):
    shutil.copytree(reproduced[0] / "outputs", tmp_path / "outputs")
    table = (tmp_path / "outputs/results.csv").read_bytes()
    (tmp_path / "outputs/results.csv").unlink()
    done = run("mlpfit", "reproduce", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "outputs/results.csv").read_bytes() == table


def test_an_installed_package_announces_its_tutorial(own, tmp_path):
    shutil.copytree(own, tmp_path / "own")
    (tmp_path / "own/__init__.py").touch()
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n",
        "entry_points.txt": "[mlpfit.tutorials]\nown = own\n",
    }
    for name, text in metadata.items():
        (tmp_path / "own-1.0.dist-info").mkdir(exist_ok=True)
        (tmp_path / "own-1.0.dist-info" / name).write_text(text)
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_run(tmp_path / "outputs/runs/own/ramp").replicas == 1


def test_an_experiment_takes_the_place_of_no_other(own, tmp_path):
    beside(own, "steep", **{"name: own/steep": "name: own/ramp"})
    done = run("mlpfit", "experiment=own/steep", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 2 and "name=own/ramp: must be the path of its file" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_diverges_stops_no_other(own, tmp_path):
    beside(own, "steep", **{"max_steps: 20": "max_steps: 20}\noptimizer: {lr: 1e30"})
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 1
    assert re.fullmatch(r"mlpfit: own/steep: diverged at step .*lr\n", done.stderr)
    assert load_run(tmp_path / "outputs/runs/own/ramp").replicas == 1
    assert [path.name for path in (tmp_path / "outputs/runs/own").iterdir()] == ["ramp"]


NUMBER = (
    "{experiment: own/ramp, quantity: mse, update: before, convention: c, steps: [1], values: [1]}"
)
PUBLISHED, EXPERIMENT = f"title: t\nnumbers: [{NUMBER}]", CONF["experiment/own/ramp"]
CLAIM = "from mlpfit.judging.claims import Claim\n"
FIGURE = "from mlpfit.figures.parts import Drawing\n"
MISSPELT = {
    "published.yaml": [
        (PUBLISHED.replace("own/ramp", "own/rmp"), "experiment=own/rmp: allowed are own/ramp"),
        (PUBLISHED.replace("mse", "rmse"), "quantity=rmse: did you mean mse? allowed are mse"),
        (PUBLISHED.replace("[1],", "[300],"), "mse@300: step must be between 1 and 20"),
        (
            PUBLISHED.replace("convention", "convntion"),
            "convntion: no such key; did you mean",
        ),
        (PUBLISHED.replace("before", "after"), "mse@1: after must be at the last step, 20"),
        (f"{PUBLISHED[:-1]}, {NUMBER}]", "own/ramp:mse@1: given twice"),
        ("titel: t", "published.yaml: titel: no such key; did you mean title?"),
        ("year: then", "year=then: must be a valid integer"),
        ("seed: 7", "the page's seed is 7, that of own/ramp is 0; set seed: 7 in its YAML"),
    ],
    "claims.py": [
        (CLAIM + 'CLAIMS = [Claim("c", "m", ("own/rmp",), None)]', "own/rmp: no such experiment"),
        (
            CLAIM + 'CLAIMS = [Claim("c", "m", ("own/ramp:x",), None)]',
            "own/ramp:x: no such variant",
        ),
        (CLAIM + 'CLAIMS = [Claim("c", "m", "own/ramp", None)]', "must be a tuple"),
        (CLAIM + "CLAIM = []", "CLAIM: did you mean CLAIMS?"),
        ('SLIPS = ["text"]', "SLIPS holds 'text': must be Slip(...)"),
    ],
    "figures.py": [
        (
            FIGURE + 'FIGURES = [Drawing("own/fit", "own/rmp", "", None)]',
            "own/rmp: no such experiment",
        ),
        (
            FIGURE + 'FIGURES = 2 * [Drawing("fit", "ramp", "", None)]',
            "figure own/fit: there are two",
        ),
        (FIGURE + 'FIGURES = [Drawing("fit", "tower/small", "", None)]', "must be of own"),
        (FIGURE + 'FIGURES = [Drawing("fit", "ramp", "", id, band=True)]', "needs draw(run, repl"),
    ],
    "variants.yaml": [
        ("{replicas: 2, power: {rmp: null}}", "own/rmp: no such experiment"),
        ("{power: {ramp: null}}", "variants.yaml: replicas: missing"),
    ],
    "conf/experiment/own/ramp.yaml": [
        (EXPERIMENT.replace("own/ramp", "own/rmp"), "must be the path of its file"),
        (EXPERIMENT.partition("\n")[2], "# @package _global_"),
        (
            EXPERIMENT.replace("max_steps", "max_step"),
            "trainer.max_step (in ",
        ),
        (EXPERIMENT.replace("name: own/ramp\n", ""), "experiment=own/ramp: name: missing"),
        (EXPERIMENT + "recording: {scalar: 3}\n", "recording.scalar (in "),
    ],
    "targets.py": [(TARGET.replace("@dataclass", "#"), "target ramp: write @dataclass")],
}


@pytest.mark.parametrize(
    "name, text, message",
    [
        pytest.param(name, *fault, marks=[pytest.mark.slow] * (k > 0))
        for name, faults in MISSPELT.items()
        for k, fault in enumerate(faults)
    ],
)
def test_what_a_tutorial_misspells_is_named_before_anything_is_trained(
    name, text, message, own, tmp_path
):
    (Path(own) / name).write_text(text)
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "body, message",
    [
        ("run.predictions", r"AttributeError: .*'predictions' \(figures\.py, line 2\)"),
        ("None", "ValueError: its function returns no figure"),
    ],
)
def test_a_figure_that_fails_is_named_and_nothing_is_lost(body, message, own, tmp_path):
    figure = f'FIGURES = [Drawing("own/fit", "own/ramp", "c", lambda run: {body})]'
    (Path(own) / "figures.py").write_text(FIGURE + figure)
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 2
    assert re.fullmatch(f"mlpfit: figure own/fit: {message}\n", done.stderr)
    assert load_run(tmp_path / "outputs/runs/own/ramp").replicas == 1


def test_what_was_composed_is_composed_again_when_a_file_changes(own, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    file = Path(own) / "conf/experiment/own/ramp.yaml"
    assert as_published("own/ramp") is as_published("own/ramp")
    assert as_published("own/ramp").steps == 20
    file.write_text(file.read_text().replace("max_steps: 20", "max_steps: 30"))
    assert as_published("own/ramp").steps == 30


def test_a_changed_experiment_is_composed_alone(own, tmp_path, monkeypatch):
    monkeypatch.setenv("MLPFIT_PATH", own)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    beside(own, "flat")

    def composed():
        """The file of what was composed, which is replaced by the next time."""
        for name in ("own/ramp", "own/flat"):
            as_published(name)
        folder = tmp_path / "outputs/.cache/configs"
        return {file.stem: file.stat().st_ino for file in folder.iterdir()}

    first = composed()
    file = Path(own) / "conf/experiment/own/flat.yaml"
    file.write_text(file.read_text().replace("hidden: 3", "hidden: 5"))
    changed = composed()
    assert changed["own-ramp"] == first["own-ramp"] and changed["own-flat"] != first["own-flat"]
    target = Path(own) / "conf/target/ramp.yaml"  # which both of them read
    target.write_text(target.read_text().replace("slope: 2.0", "slope: 3.0"))
    again = composed()
    assert all(again[name] != file for name, file in changed.items())
    assert as_published("own/ramp").target.slope == 3.0 and as_published("own/flat").units[1] == 5


def test_what_was_composed_before_there_were_outputs_is_kept_once_there_are(
    own, tmp_path, monkeypatch
):
    """So the processes that draw don't compose it again."""
    monkeypatch.setenv("MLPFIT_PATH", own)
    monkeypatch.chdir(tmp_path)
    as_published("own/ramp")
    keep_published()
    assert list(tmp_path.glob("outputs*")) == []
    (tmp_path / "outputs").mkdir()
    keep_published()
    kept = json.loads((tmp_path / "outputs/.cache/configs/own-ramp.json").read_text())
    assert kept["config"]["trainer"]["max_steps"] == 20


def test_a_folder_of_tutorials_is_not_one(own, tmp_path):
    above = str(Path(own).parent)
    done = run("mlpfit", "reproduce", "own", cwd=tmp_path, MLPFIT_PATH=above)
    assert done.returncode == 2
    assert done.stderr.endswith(f"{above} holds tutorials; name them: {own}\n")


def test_an_answer_to_no_sweep_is_named_before_anything_is_trained(own, tmp_path):
    sweep = Path(own) / "conf/sweep/own/slopes.yaml"
    sweep.parent.mkdir(parents=True)
    sweep.write_text(
        "# @package _global_\ndefaults: [override /experiment: own/ramp]\n"
        'hydra: {sweeper: {params: {target.slope: "1,2"}}, '
        "callbacks: {experiments: {question: 'Which?', figure: {x: target.slope}}}}\n"
    )
    (Path(own) / "answers.py").write_text('ANSWERS = {"slope": str}')
    done = run("mlpfit", "-m", "sweep=own/slopes", cwd=tmp_path, MLPFIT_PATH=own)
    assert done.returncode == 2
    meant = "allowed are own/slopes"
    assert done.stderr == f"mlpfit: own/answers.py: slope: no such sweep; {meant}\n"
    assert list(tmp_path.iterdir()) == []
    alone = run("mlpfit", "sweep=own/slopes", cwd=tmp_path, MLPFIT_PATH=own)
    assert alone.returncode == 2 and "sweep=own/slopes: needs -m" in alone.stderr
