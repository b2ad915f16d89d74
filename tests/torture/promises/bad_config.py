"""Whatever is wrong with a config: exit code 2, one line that names it, nothing created."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from injection import call
from table import Promise

from mlpfit.config.catalogue import CONF, experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import COMMON_ARGUMENTS

Wrong = tuple[list[str], str]  # arguments, and what the refusal must hold
POSITIVE = ("lr", "scalars", "snapshots", "checkpoint_every", "chunk_steps")
CHOICES = [
    *("loss", "streams", "model.activation", "model.init", "model.gradient", "data.order"),
    *("trainer.precision", "target.inputs", "target.name", "optimizer.name", "metric"),
]
NAMES = ["../x", "a/../b", "/etc/x", "x", "a/b/c", "a b/c"]


def trial(number: int, folder: Path, quick: bool) -> None:
    place = folder / "here"
    if number % 10 == 9:
        users = folder / "own"
        command = broken_experiment(number // 10, users)
        call(command, place, MLPFIT_PATH=str(users)).refused(2)
    else:
        arguments, expected = wrong_command(random.Random(number))
        ended = call(["mlpfit", *arguments], place)
        assert ended.code == 2, f"exit code {ended.code} of {' '.join(arguments)}: {ended.stderr}"
        ended.refused(2, expected)
    assert list(place.iterdir()) == [], f"created {list(place.iterdir())}"


def wrong_command(rng: random.Random) -> Wrong:
    name = rng.choice([n for n in experiments() if n != "plane/least_squares"])
    word = "".join(rng.choices("abcdefghijklmnop", k=7))
    every = [*wrong_keys(rng, word, numeric_keys(name)), *wrong_values(rng, word)]
    every += wrong_sweeps(rng, word, numeric_keys(name))
    arguments, expected = rng.choice(every)()
    given = any(argument.startswith("experiment=") for argument in arguments)
    return [*arguments, *([] if given else [f"experiment={name}"])], expected


def numeric_keys(experiment: str) -> list[str]:
    plain = compose([f"experiment={experiment}"]).plain()
    groups = ("optimizer", "trainer", "recording", "ensemble", "target")
    return [
        f"{group}.{key}"
        for group in groups
        for key, value in plain[group].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
        if key not in (*COMMON_ARGUMENTS, "shard")  # which may be null
    ]


def wrong_keys(rng: random.Random, word: str, keys: list[str]) -> Iterator[Callable[[], Wrong]]:
    """Keys that don't exist, and numbers that are none."""
    key = rng.choice(keys)
    group = key.split(".")[0]
    positive = rng.choice([k for k in keys if k.split(".")[1] in POSITIVE])
    small = rng.choice(["-1", "0", "-0.5"])
    yield lambda: ([f"{word}={rng.randint(0, 9)}"], word)
    yield lambda: ([f"+{word}={rng.randint(0, 9)}"], word)
    yield lambda: ([f"+{group}.{word}=1"], f"{group}.{word}")
    yield lambda: ([f"{group}.{word}=1"], word)
    for value in (word, "[1,2]", "true", "null", "nan"):
        yield lambda value=value: ([f"{key}={value}"], key)
    yield lambda: ([f"{positive}={small}"], positive)
    yield lambda: ([f"{key}=${{{word}}}"], word)
    yield lambda: ([f"{key}=${{{word}"], key)
    yield lambda: ([f"~{key}"], key)
    yield lambda: ([f"{key}={word}={word}("], key)
    yield lambda: ([f"{key}:{word}"], word)


def wrong_values(rng: random.Random, word: str) -> Iterator[Callable[[], Wrong]]:
    """Choices, widths, seeds, names and combinations that don't exist."""
    values = {
        rng.choice(CHOICES): [word],
        "model.hidden": ["0", "-3", "8-", "8x8", "1.5", word],
        "seed": ["-1", "4294967296", "1.5", word],
        "seeds": ["[1,1]", "[]", "3", "[a]", "[-1]"],
        "replicas": ["0", "-2", "1.5", word],
        "name": NAMES,
        "experiment": [f"{word}/{word}"],
        "target": [word],
        "optimizer": [word],
        "callbacks": [word, "{x:{_target_:os.mkdir}}"],
        "logger": [word, "{x:{_target_:os.mkdir}}"],
    }
    for key, wrong in values.items():
        expected = word if key in ("experiment", "target", "optimizer") else key
        value = rng.choice(wrong)
        yield lambda key=key, value=value, expected=expected: ([f"{key}={value}"], expected)
    size = rng.choice(["0", "-1", "9999999"])
    yield lambda: ([f"data.batch_size={size}", "data.order=shuffle"], "data.")


def wrong_sweeps(rng: random.Random, word: str, keys: list[str]) -> Iterator[Callable[[], Wrong]]:
    key = rng.choice(keys)
    yield lambda: (["-m", f"{key}=range(0,0)"], key)
    yield lambda: (["-m", f"{key}={word},{word}x"], key)
    yield lambda: (["-m", f"{key}=choice()"], key)
    yield lambda: (["-m", f"sweep={word}"], word)


def broken_experiment(number: int, users: Path) -> list[str]:
    """A user's tutorial with a broken file; the command that trains it."""
    (users / "conf/experiment/own").mkdir(parents=True)
    good = (CONF / "experiment/plane/scratch.yaml").read_text()
    good = good.replace("plane/scratch", "own/broken")
    broken = [
        good + "  : [",
        good.replace("max_steps: 200", "max_steps: many"),
        good + "\n\tx: 1\n",
        good + "surplus: 1\n",
        good.replace("  max_steps: 200", "  max_step: 200"),
        good.replace("name: own/broken\n", ""),
        good.replace("/target: plane", "/target: nowhere"),
        "- a\n- list\n",
        good + "seed: !!python/name:os.system\n",
        good.replace("lr: 0.01", "lr: ${no.such.key}"),
    ]
    text = broken[number % len(broken)]
    (users / "conf/experiment/own/broken.yaml").write_text(text)
    return ["mlpfit", "experiment=own/broken"]


PROMISE = Promise(
    number=7,
    title="Bad config: one clear line",
    fault="generated wrong overrides and files",
    full=200,
    quick=20,
    trial=trial,
)
