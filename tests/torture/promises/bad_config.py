"""Whatever is wrong with a config: exit code 2, one line that names it, nothing created."""

import random
from pathlib import Path

from injection import call
from promise import promise

from mlpfit.config.catalogue import CONF, experiments
from mlpfit.config.compose import compose
from mlpfit.config.schema import COMMON_ARGUMENTS

# Arguments -> what the refusal names. WORD is no name of anything; KEY is a numeric key of the
# experiment, in GROUP; ABOVE is one that must be above 0.
KEYS = {
    **{"WORD=3": "WORD", "+WORD=3": "WORD", "+GROUP.WORD=1": "GROUP.WORD", "GROUP.WORD=1": "WORD"},
    **{f"KEY={value}": "KEY" for value in ("WORD", "[1,2]", "true", "null", "nan", "${WORD")},
    **{"KEY=${WORD}": "WORD", "~KEY": "KEY", "KEY=WORD=WORD(": "KEY", "KEY:WORD": "WORD"},
    **{f"ABOVE={value}": "ABOVE" for value in ("-1", "0", "-0.5")},
    **{f"-m KEY={values}": "KEY" for values in ("range(0,0)", "WORD,WORDx", "choice()")},
    **{f"data.order=shuffle data.batch_size={n}": "data." for n in (0, -1, 9999999)},
    **{f"{group}=WORD": "WORD" for group in ("target", "optimizer", "-m sweep")},
    "experiment=WORD/WORD": "WORD",
}
VALUES = {
    "model.hidden": ["0", "-3", "8-", "8x8", "1.5", "WORD"],
    "seed": ["-1", "4294967296", "1.5", "WORD"],
    "seeds": ["[1,1]", "[]", "3", "[a]", "[-1]"],
    "replicas": ["0", "-2", "1.5", "WORD"],
    "name": ["../x", "a/../b", "/etc/x", "x", "a/b/c", "a+b/c"],
    "callbacks": ["WORD", "{x:{_target_:os.mkdir}}"],
    "logger": ["WORD", "{x:{_target_:os.mkdir}}"],
}
CHOICES = [
    *("loss", "streams", "model.activation", "model.init", "model.gradient", "data.order"),
    *("trainer.precision", "target.inputs", "target.name", "optimizer.name", "metric"),
]
WRONG = [
    *KEYS.items(),
    *((f"{key}={value}", key) for key, values in VALUES.items() for value in values),
    *((f"{key}=WORD", key) for key in CHOICES),
]
ABOVE = ("lr", "scalars", "snapshots", "checkpoint_every", "chunk_steps")
GOOD = (CONF / "experiment/plane/scratch.yaml").read_text().replace("plane/scratch", "own/broken")
BROKEN = [  # files of an experiment
    GOOD + "  : [",
    GOOD.replace("max_steps: 200", "max_steps: many"),
    GOOD + "\n\tx: 1\n",
    GOOD + "surplus: 1\n",
    GOOD.replace("  max_steps: 200", "  max_step: 200"),
    GOOD.replace("name: own/broken\n", ""),
    GOOD.replace("/target: plane", "/target: nowhere"),
    "- a\n- list\n",
    GOOD + "seed: !!python/name:os.system\n",
    GOOD.replace("lr: 0.01", "lr: ${no.such.key}"),
]


@promise(
    7,
    "Bad config: one clear line",
    "generated wrong overrides and files",
    full=200,
    quick=20,
)
def trial(number: int, folder: Path, quick: bool) -> None:
    place, own = folder / "here", folder / "own"
    (own / "conf/experiment/own").mkdir(parents=True)
    arguments, named = ["experiment=own/broken"], ""
    if number % 10 == 9:
        file = own / "conf/experiment/own/broken.yaml"
        file.write_text(BROKEN[number // 10 % len(BROKEN)])
    else:
        arguments, named = wrong_command(random.Random(number))
    ended = call(["mlpfit", *arguments], place, MLPFIT_PATH=str(own))
    assert ended.code == 2, f"exit code {ended.code} of {' '.join(arguments)}: {ended.stderr}"
    ended.refused(2, named)
    assert list(place.iterdir()) == [], f"created {list(place.iterdir())}"


def wrong_command(rng: random.Random) -> tuple[list[str], str]:
    """Arguments, and what the refusal must hold."""
    name = rng.choice([n for n in experiments() if n != "plane/least_squares"])
    keys = numeric_keys(name)
    key, above = rng.choice(keys), rng.choice([k for k in keys if k.split(".")[1] in ABOVE])
    given, named = rng.choice(WRONG)
    for place, text in {
        "WORD": "".join(rng.choices("abcdefghijklmnop", k=7)),
        "KEY": key,
        "GROUP": key.split(".")[0],
        "ABOVE": above,
    }.items():
        given, named = given.replace(place, text), named.replace(place, text)
    experiment = [] if given.startswith("experiment=") else [f"experiment={name}"]
    return [*given.split(" "), *experiment], named


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
