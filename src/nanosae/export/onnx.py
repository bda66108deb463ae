"""The encoder of an SAE as an ONNX model: rows in, activations and reconstruction out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nanosae.atomic import write_file
from nanosae.extras import extra
from nanosae.model.architectures import ROW_EPSILON, rule
from nanosae.model.weights import Weights

OPSET = 18
IR = 10  # version of the file format


def to_onnx(model: Weights, path: str | Path) -> None:
    """Write an SAE for ONNX runtimes.

    The graph takes `rows` (n, input_size) float32 and gives `activations` (n, hidden_size), dense,
    and `reconstruction` (n, output_size). Of equal pre-activations, top-k keeps the lower latents.

    Args:
        model: The SAE, `Weights.load(run)`.
        path: The .onnx file; above 2 GB the format holds no weights.

    Raises:
        ExtraError: Without onnx.
    """
    onnx = extra("onnx", "onnx", "ONNX")
    graph = _Graph(onnx)
    tensors = model.tensors()
    for name, array in tensors.items():
        graph.constant(name, array)
    rows, mean, deviation = "rows", "", ""
    if model.cfg.get("normalize_activations", "none") == "layer_norm":
        rows, mean, deviation = _standardised(graph, model.input_size)
    if model.cfg.get("apply_b_dec_to_input", True):
        rows = graph.node("Sub", rows, "b_dec")
    projected = graph.node("MatMul", rows, "W_enc")
    graph.node("Identity", _activations(graph, model, projected), out="activations")
    recon = graph.node("Add", graph.node("MatMul", "activations", "W_dec"), "b_dec")
    if deviation:
        recon = graph.node("Add", graph.node("Mul", recon, deviation), mean)
    if "W_skip" in tensors:
        skip = graph.node("MatMul", "rows", graph.node("Transpose", "W_skip"))
        recon = graph.node("Add", recon, skip)
    graph.node("Identity", recon, out="reconstruction")
    widths = (model.input_size, model.hidden_size, model.W_dec.shape[1])
    made = graph.model(*widths)
    onnx.checker.check_model(made)
    content = made.SerializeToString()
    write_file(Path(path), lambda stream: stream.write(content))


def _activations(graph: _Graph, model: Weights, projected: str) -> str:
    """Add the rule that keeps entries; return the name of its result."""
    kind = rule(model.cfg["architecture"])
    if kind == "gated":
        gain = graph.node("Exp", "r_mag")
        magnitude = graph.node("Add", graph.node("Mul", projected, gain), "b_mag")
        gate = graph.node("Add", projected, "b_gate")
        zero = graph.constant("zero", np.float32(0))
        is_open = graph.node("Greater", gate, zero)
        return graph.node("Where", is_open, graph.node("Relu", magnitude), zero)
    pre_acts = graph.node("Add", projected, "b_enc")
    if kind == "jumprelu":
        is_kept = graph.node("Greater", pre_acts, "threshold")
        zero = graph.constant("zero", np.float32(0))
        return graph.node("Where", is_kept, graph.node("Relu", pre_acts), zero)
    if kind == "topk":
        k = min(model.cfg["k"], model.hidden_size)
        size = graph.constant("k", np.array([k], np.int64))
        values, places = graph.nodes("TopK", pre_acts, size, n_outputs=2, axis=1)
        nothing = graph.node("ConstantOfShape", graph.node("Shape", pre_acts))
        kept = graph.node("Relu", values)
        return graph.node("ScatterElements", nothing, places, kept, axis=1)
    return graph.node("Relu", pre_acts)


def _standardised(graph: _Graph, width: int) -> tuple[str, str, str]:
    """Add what standardises rows; return the names of rows, means and deviations."""
    last = graph.constant("last", np.array([-1], np.int64))
    mean = graph.node("ReduceMean", "rows", last)
    centred = graph.node("Sub", "rows", mean)
    squares = graph.node("ReduceSum", graph.node("Mul", centred, centred), last)
    freedom = graph.constant("freedom", np.float32(width - 1))
    variance = graph.node("Div", squares, freedom)
    epsilon = graph.constant("epsilon", np.float32(ROW_EPSILON))
    deviation = graph.node("Add", graph.node("Sqrt", variance), epsilon)
    return graph.node("Div", centred, deviation), mean, deviation


class _Graph:
    """Collects the nodes and constants of a graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, out: str = "", **options: Any) -> str:
        (name,) = self.nodes(kind, *inputs, out=out, **options)
        return name

    def nodes(
        self,
        kind: str,
        *inputs: str,
        n_outputs: int = 1,
        out: str = "",
        **options: Any,
    ) -> list[str]:
        """Add a node; return the names of its outputs."""
        number = len(self._nodes)
        names = [f"{kind}_{number}_{i}" for i in range(n_outputs)]
        if out:
            names = [out]
        made = self._onnx.helper.make_node(kind, list(inputs), names, **options)
        self._nodes.append(made)
        return names

    def model(self, input_size: int, hidden_size: int, output_size: int) -> Any:
        helper, floats = self._onnx.helper, self._onnx.TensorProto.FLOAT
        taken = [helper.make_tensor_value_info("rows", floats, ["n", input_size])]
        given = [
            helper.make_tensor_value_info("activations", floats, ["n", hidden_size]),
            helper.make_tensor_value_info("reconstruction", floats, ["n", output_size]),
        ]
        graph = helper.make_graph(
            self._nodes, "sae", taken, given, initializer=self._constants
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)
