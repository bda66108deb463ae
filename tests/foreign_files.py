"""Files as each library writes them, of the parameters of `formulas`."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

from sae_formulas import D, F, K


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def sae_lens(folder, cfg, tensors, dtype=torch.float32):
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: tensor(array).to(dtype) for name, array in tensors.items()}
    save_file(made, folder / "sae_weights.safetensors")
    facts = {
        "d_in": D,
        "d_sae": F,
        "dtype": str(dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.20.0", "model_name": "gpt2"},
    }
    (folder / "cfg.json").write_text(json.dumps(facts | cfg))
    return folder


def sae_lens_tensors(p, kind="standard"):
    tensors = {
        "W_enc": p["encoder"],
        "W_dec": p["decoder"],
        "b_dec": p["decoder_bias"],
    }
    if kind == "gated":
        biases = {"b_gate": "gate_bias", "r_mag": "log_gain", "b_mag": "encoder_bias"}
        return tensors | {name: p[source] for name, source in biases.items()}
    tensors["b_enc"] = p["encoder_bias"]
    if kind == "jumprelu":
        tensors["threshold"] = p["threshold"]
    return tensors


def dictionary_learning(folder, dict_class, p, threshold=0.4, **trainer):
    """Write what the classes' `state_dict` holds, with config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    linear = {"encoder.weight": p["encoder"].T, "decoder.weight": p["decoder"].T}
    plain = {
        "W_enc": p["encoder"],
        "b_enc": p["encoder_bias"],
        "W_dec": p["decoder"],
        "b_dec": p["decoder_bias"],
    }
    biased = linear | {"encoder.bias": p["encoder_bias"]}
    states = {
        "AutoEncoder": biased | {"bias": p["decoder_bias"]},
        "AutoEncoderNew": biased | {"decoder.bias": p["decoder_bias"]},
        "GatedAutoEncoder": linear
        | {
            "decoder_bias": p["decoder_bias"],
            "r_mag": p["log_gain"],
            "gate_bias": p["gate_bias"],
            "mag_bias": p["encoder_bias"],
        },
        "AutoEncoderTopK": biased | {"b_dec": p["decoder_bias"]},
        "BatchTopKSAE": biased | {"b_dec": p["decoder_bias"]},
        "MatryoshkaBatchTopKSAE": plain,
        "JumpReluAutoEncoder": plain | {"threshold": p["threshold"]},
    }
    state = {name: tensor(array) for name, array in states[dict_class].items()}
    if "TopK" in dict_class:
        state["k"] = torch.tensor(K, dtype=torch.int)
        state["threshold"] = torch.tensor(threshold)
    if "Matryoshka" in dict_class:
        state["group_sizes"] = torch.tensor([2, F - 2])
    torch.save(state, folder / "ae.pt")
    facts = {"dict_class": dict_class, "activation_dim": D, "dict_size": F} | trainer
    (folder / "config.json").write_text(json.dumps({"trainer": facts}))
    return folder


def sparsify(folder, p, skip=None, **cfg):
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "encoder.weight": tensor(p["encoder"].T),
        "encoder.bias": tensor(p["encoder_bias"]),
        "W_dec": tensor(p["decoder"]),
        "b_dec": tensor(p["decoder_bias"]),
    }
    if skip is not None:
        state["W_skip"] = tensor(skip)
    save_file(state, folder / "sae.safetensors")
    facts = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": F,
        "k": K,
        "multi_topk": False,
        "skip_connection": skip is not None,
        "transcode": False,
        "d_in": D,
    }
    (folder / "cfg.json").write_text(json.dumps(facts | cfg))
    return folder


def hypothesaes(file, p, threshold=0.0, **config):
    state = {
        "input_bias": tensor(p["decoder_bias"]),
        "neuron_bias": tensor(p["encoder_bias"]),
        "threshold": torch.tensor(threshold),
        "encoder.weight": tensor(p["encoder"].T),
        "decoder.weight": tensor(p["decoder"].T),
    }
    facts = {
        "input_dim": D,
        "m_total_neurons": F,
        "k_active_neurons": K,
        "aux_k": None,
        "multi_k": None,
        "dead_neuron_threshold_steps": 256,
        "prefix_lengths": None,
    }
    torch.save({"config": facts | config, "state_dict": state}, file)
    return file


def openai(file, p, activation="TopK", **options):
    state = {
        "pre_bias": tensor(p["decoder_bias"]),
        "latent_bias": tensor(p["encoder_bias"]),
        "stats_last_nonzero": torch.zeros(F, dtype=torch.int64),
        "encoder.weight": tensor(p["encoder"].T),
        "decoder.weight": tensor(p["decoder"].T),
        "activation": activation,
    }
    if activation == "TopK":
        state["activation_state_dict"] = {"k": K, "postact_fn": "ReLU"} | options
    torch.save(state, file)
    return file


def gemma_scope(folder, p, **more):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "W_enc": p["encoder"],
        "W_dec": p["decoder"],
        "b_enc": p["encoder_bias"],
        "b_dec": p["decoder_bias"],
        "threshold": p["threshold"],
    }
    np.savez(folder / "params.npz", **arrays, **more)
    return folder


def llama_scope(folder, p, norms=(2.0, 4.0), threshold=0.3, **more):
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    state = {
        "encoder.weight": tensor(p["encoder"].T).bfloat16(),
        "encoder.bias": tensor(p["encoder_bias"]).bfloat16(),
        "decoder.weight": tensor(p["decoder"].T).bfloat16(),
        "decoder.bias": tensor(p["decoder_bias"]).bfloat16(),
    }
    save_file(state, folder / "checkpoints" / "final.safetensors")
    facts = {
        "hook_point_in": "blocks.0.hook_resid_post",
        "hook_point_out": "blocks.0.hook_resid_post",
        "act_fn": "jumprelu",
        "jump_relu_threshold": threshold,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": dict(zip(("in", "out"), norms, strict=True)),
        "d_model": D,
        "d_sae": F,
        "use_glu_encoder": False,
        "apply_decoder_bias_to_pre_encoder": False,
        "sparsity_include_decoder_norm": False,
    }
    (folder / "hyperparams.json").write_text(json.dumps(facts | more))
    return folder
