"""The playground in a real browser: links, keyboard, readers, small screens."""

import numpy as np
import pytest
from conftest import AXE
from playground_page import bare_page, opened, settled, until, visit, watched

made = pytest.fixture(bare_page, scope="module", name="made")
tab = pytest.fixture(opened, scope="module", name="tab")
page = pytest.fixture(watched, name="page")


def test_a_link_gives_the_same_picture_and_back_and_forward_work(made, page):
    visit(page, made)
    assert page.evaluate("location.hash") == ""
    page.fill("#set-optimizer-lr", "0.05")
    page.press("#set-optimizer-lr", "Enter")
    page.select_option("#set-model-activation", "tanh")
    until(page, "location.hash.includes('tanh') && !playground.running()")
    for step in (1, 2, 3):  # each when the one before has been taken: a click in between is lost
        page.click("#step")
        until(page, f"document.querySelector('#at').textContent === '{step}'")
        until(page, f"playground.losses().length === {step}")
    link = page.evaluate("location.hash")
    assert (
        link == "#experiment=parabola/eight_neurons&model.activation=tanh&optimizer.lr=0.05&step=3"
    )
    picture = "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL())"
    before = settled(page, picture)
    visit(page, made, link)
    assert settled(page, picture) == before
    visit(page, made)
    page.select_option("#set-experiment", "tower/small")
    page.fill("#set-seed", "4")
    page.press("#set-seed", "Tab")
    values = [("tower/small", "4"), ("tower/small", "0"), ("parabola/eight_neurons", "19")]

    def shown() -> tuple[str, str]:
        return page.input_value("#set-experiment"), page.input_value("#set-seed")

    assert shown() == values[0]
    for value, move in [
        (values[1], "back"),
        (values[2], "back"),
        (values[1], "forward"),
        (values[0], "forward"),
    ]:
        page.evaluate(f"history.{move}()")
        for key, text in zip(("experiment", "seed"), value, strict=True):
            until(page, f"document.querySelector('#set-{key}').value === '{text}'")


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#optimizer.lr=fast", "optimizer.lr=fast: must be a number above 0"),
        ("#experiment=none/such", "experiment=none/such: there are tower/small"),
        ("#target.f=<img src=x onerror=alert(1)>", "target.f"),
        ("#nonsense", "nonsense: must be key=value"),
        ("#step=5001", "step=5001: must be at most trainer.max_steps=5000"),
    ],
)
def test_a_bad_link_gives_one_line_and_the_defaults(fragment, said, made, page):
    visit(page, made, fragment, refused=True)
    line = page.inner_text("#problem")
    assert line.startswith("The link can't be read: ") and line.endswith(" The defaults are shown.")
    assert said in line or "f(x)" in line
    assert "\n" not in line
    assert page.input_value("#set-experiment") == "parabola/eight_neurons"


def test_a_run_that_diverges_stops_and_says_so(made, page):
    visit(page, made, "#optimizer.lr=1")
    page.select_option("#pace", "full")
    page.click("#play")
    until(
        page,
        "document.querySelector('#status').textContent.startsWith('Diverged: the loss of step ')",
    )
    losses = page.evaluate("playground.losses()")
    assert np.isfinite(losses[:-1]).all() and not np.isfinite(float(losses[-1] or "nan"))
    until(page, "document.querySelector('#loss').textContent === 'diverged'")


def test_what_is_typed_wrong_is_said_beside_it_and_changes_nothing(made, page):
    visit(page, made)
    for field, text, said in [
        ("target-f", "x^", "ends too early"),
        ("target-low", "7", "must be below target.high=5"),
        ("model-hidden", "8,8", "such as 8 or 64-64, or none"),
        ("target-points", "1e9", "from 1 to 5000"),
        ("data-batch_size", "101", "must be at most the 100 rows"),
    ]:
        page.fill(f"#set-{field}", text)
        page.press(f"#set-{field}", "Tab")
        assert said in page.inner_text(f"#wrong-set-{field}")
        assert page.get_attribute(f"#set-{field}", "aria-invalid") == "true"
    assert page.evaluate("location.hash") == ""
    page.fill("#set-target-f", "log(x)")
    page.press("#set-target-f", "Tab")
    until(page, "document.querySelector('#problem').textContent.includes('not finite at x = ')")


