"""Configs compose, and wrong ones are refused in one line."""

import itertools

import pytest
from conftest import run

from mlpfit.config.catalogue import experiments, tutorials
from mlpfit.config.compose import compose
from mlpfit.config.schema import COMMON_ARGUMENTS, HARMLESS_ARGUMENTS, OWN_ARGUMENTS, parse
from mlpfit.data.targets import TARGETS, keys
from mlpfit.errors import ConfigError


def test_every_experiment_composes_under_its_own_name():
    assert len(experiments()) == 14
    for name in experiments():
        assert compose([f"experiment={name}"]).name == name
    names = ["tower", "plane", "gradient", "parabola", "restoration"]
    assert [tutorial.name for tutorial in tutorials()] == names


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
            "name": "wave",
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
        "data": {
            "batch_size": 100,
            "order": "slices",
            "start_below": 1000,
            "macro_batch": None,
            "validation": None,
            "test": None,
        },
        "model": {
            "hidden": 5,
            "activation": "relu",
            "output": "identity",
            "init": "normal",
            "dropout": 0.0,
            "gradient": "by_hand",
            "net": None,
        },
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.0},
        "scheduler": None,
        "trainer": {
            "max_steps": 1000,
            "max_epochs": None,
            "accelerator": "cpu",
            "precision": "64-true",
            "chunk_steps": 200,
            "devices": 1,
        },
        "engine": True,
        "callbacks": {},
        "logger": {"tensorboard": {"_target_": "mlpfit.training.callbacks.Events"}},
        "recording": {
            "scalars": 200,
            "snapshots": 20,
            "weights_after": [],
            "losses_of_epochs": [],
            "checkpoint_every": 1000,
        },
        "ensemble": {
            "only": None,
            "replicas": 4000,
            "shard": 1000,
            "processes": None,
            "history_points": 600,
        },
        "ckpt_path": None,
        "train": True,
        "metric": "mse",
        "output_dir": "outputs",
        "force": False,
    }


@pytest.mark.parametrize("name", experiments())
def test_a_config_written_down_is_the_same_config(name):
    config = compose([f"experiment={name}", "trainer.profiler=simple"])
    assert parse(config.plain()) == config


def test_arguments_of_the_trainer_are_lightnings():
    import inspect

    import lightning.pytorch as pl

    arguments = set(inspect.signature(pl.Trainer.__init__).parameters)
    assert arguments >= {*COMMON_ARGUMENTS, *HARMLESS_ARGUMENTS, *OWN_ARGUMENTS}
    config = compose(["experiment=tower/small", "trainer.max_time='00:00:01:00'"])
    assert config.trainer.arguments == {"devices": 1, "max_time": "00:00:01:00"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("trainer.limit_train_batches=0", "no step to train; give at least 1"),
        ("trainer.limit_train_batches=0.0", "no step to train"),
        ("trainer.max_time='00:00:00:00'", "no step to train; give it longer"),
        ("trainer.max_time={seconds:0}", "no step to train"),
        ("trainer.max_time=0", "must be days:hours:minutes:seconds"),
        ("trainer.max_time=3", "must be days:hours:minutes:seconds"),
        ("trainer.max_time='1:2'", "must be days:hours:minutes:seconds"),
        ("trainer.max_time={years:1}", "must be days:hours:minutes:seconds"),
        ("trainer.max_epochs=0", "no step to train"),
    ],
)
def test_a_training_without_a_step_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        compose(["experiment=tower/small", given])


def test_how_a_run_is_computed_is_not_what_it_is():
    recipe = compose(["experiment=tower/small"]).recipe()
    for same in ("trainer.profiler=simple", "question=Why?", "metric=sse"):
        assert compose(["experiment=tower/small", same]).recipe() == recipe
    for other in ("trainer.devices=2", "callbacks=early_stopping", "seed=1", "engine=false"):
        assert compose(["experiment=tower/small", other]).recipe() != recipe


def test_the_commented_out_alternative_of_the_tower_page():
    config = compose(["experiment=tower/small", "optimizer=sgd"])
    assert config.plain()["optimizer"] == {"name": "sgd", "lr": 0.001, "momentum": 0.0}


def test_an_experiment_may_count_epochs_alone():
    config = compose(["target=parabola", "name=own/x", "trainer.max_epochs=3"])
    assert config.trainer.max_steps is None and config.steps == 3  # an epoch is one step
    with pytest.raises(ConfigError, match=r"max_steps: missing; .* or trainer\.max_epochs one"):
        compose(["target=parabola", "name=own/x"])


@pytest.mark.parametrize("given, widths", [("8", (8,)), ("64-64-64", (64, 64, 64)), ("none", ())])
def test_hidden_widths(given, widths):
    assert compose(["experiment=tower/small", f"model.hidden={given}"]).model.widths() == widths


