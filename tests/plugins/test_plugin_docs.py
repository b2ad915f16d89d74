"""What the pages of the plugins show is true."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields

import pytest
from conftest import ROOT

from hydra_plugins.optuna_sweeper import SAMPLERS, OptunaConf
from hydra_plugins.processes_launcher import ProcessesConf

PAGES = {
    "launcher": ("hydra.launcher", ProcessesConf, ["+x=1,2"]),
    "optuna": ("hydra.sweeper", OptunaConf, []),
}


def page(name):
    return (ROOT / f"docs/{name}.md").read_text()


def block(name, language):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page(name), re.M | re.S)
    (text,) = (text for kind, text in blocks if kind == language)
    return text


@pytest.mark.parametrize("name", PAGES)
def test_the_example_runs_as_it_is_shown(tmp_path, name):
    (tmp_path / "app.py").write_text(block(name, "python"))
    line = block(name, "").replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    assert len(list(tmp_path.glob("multirun/*/*/*/.hydra"))) == (3 if name == "launcher" else 6)


@pytest.mark.parametrize("name", PAGES)
def test_the_config_is_one(tmp_path, name):
    (tmp_path / "app.py").write_text(block(name, "python"))
    (tmp_path / "config.yaml").write_text(block(name, "yaml"))
    command = [sys.executable, "app.py", "-m", "--config-dir=.", "--config-name=config"]
    subprocess.run([*command, *PAGES[name][2]], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", PAGES)
def test_every_key_is_listed_with_its_default(name):
    prefix, conf, _ = PAGES[name]
    listed = dict(re.findall(rf"^\| `{prefix}\.(\w+)` \| (\S+) \|", page(name), re.M))
    written = {None: "null", False: "false"}
    defaults = {
        field.name: next((t for v, t in written.items() if field.default is v), str(field.default))
        for field in fields(conf)
        if not field.name.startswith("_") and field.name not in ("defaults", "sampler")
    }
    assert listed == defaults


def test_every_sampler_is_named():
    (row,) = re.findall(r"^\| `hydra/sweeper/sampler` .*$", page("optuna"), re.M)
    assert all(re.search(rf"\b{name}\b", row) for name in SAMPLERS)
