# %% [markdown]
# # A corpus through its features
#
# A notebook in the percent format: open it in VS Code, or in Jupyter with jupytext. It runs in a
# minute on the dictionary entries that come with nanoSAE.

# %%
import numpy as np
import pandas as pd

import nanosae
from nanosae.demo import load

vectors, texts, kinds = load()
table = pd.DataFrame({"text": texts, "kind": kinds})
table["length"] = table["text"].str.len()

# %% [markdown]
# ## Train, name, compare
#
# The vectors are there already, so that no embedder is needed. `run` does the rest; without an
# output folder nothing is left on disk.

# %%
config = nanosae.TrainConfig(hidden_size=512, k=8, steps=300)
found = nanosae.run(table, vectors=vectors, config=config, progress=False, target=[])

# %%
found.findings["sentence"].head(5).tolist()

# %% [markdown]
# ## The clearest features

# %%
columns = ["feature", "label", "label_auc", "density"]
clear = found.features.query("label_n >= 20").nlargest(8, "label_auc")[columns]
print(clear.to_string(index=False))

# %%
found.card(int(clear["feature"].iloc[0]))

# %% [markdown]
# ## Search by meaning, and with a feature turned off

# %%
row = next(i for i, text in enumerate(texts) if " tree " in text)
query = vectors[row]
print(texts[row])
hits = nanosae.search(found.codes, query.astype(np.float32), n=3)
print(hits)

strongest = int(hits.features[0].feature)
print(nanosae.search(found.codes, query.astype(np.float32), edit={strongest: 0}, n=3))

# %% [markdown]
# ## Two groups, and a number

# %%
animals = nanosae.contrast(found.codes, "noun.animal", "noun.plant", by="kind")
for sentence in animals.sentences(3):
    print(sentence)

# %%
lengths = nanosae.explain(found.codes, "length", covariates=())
for sentence in lengths.sentences(3):
    print(sentence)

# %% [markdown]
# ## What the features are worth
#
# Beside the dense vectors, PCA, k-means and a random decoder.

# %%
measured = nanosae.evaluate(found.codes, "kind", ks=(1, 5), max_rows=3000)
print(measured.wide().round(3))
