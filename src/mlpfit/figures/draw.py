"""Draw figures from finished runs: mlpfit figures [tutorial | experiment | tutorial/figure ...]"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

from mlpfit.config.catalogue import Tutorial, check_experiment, experiments, tutorial, tutorials
from mlpfit.data.targets import TARGETS, Target
from mlpfit.errors import ConfigError, RunError, allowed, as_config_error, check_text
from mlpfit.figures import style
from mlpfit.figures.distribution import distribution, overview
from mlpfit.figures.parts import Drawing, Figure
from mlpfit.figures.portrait import portrait
from mlpfit.figures.save import description, is_current, replicas_drawn, save
from mlpfit.judging import statistics
from mlpfit.judging.evidence import recipe_id
from mlpfit.judging.published import featured, printed_trace
from mlpfit.processes import Workers, run_tasks, send_message
from mlpfit.runs.identity import published_run
from mlpfit.runs.run import MARKER, Run
from mlpfit.training.progress import doing

HERE = Path(__file__).parent
STYLE_FILES = (
    *(HERE / name for name in ("parts.py", "style.py", "style.mplstyle")),
    Path(statistics.__file__),  # defines the quantiles of bands
)


def drawings() -> list[Drawing]:
    """All figures, tutorial by tutorial; a tutorial without ``figures.py`` has none. Raises
    ConfigError for a damaged ``figures.py``."""
    return [drawing for owner in tutorials() for drawing in _drawings_of(owner)]


def _drawings_of(owner: Tutorial) -> list[Drawing]:
    file = f"{owner.folder}/figures.py"
    listed: list[Drawing] = []
    if (module := owner.module("figures", "FIGURES")) is None:
        return []
    if not isinstance(getattr(module, "FIGURES", None), list):
        raise ConfigError(f"{file}: needs FIGURES, a list of Drawing(...)")
    for drawing in module.FIGURES:
        if not isinstance(drawing, Drawing):
            raise ConfigError(f"{file}: FIGURES holds {drawing!r}: must be Drawing(...)")
        name, experiment = map(owner.full_name, (drawing.name, drawing.experiment))
        check_experiment(experiment, f"{file}: figure {name}")
        if other := [n for n in (name, experiment) if n.split("/")[0] != owner.name]:
            raise ConfigError(f"{file}: figure {name}: {other[0]}: must be of {owner.name}")
        check_text(drawing.caption, str(file))
        if drawing.band and not _takes_two(drawing.draw):
            raise ConfigError(f"{file}: figure {name}: band=True needs draw(run, replicas=None)")
        if name in [earlier.name for earlier in listed]:
            raise ConfigError(f"{file}: figure {name}: there are two; give one another name")
        listed.append(replace(drawing, name=name, experiment=experiment))
    return listed


def _takes_two(draw: Callable[..., Figure]) -> bool:
    try:
        signature(draw).bind(None, None)
    except TypeError:
        return False
    return True


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError for a name of no tutorial, experiment or figure."""
    figures = [drawing.name for drawing in drawings()]
    valid = dict.fromkeys([*(t.name for t in tutorials()), *experiments(), *figures])
    if settings := [name for name in names if "=" in name]:
        raise ConfigError(f"{settings[0]}: only names go here, of tutorials, experiments, figures")
    if unknown := [name for name in names if name not in valid]:
        kinds = "tutorial, experiment or figure"
        raise ConfigError(f"{unknown[0]}: no such {kinds}; {allowed(unknown[0], valid)}")


def draw_all(
    names: Sequence[str], outputs: Path, stale: Sequence[str] = (), workers: Workers | None = None
) -> tuple[int, int]:
    """Draw the figures of these tutorials, experiments or figure names (default: all whose runs are
    finished); stale: experiments whose ensembles are left out; workers: idle processes that draw
    them in parallel. Returns how many were drawn and how
    many were up to date. Raises ConfigError for an unknown name, RunError for a missing run, or one
    of another recipe."""
    check_names(names)
    with doing("drawing figures"):
        return _draw_all(names, outputs, stale, workers)


