"""Configs compose, and wrong ones are refused in one line."""

import pytest
import torch
from conftest import run

from mlpfit.config import compose, experiments, tutorials
from mlpfit.errors import ConfigError
from mlpfit.targets import TARGETS, keys


def test_every_experiment_composes_under_its_own_name():
    assert len(experiments()) == 14
    for name in experiments():
        assert compose([f"experiment={name}"]).name == name
    assert tutorials() == ["tower", "plane", "gradient", "parabola", "restoration"]


def test_the_whole_config_of_one_experiment():
    assert compose(["experiment=restoration/narrow"]).plain() == {
        "name": "restoration/narrow",
        "question": "How far do five hand-written ReLU units get?",
        "seed": 1234,
        "replicas": 1,
        "seeds": None,
        "streams": "legacy",
        "loss": "half_mse",
        "target": {
            "name": "sine",
            "points": 1024,
            "inputs": "grid",
            "low": -3.0,
            "high": 3.0,
            "noise": 0.0,
            "observed": None,
            "standardise": False,
            "float32": True,
            "amplitude": 2.0,
            "offset": 5.0,
        },
        "data": {"batch_size": 100, "order": "slices", "start_below": 1000, "macro_batch": None},
        "model": {"hidden": 5, "activation": "relu", "init": "normal", "gradient": "by_hand"},
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.0},
        "trainer": {
            "max_steps": 1000,
            "accelerator": "cpu",
            "precision": "64-true",
            "block_steps": 200,
            "compile": "auto",
        },
        "logger": {"tensorboard": True, "points": 200, "snapshots": 20},
        "checkpoint": {"every_n_steps": 1000},
        "ensemble": {"block": None, "processes": None, "history_points": 600},
        "output_dir": "outputs",
        "force": False,
    }


def test_the_commented_out_alternative_of_the_tower_page():
    config = compose(["experiment=tower/small", "optimizer=sgd"])
    assert config.plain()["optimizer"] == {"name": "sgd", "lr": 0.001, "momentum": 0.0}


@pytest.mark.parametrize("given, widths", [("8", (8,)), ("64-64-64", (64, 64, 64)), ("none", ())])
def test_hidden_widths(given, widths):
    assert compose(["experiment=tower/small", f"model.hidden={given}"]).model.widths() == widths


def test_every_target_file_holds_the_fields_of_its_dataclass():
    for name in ("tower", "plane", "line", "sine", "parabola"):
        target = compose([f"experiment={experiments()[0]}", f"target={name}"]).plain()["target"]
        assert set(target) == {"name", *keys(TARGETS[name])}