def test_every_target_file_holds_the_fields_of_its_dataclass():
    for name in ("tower", "plane", "line", "sine", "parabola", "wave"):
        target = compose([f"experiment={experiments()[0]}", f"target={name}"]).plain()["target"]
        assert set(target) == {"name", *keys(TARGETS[name])}


WRONG = {
    "optimizer.lr=-1": "optimizer.lr=-1: must be greater than 0",
    "optimizer.lr=nan": "optimizer.lr=NaN: must be a finite number",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a valid number",
    "optimizer.name=lion": "optimizer.name=lion: allowed are adafactor, muon, adadelta",
    "optimizer=lion": "optimizer=lion: no such optimizer; allowed are adadelta, adafactor,",
    "+optimizer.momentum=0.5": "optimizer.momentum of adam: no such key; allowed are ",
    "trainer.max_steps=0": "trainer.max_steps=0: no step to train; give at least 1",
    "trainer.max_epochs=0": "trainer.max_epochs=0: no step to train; give at least 1",
    "trainer.max_steps=1.5": "trainer.max_steps=1.5: must be a valid integer",
    "trainer.precision=16": "trainer.precision=16: allowed are transformer-engine",
    "+trainer.gradient_clip=1": "trainer.gradient_clip: no such key; did you mean trainer.gradient",
    "model.hidden=64-0": "model.hidden=64-0: allowed are widths such as 8 or 64-64-64, or none",
    "model.activation=gelo": "activation=gelo: did you mean gelu? allowed are gelu",
    "target.points=0": "target.points=0: must be greater than or equal to 1",
    "target.noise=-1": "target.noise=-1: must be greater than or equal to 0",
    "target.levels=[1,2]": "target.levels=[1, 2]: too short",
    "target.observed=400": "target.observed=400 must be at most target.points=301",
    "target.edges=[9,1]": "target.edges=[9.0, 1.0]: must increase",
    "target.low=5": "target.low=5.0 must be below target.high=3.0",
    "target.name=spire": "target.name=spire: did you mean spirals? allowed are spirals, sine",
    "+target._target_=os.system": "target._target_: no such key",
    "+callbacks.mine={_target_: os.system}": "callbacks.mine._target_=os.system: must begin with",
    "seed=-1": "seed=-1: must be greater than or equal to 0",
    "seed=true": "seed=true: must be a valid integer",
    "seeds=[1,1]": "seeds=[1, 1]: must name every seed once",
    "seeds=[]": "seeds=[]: must name at least one seed",
    "streams=mixed": "streams=mixed: must be 'spawned', 'libraries' or 'legacy'",
    "data.batch_size=10": "data.batch_size=10: needs another data.order than full",
    "typo=1": "typo",
    "+typo=1": "typo: no such key; allowed are name,",
    "model=3": "model=3: must be an object",
    "seed=${nothing}": "nothing",
    "model.hidden=": "model.hidden=: allowed are widths",
    "question=null": "question=null: must be a valid string",
    "a b": "a b",
    "seed=${seed}": "seed",
    "engine=1": "engine=1: must be a valid boolean",
    "optimizer=null": "optimizer",
    "seed=1,2": "seed=1,2",
    "model.hidden=8.0": "model.hidden=8.0: must be a valid integer or a valid string",
    "name=a/" + 250 * "b": "must be tutorial/experiment",
    "output_dir=": "output_dir=: must name a folder",
    "output_dir='~/x'": "output_dir=~/x: must name a folder",
    "output_dir=/dev/null/x": "output_dir=/dev/null/x: /dev/null is not a folder",
    "trainer.max_steps=1000000000000": "must be less than or equal to 100000000",
    "replicas=1000000000": "replicas=1000000000: must be less than or equal to 1000000",
    "recording.snapshots=100000000000": "must be less than or equal to 10000",
    "optimizer=[adam,sgd]": "optimizer=[adam,sgd]: must name one, not a mixture",
    "seed='3'": 'seed="3": must be a valid integer',
    "ckpt_path=a=b.ckpt": """quotes within those of the shell: 'ckpt_path="a=b.ckpt"'""",
    "output_dir=it's": "output_dir=it's: can't be read",
    "hydra.job.env_set.X=1": "a new one needs a plus: +hydra.job.env_set.X=...",
    "hydra/launcher=nothing": "hydra/launcher=nothing: no such hydra/launcher; allowed are basic",
    "~": "(~)",
    "train=false": "train=false: evaluates a checkpoint; name it with ckpt_path=...",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_input_is_named_in_one_line(override):
    with pytest.raises(ConfigError) as error:
        compose(["experiment=tower/small", override])
    assert WRONG[override] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_closed_form_takes_all_rows_at_once():
    given = ["experiment=plane/least_squares", "data.order=shuffle", "data.batch_size=10"]
    with pytest.raises(ConfigError, match=r"optimizer=least_squares: needs .* data\.order=full"):
        compose(given)


def test_whatever_is_put_into_a_key_is_taken_or_refused_by_name():
    """Every key of a config with values of every kind: the config, or one line that names it."""
    config = compose(["experiment=restoration/framework"])
    values = (None, True, -1, 0, 2.5, float("nan"), "", "x", [], [1, 2], {}, {"a": 1})
    for path, value in itertools.product(paths(config.plain()), values):
        plain = config.plain()
        place = plain
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        try:
            parse(plain)
        except ConfigError as error:
            assert path[-1] in str(error) and "\n" not in str(error), (path, value)


def paths(tree):
    for key, value in tree.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in paths(value))