def _draw_all(
    names: Sequence[str], outputs: Path, stale: Sequence[str], workers: Workers | None
) -> tuple[int, int]:
    chosen = [d for d in drawings() if not names or {d.tutorial, d.experiment, d.name} & {*names}]
    missing = unfinished(chosen, outputs)
    ready = [d for d in chosen if d.experiment not in missing]
    if missing and (names or not ready):
        raise RunError(
            f"no finished run of {', '.join(missing)} under {outputs}/runs: "
            f"mlpfit reproduce {' '.join(names)}".rstrip()
        )
    by_name = _draw_in_parallel(ready, outputs, stale, workers) if workers else {}
    drawn = []
    for drawing in ready:
        drawn += by_name.get(drawing.name) or draw_figure(drawing, outputs, stale)
    for owner in tutorials():
        if not names or owner.name in {name.split("/")[0] for name in names}:
            drawn += draw_distribution(owner.name, outputs, stale)
            drawn += draw_portrait(owner.name, outputs, stale)
    if not names:
        drawn += draw_overview(outputs, stale)
    return sum(drawn), len(drawn) - sum(drawn)


def _draw_in_parallel(
    chosen: Sequence[Drawing], outputs: Path, stale: Sequence[str], workers: Workers
) -> dict[str, list[bool]]:
    """What :func:`draw_figure` returns for these figures; nothing for one that fails, which is to
    be drawn here, where its error is raised."""
    by_name: dict[str, list[bool]] = {}

    def on_message(index: int, *drawn: bool) -> None:
        by_name[chosen[index].name] = [*drawn]

    tasks = [(drawing.name, outputs, stale) for drawing in chosen]
    run_tasks(_draw_task, tasks, len(workers), lambda index, failure: None, workers, on_message)
    return by_name


def _draw_task(task: tuple[str, Path, Sequence[str]]) -> None:
    name, outputs, stale = task
    (drawing,) = (d for d in _drawings_of(tutorial(name)) if d.name == name)
    send_message(*draw_figure(drawing, outputs, stale))


def unfinished(chosen: Sequence[Drawing], outputs: Path) -> list[str]:
    """The experiments of these figures that have no finished run."""
    needed = sorted({drawing.experiment for drawing in chosen})
    return [e for e in needed if not (outputs / "runs" / e / MARKER).is_file()]


def draw_figure(drawing: Drawing, outputs: Path, stale: Sequence[str]) -> list[bool]:
    """Draw the figure, and again over the ensemble's band. Returns whether each was out of date."""
    runs = [published_run(drawing.experiment, outputs)]
    code = tutorial(drawing.tutorial).folder / "figures.py"
    file = outputs / "figures" / f"{drawing.name}.svg"
    caption = drawing.caption + ("; not shown on the page" if drawing.ours else "")
    plot = partial(marked_figure, drawing)
    drawn = [_draw(file, plot, caption, runs, code)]
    for ensemble in _ensembles([drawing.experiment], outputs, stale) if drawing.band else []:
        diverged = int(ensemble.diverged.sum())
        caption += f"; behind it {ensemble.replicas:,} replicas"
        caption += f", {diverged:,} of which diverged" * (diverged > 0)
        band_file = file.with_name(f"{file.stem}_band.svg")
        drawn.append(_draw(band_file, plot, caption, [*runs, ensemble], code))
    return drawn


def marked_figure(drawing: Drawing, *runs: Run) -> Figure:
    """The figure, with a remark if the page has no such figure."""
    figure = drawing.draw(*runs)
    if figure is None:
        raise ValueError("its function returns no figure")
    if drawing.ours:
        mark = "ours, not shown on the page"
        figure.suptitle(mark, x=1, ha="right", fontsize=8, color=style.ROWS)
    return figure


def draw_distribution(name: str, outputs: Path, stale: Sequence[str] = ()) -> list[bool]:
    """Draw the distribution of a tutorial's final numbers, if all its ensembles are finished."""
    runs = _ensembles(tutorial(name).experiments(), outputs, stale)
    caption = f"Final numbers of {name} over the replicas, published values marked"
    file = outputs / "figures" / name / "distribution.svg"
    return [_draw(file, distribution, caption, runs, *sources_of(name))] if runs else []


