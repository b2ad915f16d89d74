"""What a command imports, in a process of its own."""

import subprocess
import sys

SLOW = ("torch._dynamo", "matplotlib", "scipy.signal", "sympy", "hydra")


def run(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_training_imports_nothing_that_it_does_not_use():
    program = f"""
import sys, torch, mlpfit.training.run
optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
optimizer.load_state_dict(optimizer.state_dict())
print([name for name in {SLOW} if name in sys.modules])
"""
    assert run(program) == "[]"


def test_a_module_that_is_compiled_later_is_known_as_compiled_and_trains():
    program = """
import torch, mlpfit
from mlpfit.model.regression import Regression
from lightning.fabric.wrappers import OptimizedModule
from lightning.pytorch import Trainer
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
    assert run(program) == "True"
