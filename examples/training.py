# %% [markdown]
# # Training, step by step
#
# A notebook in the percent format: open it in VS Code, or in Jupyter with jupytext. It runs in a
# minute.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch

from nanosae import SAEModel, SAETrainer, TrainConfig, grid, plot, stability
from nanosae.demo import load

rows = load()[0].astype(np.float32)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## One SAE
#
# `k` is the mean number of active features per row. What is left open follows from the data.

# %%
config = TrainConfig(hidden_size=512, k=8, steps=300)
trainer = SAETrainer(config, run=folder / "run")
model = trainer.train(rows, progress=False)
print(model)
print({name: round(trainer.metrics_[name], 3) for name in ("fvu", "l0", "dead")})

# %%
plot.training(folder / "run")

# %% [markdown]
# ## The same activation by other rules

# %%
for activation in ("topk", "jumprelu", "gated"):
    config = TrainConfig(hidden_size=512, k=8, steps=300, activation=activation)
    trainer = SAETrainer(config)
    trainer.train(rows, progress=False)
    measured = trainer.metrics_
    print(f"{activation:10} FVU {measured['fvu']:.3f}  L0 {measured['l0']:.1f}")

# %% [markdown]
# ## Do two seeds find the same features?
#
# The mean cosine with the one-to-one partner, per feature: some are found again, some are not.

# %%
configs = grid(TrainConfig(hidden_size=512, k=8, steps=300), seed=[1, 2])
others = [SAETrainer(config).train(rows, progress=False) for config in configs]
print(np.quantile(stability(model, others), [0.1, 0.5, 0.9]).round(2))

# %% [markdown]
# ## Save, load, use
#
# `torch.load` reads it with its safe default; the run folder's model opens in SAELens, too.

# %%
torch.save(model, folder / "sae.pt")
again = torch.load(folder / "sae.pt")
features = again.features(rows[:100])
assert (features != SAEModel.load(folder / "run").features(rows[:100])).nnz == 0
print(features.shape, f"{features.nnz / 100:.1f} active per row")