def draw_portrait(name: str, outputs: Path, stale: Sequence[str] = ()) -> list[bool]:
    """Draw the small picture of a tutorial's page, if the featured run and its ensemble are
    finished."""
    experiment = featured(name)
    folder = outputs / "runs" / experiment
    ensembles = _ensembles([experiment], outputs, stale) if (folder / MARKER).is_file() else []
    file = outputs / "figures" / name / "portrait.svg"
    caption = f"{experiment}: one run over the band of all seeds, and its error among theirs"
    code = [*sources_of(name), HERE / "portrait.py"]
    runs = [published_run(experiment, outputs), *ensembles] if ensembles else []
    return [_draw(file, portrait, caption, runs, *code)] if runs and _is_drawable(runs[0]) else []


def _is_drawable(run: Run) -> bool:
    """Whether a portrait can show the fit: of one input, or of a function of several."""
    is_function = issubclass(TARGETS[run.config["target"]["name"]], Target)
    return not run.classifies and (is_function or run.data["x"].shape[2] == 1)


def draw_overview(outputs: Path, stale: Sequence[str] = ()) -> list[bool]:
    """Draw all printed traces of losses over the replicas, if their ensembles are finished."""
    names = [name for name in experiments() if printed_trace(name)]
    runs = _ensembles(names, outputs, stale)
    caption = "Every trace of losses that the pages print, over the replicas of its experiment"
    file = outputs / "figures" / "overview.svg"
    return [_draw(file, overview, caption, runs, *sources_of(*names))] if runs else []


def sources_of(*names: str) -> list[Path]:
    """Code and data, beside the runs, of a picture of these tutorials' or experiments' numbers."""
    folders = dict.fromkeys(tutorial(name).folder for name in names)
    files = [folder / name for folder in folders for name in ("published.yaml", "quantities.py")]
    return [HERE / "distribution.py", *files]


def _draw(
    file: Path, plot: Callable[..., Figure], title: str, runs: list[Run], *code: Path
) -> bool:
    """Draw the file unless it is of the same runs and code. Returns whether it was drawn."""
    source = description(runs, [*code, *STYLE_FILES])
    if is_current(file, source):
        return False
    with as_config_error(f"figure {file.parent.name}/{file.stem}"):
        save(file, lambda: plot(*runs), title, source)
    return True


def stale_ensembles(names: Sequence[str], outputs: Path) -> dict[str, str]:
    """Those of these experiments that are of another recipe, and why."""
    reasons = {}
    for name in names:
        if (outputs / "ensembles" / name / MARKER).is_file():
            try:
                published_run(name, outputs, "ensembles")
            except RunError as error:
                reasons[name] = str(error)
    return reasons


def poorer_ensembles(names: Sequence[str], outputs: Path) -> dict[str, str]:
    """Those of these experiments of whose recipe a figure shows more replicas than there are now,
    and how many: such figures are kept, unless one asks for others."""
    reasons = {}
    for name in names:
        try:
            run = published_run(name, outputs, "ensembles")
        except RunError:  # none, or of another recipe
            continue
        recipe = recipe_id(run.identity["recipe"])
        files = (outputs / "figures" / name.split("/")[0]).glob("*.svg")
        most = max((replicas_drawn(file, name, recipe) for file in files), default=0)
        if most > run.replicas:
            reasons[name] = (
                f"figures of {name} are kept, drawn from {most:,} seeds; now there are "
                f"{run.replicas:,} (mlpfit figures --partial draws these)"
            )
    return reasons


def _ensembles(names: Sequence[str], outputs: Path, stale: Sequence[str]) -> list[Run]:
    """The ensembles of these experiments; empty unless all are finished and none is stale."""
    folders = [outputs / "ensembles" / name for name in names if name not in stale]
    finished = len(folders) == len(names) and all((f / MARKER).is_file() for f in folders)
    return [published_run(name, outputs, "ensembles") for name in names] if finished else []
