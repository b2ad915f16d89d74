"""Draw figures from finished runs, never train.

mlpfit figures [tutorial | experiment | tutorial/figure ...]
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlpfit.config.catalogue import existing, experiments, tutorial, tutorials
from mlpfit.errors import ConfigError, RunError, allowed, as_config_error
from mlpfit.figures import style
from mlpfit.figures.distribution import distribution, overview
from mlpfit.figures.parts import Drawing, Figure
from mlpfit.figures.save import description, is_current, save
from mlpfit.judging.published import printed_trace
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run

HERE = Path(__file__).parent
LOOK = tuple(HERE / name for name in ("parts.py", "style.py", "style.mplstyle"))


def drawings() -> list[Drawing]:
    """All figures, tutorial by tutorial; a tutorial without ``figures.py`` has none."""
    every: list[Drawing] = []
    for owner in tutorials():
        if (module := owner.module("figures", "FIGURES")) is not None:
            with as_config_error(f"{owner.folder}/figures.py"):
                for drawing in module.FIGURES:
                    name, experiment = map(owner.full_name, (drawing.name, drawing.experiment))
                    existing(experiment, f"figure {name}")
                    every.append(replace(drawing, name=name, experiment=experiment))
    return every


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError for what is no tutorial, experiment or figure."""
    figures = [drawing.name for drawing in drawings()]
    known = dict.fromkeys([*(t.name for t in tutorials()), *experiments(), *figures])
    if unknown := [name for name in names if name not in known]:
        kinds = "tutorial, experiment or figure"
        raise ConfigError(f"{unknown[0]}: no such {kinds}; {allowed(unknown[0], known)}")


def draw_all(names: Sequence[str], outputs: Path) -> tuple[int, int]:
    """Draw the figures of these tutorials, experiments or figure names; if none is named, all whose
    runs are finished. Returns how many were drawn and how many were up to date. Raises ConfigError,
    RunError."""
    check_names(names)
    chosen = [d for d in drawings() if not names or {d.tutorial, d.experiment, d.name} & {*names}]
    missing = unfinished(chosen, outputs)
    ready = [d for d in chosen if d.experiment not in missing]
    if missing and (names or not ready):
        raise RunError(
            f"no finished run of {', '.join(missing)} under {outputs}/runs: "
            f"mlpfit reproduce {' '.join(names)}".rstrip()
        )
    drawn = [anew for drawing in ready for anew in draw(drawing, outputs)]
    for owner in tutorials():
        if not names or owner.name in {name.split("/")[0] for name in names}:
            drawn += draw_distribution(owner.name, outputs)
    if not names:
        drawn += draw_overview(outputs)
    return sum(drawn), len(drawn) - sum(drawn)


def unfinished(chosen: Sequence[Drawing], outputs: Path) -> list[str]:
    """The experiments of these figures that have no finished run."""
    needed = sorted({drawing.experiment for drawing in chosen})
    return [e for e in needed if not (outputs / "runs" / e / MARKER).is_file()]


def draw(drawing: Drawing, outputs: Path) -> list[bool]:
    """Draw the figure, and once more over an ensemble's band. Returns which were drawn anew."""
    runs = [published_run(drawing.experiment, outputs)]
    code = tutorial(drawing.tutorial).folder / "figures.py"
    file = outputs / "figures" / f"{drawing.name}.svg"
    caption = drawing.caption + ("; not shown on the page" if drawing.ours else "")
    make = partial(marked_figure, drawing)
    drawn = [_draw(file, make, caption, runs, code)]
    for replicas in _ensembles([drawing.experiment], outputs) if drawing.band else []:
        lost = int(replicas.diverged.sum())
        caption += f"; behind it {replicas.replicas} replicas" + (f", {lost} diverged" * (lost > 0))
        beside = file.with_name(f"{file.stem}_band.svg")
        drawn.append(_draw(beside, make, caption, [*runs, replicas], code))
    return drawn


def marked_figure(drawing: Drawing, *runs: Run) -> Figure:
    """The figure, marked where it is ours."""
    figure = drawing.draw(*runs)
    if drawing.ours:
        mark = "ours, not shown on the page"
        figure.suptitle(mark, x=1, ha="right", fontsize=8, color=style.ROWS)
    return figure


def draw_distribution(name: str, outputs: Path) -> list[bool]:
    """Draw how a tutorial's final numbers are distributed, if all its ensembles are there."""
    runs = _ensembles(tutorial(name).experiments(), outputs)
    caption = f"Final numbers of {name} over the replicas, published values marked"
    file = outputs / "figures" / name / "distribution.svg"
    return [_draw(file, distribution, caption, runs, *code_of(name))] if runs else []


def draw_overview(outputs: Path) -> list[bool]:
    """Draw all printed traces of losses over the replicas, if the ensembles are there."""
    names = [name for name in experiments() if printed_trace(name)]
    runs = _ensembles(names, outputs)
    caption = "Every trace of losses that the pages print, over the replicas of its experiment"
    file = outputs / "figures" / "overview.svg"
    return [_draw(file, overview, caption, runs, *code_of(*names))] if runs else []


def code_of(*names: str) -> list[Path]:
    """What decides a picture of published numbers of these tutorials or experiments."""
    folders = dict.fromkeys(tutorial(name).folder for name in names)
    return [HERE / "distribution.py", *(folder / "published.yaml" for folder in folders)]


def _draw(
    file: Path, make: Callable[..., Figure], title: str, runs: list[Run], *code: Path
) -> bool:
    """Draw unless the file there is already of the same runs and code. Returns whether it was."""
    source = description(runs, [*code, *LOOK])
    if is_current(file, source):
        return False
    with as_config_error(f"figure {file.parent.name}/{file.stem}"):
        save(file, lambda: make(*runs), title, source)
    return True


def _ensembles(names: Sequence[str], outputs: Path) -> list[Run]:
    """Those of these experiments; none unless all are there."""
    there = all((outputs / "ensembles" / name / MARKER).is_file() for name in names)
    return [published_run(name, outputs, "ensembles") for name in names] if there else []
