"""What a command imports, in a process of its own."""

import subprocess
import sys

from conftest import run

SLOW = ("torch._dynamo", "matplotlib", "scipy.signal", "scipy.stats", "sympy", "hydra")


def test_training_imports_nothing_that_it_does_not_use():
    program = f"""
import sys, torch, mlpfit.training.run
from mlpfit.judging.statistics import median_interval
assert median_interval(torch.arange(3.0).numpy()) == (0.0, 2.0)  # as the summary of a sweep does
parameter = torch.nn.Parameter(torch.zeros(1))
optimizer = torch.optim.Adam([parameter])
optimizer.load_state_dict(optimizer.state_dict())
optimizer.zero_grad()
parameter.grad = torch.ones(1)
optimizer.step()
assert -0.0011 < parameter.item() < -0.0009 and torch.is_grad_enabled()
print([name for name in {SLOW} if name in sys.modules])
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_module_that_is_compiled_later_is_known_as_compiled_and_trains(tmp_path):
    program = """
import sys, warnings
import torch
from mlpfit.model.regression import Regression
from lightning.fabric.wrappers import OptimizedModule
from lightning.pytorch import Trainer
assert "torch._dynamo" not in sys.modules
warnings.simplefilter("ignore")
torch.manual_seed(0)
rows = torch.utils.data.TensorDataset(torch.rand(20, 1), torch.rand(20, 1))
rows = torch.utils.data.DataLoader(rows, batch_size=20)
losses = []
for compiled in (False, True):
    module = Regression([1, 4, 1], {"name": "adam", "lr": 0.01})
    assert not isinstance(module, OptimizedModule)
    given = torch.compile(module, backend="eager") if compiled else module
    assert isinstance(given, OptimizedModule) == compiled
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    Trainer(max_steps=5, accelerator="cpu", **dict.fromkeys(off, False)).fit(given, rows)
    losses.append(module.replica_losses.item())
print(losses[0] == losses[1])
"""
    (tmp_path / "program.py").write_text(program)
    done = run("program", cwd=tmp_path)
    assert done.stdout == "True\n", done.stderr
