"""A folder that somebody else made is data: reading it runs nothing that it holds."""

import ast
import contextlib
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import nanosae
from nanosae import Codes, SAEModel, SAETrainer, TrainConfig
from nanosae.errors import NanoSAEError
from nanosae.runs.checkpoints import checkpoints, read_checkpoint
from nanosae.runs.tables import load_features
from nanosae.view.history import training_state

SOURCES = sorted(Path(nanosae.__file__).parent.rglob("*.py"))
CALLS_THAT_RUN_CODE = {"eval", "exec", "__import__", "system", "popen"}
MODULES_THAT_RUN_CODE = {
    "pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
}
STARTS_PROCESSES = {"run", "Popen", "call", "check_call", "check_output"}
SETTINGS = {
    "allow_pickle": {False},
    "weights_only": {True},
    "trust_remote_code": {False},
    "shell": {False},
}


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, flag):
        self.flag = str(flag)

    def __reduce__(self):
        return (exec, (f"open({self.flag!r}, 'w').close()",))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("received") / "run"
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 8)).astype(np.float32)
    table = pd.DataFrame({"text": [f"text {i}" for i in range(200)]})
    config = TrainConfig(hidden_size=16, k=3, steps=20)
    model = SAETrainer(config, run=folder).train(rows, progress=False)
    model.encode_corpus(rows, folder / "codes" / "default", metadata=table)
    return folder


def read_everything(run):
    """Call every reader of a run folder; what is damaged may be refused."""
    readers = [
        lambda: SAEModel.load(run),
        lambda: Codes.open(run).features(range(16)),
        lambda: [block for _, block in Codes.open(run).shards()],
        lambda: Codes.open(run).vectors([0]),
        lambda: load_features(run),
        lambda: training_state(run),
        lambda: [read_checkpoint(path.parent) for path in run.rglob("state.json")],
        lambda: checkpoints(run),
        lambda: nanosae.open(run).codes.texts(),
    ]
    for read in readers:
        with contextlib.suppress(NanoSAEError):
            read()


def poisoned(path, payload):
    """Replace a file by one that holds a pickle, in the way of its kind."""
    if path.suffix == ".npz":
        np.savez(path, positions=np.array([payload], dtype=object))
    elif path.suffix == ".npy":
        np.save(path, np.array([payload], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(payload))


@pytest.mark.slow
def test_a_pickle_in_place_of_any_file_of_a_run_is_not_unpickled(run, tmp_path):
    flag = tmp_path / "flag"
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) >= 15
    for path in files:
        content = path.read_bytes()
        poisoned(path, Payload(flag))
        read_everything(run)
        path.write_bytes(content)
        assert not flag.exists(), path


@pytest.mark.parametrize(
    "suffix", [".npy", ".npz", ".pt", ".safetensors", ".parquet", ".csv"]
)
def test_a_pickle_as_data_is_refused_and_not_unpickled(tmp_path, suffix):
    flag = tmp_path / "flag"
    poisoned(tmp_path / f"rows{suffix}", Payload(flag))
    with pytest.raises(NanoSAEError):
        SAETrainer(TrainConfig(steps=1)).train(tmp_path / f"rows{suffix}")
    assert not flag.exists()


def test_the_payload_would_run(tmp_path):
    flag = tmp_path / "flag"
    pickle.loads(pickle.dumps(Payload(flag)))
    assert flag.exists()
    torch.save(Payload(flag), tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pt", weights_only=True)


def ways_to_run_code(text):
    """Yield what in a source text could run code out of data."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & MODULES_THAT_RUN_CODE
        if isinstance(node, ast.ImportFrom) and node.module in MODULES_THAT_RUN_CODE:
            names = {alias.name for alias in node.names}
            yield from names - {"UnpicklingError"}
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            is_method_of_a_model = (
                isinstance(node.func, ast.Attribute) and name == "eval"
            )
            if name in CALLS_THAT_RUN_CODE and not is_method_of_a_model:
                yield name
            for keyword in node.keywords:
                if keyword.arg == "shell" and name not in STARTS_PROCESSES:
                    continue
                allowed = SETTINGS.get(keyword.arg or "")
                value = getattr(keyword.value, "value", "not a constant")
                if allowed is not None and value not in allowed:
                    yield f"{keyword.arg}={value}"


@pytest.mark.slow
def test_no_source_holds_a_way_to_run_code_out_of_data():
    for path in SOURCES:
        found = list(ways_to_run_code(path.read_text(encoding="utf-8")))
        assert found == [], path


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=trust)",
        "subprocess.run(words, shell=True)",
        "os.system(words)",
    ],
)
def test_a_way_to_run_code_would_be_found(text):
    assert len(list(ways_to_run_code(text))) == 1