WRONG = {
    "optimizer.lr=-1": "optimizer.lr=-1: must be above 0",
    "optimizer.lr=nan": "optimizer.lr=nan: must be a finite number",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a number",
    "optimizer.name=lion": "optimizer.name=lion: allowed are sgd, adam, least_squares",
    "optimizer=lion": "optimizer/lion",
    "trainer.max_steps=0": "trainer.max_steps=0: must be at least 1",
    "trainer.max_steps=1.5": "trainer.max_steps=1.5: must be a whole number",
    "trainer.precision=16": "trainer.precision=16: allowed are 32-true, 64-true",
    "model.hidden=64-0": "model.hidden=64-0: allowed are widths such as 8 or 64-64-64, or none",
    "model.activation=gelu": "model.activation=tanh: allowed are relu, identity",
    "target.points=0": "target.points=0: must be at least 1",
    "target.noise=-1": "target.noise=-1: must be at least 0",
    "target.levels=[1,2]": "target.levels=[1, 2]: must be a list of 3 numbers",
    "target.observed=400": "target.observed=400 must be at most target.points=301",
    "target.edges=[9,1]": "target.edges=[9.0, 1.0]: must increase",
    "target.low=5": "target.low=5.0 must be below target.high=3.0",
    "target.name=spire": "target.name=spire: allowed are tower, plane, line, sine, parabola",
    "+target._target_=os.system": "target._target_: no such key",
    "seed=-1": "seed=-1: must be from 0 to below 4294967296",
    "seed=true": "seed=True: must be a whole number",
    "seeds=[1,1]": "seeds=[1, 1]: every seed once",
    "streams=mixed": "streams=mixed: allowed are spawned, libraries, legacy",
    "data.batch_size=10": "data.batch_size=10 with data.order=full",
    "typo=1": "typo: no such key",
    "+typo=1": "typo: no such key; allowed are name,",
    "model=3": "model=3: must be a group of keys",
    "seed=${nothing}": "nothing",
    "model.hidden=": "model.hidden=: allowed are widths",
    "question=null": "question=None: must be a text",
    "a b": "a b",
    "seed=${seed}": "seed: ",
    "trainer.compile=1": "trainer.compile=1: must be true or false or auto",
    "optimizer=null": "optimizer=null: no such choice; there are adam, least_squares, sgd",
    "optimizer=../optimizer/sgd": "optimizer=../optimizer/sgd: no such choice",
    "experiment=tower/../tower/small": "experiment=tower/../tower/small: no such choice",
    "seed=1,2": "seed=1,2: several values make a sweep, which needs -m",
    "hydra.run.dir=x": "hydra.run.dir=x: has no effect on a single run",
    "hydra/launcher=basic": "hydra/launcher=basic: has no effect on a single run",
    "model.hidden=8.0": "model.hidden=8.0: must be a whole number or a text",
    "name=a/b.partial": "must not end in .old or .partial",
    "name=a/" + 250 * "b": "must be at most 200 bytes long",
    "output_dir=": "output_dir=: must name a folder",
    "output_dir='~/x'": "output_dir=~/x: ~ stays as it is here; write $HOME",
    "output_dir=" + 300 * "x": "must be at most 255 bytes long in every part",
    "output_dir=/dev/null/x": "output_dir=/dev/null/x: /dev/null is no folder",
    "trainer.max_steps=1000000000000": "must be at least 0 and at most 100000000",
    "trainer.max_steps=1" + 400 * "0": "must be a whole number at least 0 and at most 100000000",
    "optimizer.lr=1" + 400 * "0": "has too many digits",
    "target.points=1" + 400 * "0": "has too many digits",
    "seed=1" + 5000 * "0": "seed=1000",
    "replicas=1000000000": "replicas=1000000000: must be at least 1 and at most 1000000",
    "logger.snapshots=100000000000": "must be at least 2 and at most 10000",
    "target.points=1000000000000": "target.points=1000000000000, model.hidden=32: 4.0e+13 numbers at once; at most",
    "model.hidden=1000000000": "less than 10^9 units",
    "model.hidden=100000-100000": "model.hidden=100000-100000: 4.0e+10 numbers at once",
    "model.hidden=8-1" + 5000 * "0": "less than 10^9 units",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_input_is_named_in_one_line(override):
    with pytest.raises(ConfigError) as error:
        compose(["experiment=tower/small", override])
    assert WRONG[override] in str(error.value)
    assert str(error.value).isprintable()


# What a user's experiment file may hold that no command line can.
BROKEN = {
    'question: "\\ud800"': "question='\\ud800': must be a text that a file can hold",
    'output_dir: "a\\0b"': "output_dir='a\\x00b': must be a text that a file can hold",
    "seed: &a [*a]": "nested too deeply, or in itself",
    "seed: " + 3000 * "[" + 3000 * "]": "nested too deeply, or in itself",
    "loss: \udcff": "utf-8",
    'name: "own/x\\n"': "name='own/x\\n': must be tutorial/experiment",
    "trainer: 3": "trainer",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_wrong_experiment_file_is_named_in_one_line(line, tmp_path, monkeypatch):
    sound = ["defaults: [override /target: tower]", "name: own/x", "question: why", "trainer: {max_steps: 5}"]
    lines = [*(s for s in sound if s.split()[0] != line.split()[0]), line]
    _refused_file("# @package _global_\n" + "\n".join(lines), BROKEN[line], tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "content, words", [("5", "object type: int"), ("name: own/x", "target: none is chosen"), ("", "target: none")]
)
def test_a_file_that_is_no_experiment_is_named_in_one_line(content, words, tmp_path, monkeypatch):
    _refused_file(content, words, tmp_path, monkeypatch)


def _refused_file(content, words, folder, monkeypatch):
    file = folder / "it's, mine" / "experiment/own/x.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content, errors="surrogateescape")
    monkeypatch.setenv("MLPFIT_PATH", str(folder / "it's, mine"))
    with pytest.raises(ConfigError) as error:
        compose(["experiment=own/x", "seed=3"] if "seed" not in content else ["experiment=own/x"])
    assert str(error.value).startswith(f"{file}: ") and words in str(error.value)
    assert str(error.value).isprintable()


def test_what_the_published_results_need_is_allowed():
    for name in experiments():
        compose([f"experiment={name}", "replicas=1000"])


def test_a_batch_is_not_larger_than_the_data():
    with pytest.raises(ConfigError, match=r"data\.batch_size=2000: must be at most the 1024 rows there are"):
        compose(["experiment=restoration/narrow", "data.batch_size=2000"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["experiment=tower/smal"],
        ["experiment=tower/small", "optimizer.lr=-1"],
        ["--cfg", "job"],
        pytest.param(
            ["experiment=tower/small", "trainer.accelerator=gpu"],
            marks=pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="a GPU"),
        ),
    ],
)
def test_the_command_refuses_with_one_line_exit_code_2_and_no_folder(arguments, tmp_path):
    done = run("mlpfit.train", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpfit: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_an_experiment_the_command_lists_what_there_is(tmp_path):
    done = run("mlpfit.train", cwd=tmp_path)
    assert all(name in done.stderr for name in experiments())
    helped = run("mlpfit.train", "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "experiment=tower/small [key=value ...]" in helped.stdout and "restoration/linear" in helped.stdout