# What a user's experiment file may hold that no command line can.
BROKEN = {
    "seed: &a [*a]": "refers to itself",
    "loss: \udcff": "UTF-8",
    'name: "own/x\\n"': "name='own/x",
    "trainer: 3": "trainer",
    "model: {hidden: 3, hidden: 4}": "x.yaml: found duplicate key hidden",
    f"seeds: {'&a [' + '1,' * 400}]\nx: {'[' + '*a,' * 400}]": "x.yaml: has more than 100000",
    "seed: [": "x.yaml",
}


@pytest.mark.parametrize("head", ["# @package _global_\n", "\ufeff# @package _global_\r\n"])
def test_a_files_first_line_may_end_or_begin_as_in_windows(head, tmp_path, monkeypatch):
    file = tmp_path / "own/conf/experiment/own/x.yaml"
    file.parent.mkdir(parents=True)
    text = "defaults: [override /target: tower]\nname: own/x\ntrainer: {max_steps: 5}\n"
    file.write_bytes((head + text).encode())
    monkeypatch.setenv("MLPFIT_PATH", str(tmp_path / "own"))
    assert compose(["experiment=own/x"]).steps == 5


@pytest.mark.parametrize("line", BROKEN)
def test_a_wrong_experiment_file_is_named_in_one_line(line, tmp_path, monkeypatch):
    lines = ["defaults: [override /target: tower]", "name: own/x", "question: why"]
    lines.append("trainer: {max_steps: 5}")
    sound = [*(s for s in lines if s.split()[0] != line.split()[0]), line]
    file = tmp_path / "own/conf/experiment/own/x.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\n" + "\n".join(sound), errors="surrogateescape")
    monkeypatch.setenv("MLPFIT_PATH", str(tmp_path / "own"))
    with pytest.raises(ConfigError) as error:
        compose(["experiment=own/x"])
    assert BROKEN[line] in str(error.value) and "\n" not in str(error.value)


def test_a_batch_is_not_larger_than_the_data():
    with pytest.raises(ConfigError, match=r"data\.batch_size=2000: must be at most the 1024 rows"):
        compose(["experiment=restoration/narrow", "data.batch_size=2000"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "experiment=...: choose one of tower/small, "),
        (["experiment=tower/smal"], "tower/smal"),
        (["experiment=tower/small", "optimizer.lr=-1"], "optimizer.lr=-1"),
        (["experiment=tower/small", "typo=1"], "typo"),
        (["-m", "experiment=tower/small", "optimizer.lr=1,-1"], "optimizer.lr=-1"),
        (["-m", "experiment=tower/small", "typo=1,2"], "typo"),
        (["-m", "sweep=tower/wide"], "tower/wide"),
    ],
)
def test_the_command_refuses_with_one_line_exit_code_2_and_no_folder(arguments, words, tmp_path):
    done = run("mlpfit", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpfit: ") and words in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_can_be_had(tmp_path):
    done = run("mlpfit", "experiment=tower/small", "seed=-1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 2 and "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("given", "message", "meant"),
    [
        (["experiment=tower/smal"], "no such experiment", "tower/small"),
        (["optimizer=sdg"], "no such optimizer", "sgd"),
        (["experiment=tower/small", "optimizer.lrr=1"], "no such key", "optimizer.lr"),
        (["ensembls"], "no such command", "ensembles"),
        (["figures", "small_fitt"], "no such tutorial, experiment or figure", "tower/small_fit"),
    ],
)
def test_what_is_misspelt_is_named_with_what_was_meant(given, message, meant, tmp_path):
    done = run("mlpfit", *given, cwd=tmp_path)
    key = given[-1].removesuffix("=1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"mlpfit: {key}: {message}; did you mean {meant}? allowed are ")
    assert len(done.stderr) < 250  # of many names, the nearest
    assert not (tmp_path / "outputs").exists()
