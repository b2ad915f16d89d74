"""The report in a real browser, made from small ensembles of every experiment."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import AXE, run, tutorial_folder

from mlpfit.config.catalogue import tutorials
from mlpfit.judging import ledger as judging
from mlpfit.judging import published, words
from mlpfit.report import playground, table
from mlpfit.report.page import linked, report, web_address

README = "# Mine\n<!-- results -->\n<!-- /results -->\n"


@pytest.fixture(scope="module")
def judged(reproduced, tmp_path_factory) -> Path:
    """A folder with runs, ensembles of four replicas, figures, ledger, README and report."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "README.md").write_text(README)
    shutil.copytree(reproduced[0] / "outputs", folder / "outputs")
    how = ("engine=true", "ensemble.processes=1")
    made = run("mlpfit", "ensembles", "replicas=4", *how, cwd=folder)
    assert made.returncode == 0, made.stderr
    done = run("mlpfit", "report", "--judge", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def live(judged) -> dict[str, Any]:
    """What the playground shows."""
    return playground.evidence(judged / "outputs")


def test_the_report_is_one_small_offline_file(judged):
    page = (judged / "outputs/report.html").read_text()
    assert len(page.encode()) < 8 * 2**20
    links = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    pages = {published.tutorial(t.name).page for t in tutorials()}  # to follow, not loaded
    beside = {link for link in links if link.startswith("playground.html#experiment=")}
    assert {link for link in links if not link.startswith("data:")} == pages - {None} | beside
    assert beside
    assert "url(" not in page.split("</style>")[0] and "@import" not in page
    assert all(f'id="{t.name}"' in page for t in tutorials())
    for tag in re.findall(r"<img [^>]*>", page):
        assert re.search(r' width="[1-9]\d*" height="[1-9]\d*" alt="[^"]+"', tag), tag[-200:]
    assert "{{" not in page and "<script" not in page
    first = page.partition('id="first"')[2].partition("</ol>")[0]
    assert first.count("<li>") == first.count("<img ") == len(tutorials())
    words_used = set(re.findall(r'href="#(word-[\w-]+)"', page))
    assert words_used and all(f'id="{word}"' in page for word in words_used)


@pytest.fixture(scope="module")
def changed(judged) -> subprocess.CompletedProcess[str]:
    """``mlpfit ledger`` after a verdict in the ledger was replaced by another."""
    file = judged / "outputs/ledger.json"
    content = judging.read(judged / "outputs")
    content["numbers"][0]["verdict"] = "outside"
    file.write_text(json.dumps(content))
    return run("mlpfit", "ledger", cwd=judged)


def test_the_ledger_says_when_a_verdict_changes(changed):
    assert changed.returncode == 3
    said = "1 verdict changed since the ledger before: tower/small:mse@100: outside, now"
    assert said in changed.stderr


def test_bands_and_distributions_are_drawn_once_the_ensembles_are_there(judged):
    names = {
        str(p.relative_to(judged / "outputs/figures"))
        for p in (judged / "outputs/figures").rglob("*.svg")
    }
    assert {f"{t.name}/distribution.svg" for t in tutorials()} <= names
    assert {
        "tower/small_fit_band.svg",
        "parabola/loss_band.svg",
        "restoration/wide_band.svg",
    } <= names


def test_a_ledger_that_judges_more_is_kept_unless_asked(judged, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(judged, folder)
    file = folder / "outputs/ledger.json"
    content = judging.read(folder / "outputs")
    content["conclusions"][0]["replicas"] = 20000
    file.write_bytes(richer := json.dumps(content).encode())
    refused = run("mlpfit", "ledger", cwd=folder)
    assert refused.returncode == 1 and "1 of conclusions" in refused.stderr
    assert "--partial" in refused.stderr and file.read_bytes() == richer
    kept = run("mlpfit", "report", "--judge", cwd=folder)
    assert kept.returncode == 0 and "is kept" in kept.stderr and file.read_bytes() == richer
    written = run("mlpfit", "ledger", "--partial", cwd=folder)
    assert written.returncode == 0, written.stderr
    assert judging.read(folder / "outputs")["conclusions"][0]["replicas"] == 4


def test_what_lacks_its_replicas_says_so_and_names_the_command(judged):
    content = judging.read(judged / "outputs")
    page = (judged / "outputs/report.html").read_text()
    for kind in ("conclusions", "slips", "power", "assumptions", "sensitivity"):
        assert any(
            words.is_missing(part) for row in content[kind] for part in row.get("choices", [row])
        )
    claim = next(c for c in content["conclusions"] if words.is_missing(c))
    assert claim["column"] == "not judged" and claim["commands"][0].startswith("mlpfit ensembles")
    assert claim["claim"].replace("'", "&#39;") in page and claim["commands"][0] in page


def test_a_row_of_another_recipe_has_no_verdict(judged, tmp_path):
    folder, name = tmp_path / "copy", "tower/small"
    shutil.copytree(judged, folder)
    outputs, readme = folder / "outputs", folder / "README.md"
    content, before = judging.read(outputs), readme.read_text()
    content["runs"][name]["recipe"] = "another"
    (outputs / "ledger.json").write_text(json.dumps(content))
    assert name in (table.update_readme(outputs, readme) or "") and readme.read_text() == before
    row = next(line for line in table.readme_table(outputs).splitlines() if f"`{name}`" in line)
    assert "another recipe" in row and not re.search("typical|unusual|outside", row)
    apart = judging.without(content, judging.departing(content))
    for kind in ("numbers", "traces", "experiments"):
        for entry in apart[kind]:
            assert (entry["verdict"] == "not judged") == (entry["experiment"] == name)
    assert "of another recipe than" in report(outputs, content)
    verdicts, _ = playground.from_ledger(outputs)
    assert verdicts[name]["said"].startswith("not judged")


def test_of_a_readme_only_the_results_change(judged, tmp_path):
    """Also where it is a link, with the ends of lines of Windows, in another encoding."""
    written = b"Gr\xfc\xdfe\r\n" + (judged / "README.md").read_bytes().replace(b"\n", b"\r\n")
    empty = re.sub(rb"(<!-- results -->\r\n).*(?=<!-- /results -->)", rb"\1", written, flags=re.S)
    (linked := tmp_path / "mine.md").write_bytes(empty)
    (readme := tmp_path / "README.md").symlink_to(linked)
    assert table.update_readme(judged / "outputs", readme) is None
    assert readme.is_symlink() and readme.read_bytes() == written


def test_readme_report_playground_and_terminal_say_the_same(judged, live, changed):
    outputs = judged / "outputs"
    content, page = judging.read(outputs), (outputs / "report.html").read_text()
    readme = (judged / "README.md").read_text()
    terminal = " ".join(changed.stdout.split())  # it breaks lines
    plain = re.sub(r"<[^>]+>", "", page).replace("&#39;", "'").replace("&#34;", '"')
    for line in filter(None, table.summary(content)):
        assert line in plain and line in readme and line in terminal
    for entry in content["experiments"]:
        name, said = entry["experiment"], words.run_verdict(entry)
        assert said in plain and said in terminal
        row = next(line for line in readme.splitlines() if f"`{name}`" in line)
        assert said in row
        if name in live["experiments"]:
            assert live["experiments"][name]["verdict"]["said"] == said
    assert words.in_short(content) in plain
    counts = [int(n) for n in re.findall(r"<b>(\d+)</b> runs? ", page)]
    assert sum(counts) == len(content["experiments"]) == readme.count("| `")
    for claim in content["conclusions"]:
        assert words.claim_verdict(claim) in plain


def test_in_a_browser_nothing_is_loaded_and_nothing_is_cut(judged, browser):
    problems: list[str] = []
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((judged / "outputs/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    for width in (390, 1300):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cut = (
            "[...document.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1 &&"
        )
        cut += " getComputedStyle(e).overflowX === 'auto').map((e) => e.ariaLabel)"
        assert page.evaluate(cut) == [], width
    page.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_a_reader_out(judged, browser, scheme):
    if AXE is None:
        pytest.skip("no axe-core: npm ci in src/playground installs it")
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page.goto((judged / "outputs/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    page.add_script_tag(path=AXE)
    violations = page.evaluate("axe.run()")["violations"]
    assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in violations] == []


def test_every_run_and_conclusion_is_shown_once(judged):
    content = judging.read(judged / "outputs")
    page = (judged / "outputs/report.html").read_text()
    shown = page.partition('<section id="claims">')[2].partition("</section>")[0]
    assert shown.count('<span class="what">') == len(content["conclusions"]) > 0
    assert 'alt="Every trace of losses' in page


def test_the_playground_says_what_the_ledger_says(judged, live):
    outputs = judged / "outputs"
    content, ledger = live, judging.read(outputs)
    assert playground.missing(content, outputs) == ""
    assert len(playground.page(content).encode()) < 1.5 * 2**20
    for name, entry in content["experiments"].items():
        assert entry["band"]["replicas"] == ledger["runs"][name]["replicas"]
        assert entry["band"]["diverged"] == ledger["runs"][name]["diverged"]
    shown = {name.split("/")[0] for name in content["experiments"]}
    rows = [e for e in ledger["conclusions"] if e["tutorial"] in shown]
    said = [(e["claim"], words.claim_verdict(e)) for e in rows]
    assert [(e["claim"], e["said"]) for e in content["claims"]] == said != []


@pytest.mark.parametrize("text", ["javascript:alert(1)", "data:text/html,x", "//evil", None, "x"])
def test_only_addresses_of_the_web_are_links(text):
    assert web_address(text) == ""
    assert web_address("https://example.org/a?b=c") == "https://example.org/a?b=c"


def test_words_of_the_glossary_are_linked_once_and_texts_stay_texts():
    marked = str(linked("one seed, two seeds, <b>power</b>"))
    assert marked.count("#word-seed") == 1 and "&lt;b&gt;" in marked
    assert re.sub(r"</?a[^>]*>", "", marked) == "one seed, two seeds, &lt;b&gt;power&lt;/b&gt;"


def test_what_a_ledger_says_is_text_never_markup(judged):
    outputs = judged / "outputs"
    content = judging.read(outputs)
    content["conclusions"][0]["claim"] = "<script>alert('x')</script> & more"
    page = report(outputs, content)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in page


def recipe(name: str) -> str:
    return (
        "# @package _global_\ndefaults: [{override /target: line}]\n"
        f"name: {name}\nquestion: How steep is <this>?\ntrainer: {{max_steps: 5}}\n"
    )


JUDGED = {
    "conf/experiment/judged/ramp.yaml": recipe("judged/ramp"),
    "published.yaml": """
author: A. Reader
title: A ramp
numbers:
  - {experiment: judged/ramp, quantity: mse, update: before, convention: before the update,
     steps: [5], values: [1e9]}
""",
    "claims.py": """
from mlpfit.judging.claims import Claim, always_falls

CLAIMS = [Claim("the loss falls", "every loss", ("judged/ramp",), always_falls("judged/ramp", 1),
                where="last line")]
""",
}


@pytest.mark.slow
def test_tutorials_of_the_readers_own_are_judged_and_get_a_section(judged, tmp_path):
    """One without published numbers or figures, and one with numbers and a claim."""
    bare = {"conf/experiment/bare/ramp.yaml": recipe("bare/ramp")}
    own = {"bare": bare, "judged": JUDGED}
    path = ":".join(tutorial_folder(tmp_path / name, files) for name, files in own.items())
    folder = tmp_path / "copy"
    shutil.copytree(judged, folder)
    small = "replicas=4"
    for arguments in (
        ["reproduce", "bare", "judged"],
        ["ensembles", "bare", "judged", *small],
        ["report", "--judge"],
    ):
        done = run("mlpfit", *arguments, cwd=folder, MLPFIT_PATH=path)
        assert (done.returncode, done.stderr) == (0, "")
    page = (folder / "outputs/report.html").read_text()
    section = page.partition('<section id="bare">')[2].partition("</section>")[0]
    assert "mlpfit experiment=bare/ramp" in section and "How steep is &lt;this&gt;?" in section
    assert "published" not in re.sub('alt="[^"]*"|<figcaption>.*?</figcaption>', "", section)
    ledger = judging.read(folder / "outputs")
    (number,) = [n for n in ledger["numbers"] if n["tutorial"] == "judged"]
    assert number["beyond"] and number["percentile"] == 1 and number["replicas"] == 4
    (claim,) = [c for c in ledger["conclusions"] if c["tutorial"] == "judged"]
    assert claim["replicas"] == 4 and claim["where"] == "last line"
    section = page.partition('<section id="judged">')[2].partition("</section>")[0]
    assert "the loss falls" in section and "beyond all 4" in section