def test_what_was_refused_stays_until_it_is_right(made, page):
    """Another control moves, and what was typed wrong is still there, with what is wrong in it."""
    visit(page, made)
    for text, said in [("sin(3x)", "write 3 * x"), ("sin x", "write sin(x)"), ("2(x+1)", "2 * (")]:
        page.fill("#set-target-f", text)
        page.press("#set-target-f", "Tab")
        assert said in page.inner_text("#wrong-set-target-f")
    page.fill("#set-target-low", "7")
    page.press("#set-target-low", "Tab")
    page.select_option("#set-model-activation", "tanh")
    until(page, "location.hash.includes('tanh')")
    assert page.input_value("#set-target-f") == "2(x+1)"
    assert "2 * (" in page.inner_text("#wrong-set-target-f")
    page.fill("#set-target-high", "9")  # now 7 is allowed, and is taken
    page.press("#set-target-high", "Tab")
    until(page, "location.hash.includes('target.low=7')")
    assert not page.is_visible("#wrong-set-target-low")
    page.fill("#set-target-f", "sin(3*x)")
    page.press("#set-target-f", "Tab")
    until(page, "location.hash.includes('sin')")
    assert not page.is_visible("#wrong-set-target-f")


def test_where_no_seeds_are_shown_it_says_why(made, page):
    for fragment, said in [
        ("", "no seeds trained"),
        ("#optimizer.lr=0.05", "no seeds trained"),
    ]:
        visit(page, made, fragment)
        until(page, f"document.querySelector('#percentile').textContent === '{said}'")
        assert page.locator("[data-no-band]").first.inner_text() == f"no seeds: {said}"


def test_everything_can_be_done_from_the_keyboard(made, page):
    visit(page, made, "#step=400")
    page.focus("#scrub")
    page.keyboard.press("Home")
    until(page, "document.querySelector('#at').textContent === '0'")
    page.keyboard.press("End")
    until(page, "document.querySelector('#at').textContent === '400'")
    page.focus("#chips button")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    second = "document.querySelector('#chips button:nth-of-type(2)')"
    until(page, f"{second}.getAttribute('aria-pressed') === 'true'")
    until(page, "location.hash.includes('unit=2')")
    page.focus("#play")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#play').textContent === 'Pause'")
    until(page, "playground.losses().length > 400")
    page.keyboard.press("Enter")
    until(page, "!playground.running() && document.querySelector('#play').textContent === 'Play'")
    stopped = page.evaluate("playground.losses().length")
    page.focus("#step")
    page.keyboard.press("Enter")
    until(page, f"document.querySelector('#at').textContent === '{stopped + 1}'")
    page.focus("#rewind")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#at').textContent === '0'")


def test_a_click_on_a_units_line_shows_it_alone(made, page):
    visit(page, made, "#step=2000")
    box = page.locator("#units").bounding_box()
    for share in np.linspace(0.05, 0.95, 19):
        page.mouse.click(box["x"] + 60, box["y"] + share * box["height"])
        if page.locator('#chips [aria-pressed="true"]').count():
            break
    assert page.locator('#chips [aria-pressed="true"]').count() == 1
    assert "is shown alone" in page.text_content("#units-words")


def test_pictures_hardly_move_where_motion_is_not_wanted(made, browser):
    counts = {}
    for wish in ("no-preference", "reduce"):
        tab = browser.new_page(reduced_motion=wish)
        tab.add_init_script(
            "window.drawn = 0; const pen = CanvasRenderingContext2D.prototype, { clearRect } = pen;"
            "pen.clearRect = function (...at) { drawn++; return clearRect.apply(this, at); };"
        )
        visit(tab, made, "#trainer.max_steps=200000")
        tab.select_option("#pace", "slow")
        tab.click("#play")
        before = tab.evaluate("drawn")
        tab.wait_for_timeout(1200)
        counts[wish] = (tab.evaluate("drawn") - before) / 4 / 1.2  # four canvases, 1.2 seconds
        tab.close()
    assert counts["reduce"] <= 3 < counts["no-preference"]


@pytest.mark.skipif(AXE is None, reason="no axe-core: npm ci in src/playground installs it")
@pytest.mark.parametrize(("scheme", "width"), [("dark", 400), ("light", 1300)])
def test_axe_finds_no_violation_and_nothing_overflows(scheme, width, made, browser):
    viewport = {"width": width, "height": 800}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    visit(tab, made, "#experiment=tower/small&step=100&unit=3")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.add_script_tag(path=AXE)
    violations = tab.evaluate("axe.run()")["violations"]
    context.close()
    assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations] == []
