"""An SAE as an ONNX model: rows in, activations and reconstruction out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nanosae.atomic import write_bytes
from nanosae.errors import DataError, DataTypeError
from nanosae.extras import extra
from nanosae.model.architectures import (
    ROW_EPSILON,
    rule,
    standardises_rows,
    subtracts_bias,
)
from nanosae.model.weights import Weights

OPSET = 18
IR = 10  # version of the file format
LARGEST = 2**31  # bytes in a file


def to_onnx(model: Weights, path: str | Path) -> None:
    """Write an SAE for ONNX runtimes.

    The graph takes `rows`, (n, input_size) float32, and returns dense `activations`, (n,
    hidden_size), and `reconstruction`, (n, output_size). Of equal pre-activations, top-k keeps the
    lower latents.

    Args:
        model: The SAE, `Weights.load(run)`.
        path: The .onnx file.

    Raises:
        DataTypeError: If `model` is no `Weights`.
        DataError: If the tensors do not fit into a file of 2 GB, the limit of the format.
        ExtraError: If onnx is not installed.
    """
    if not isinstance(model, Weights):
        raise DataTypeError(
            f"to_onnx takes Weights, not {type(model).__name__}.",
            remedy="Give Weights.load(folder), with the folder of the run or of the saved model.",
        )
    onnx = extra("onnx", "onnx", "ONNX")
    graph = _Graph(onnx)
    tensors = model.tensors()
    n_bytes = sum(array.nbytes for array in tensors.values())
    if n_bytes >= LARGEST:
        raise DataError(
            f"the tensors take {n_bytes / 1e9:.1f} GB, but an ONNX file holds at most 2 GB.",
            remedy="Save the model as safetensors, with SAEModel.save, instead.",
        )
    for name, array in tensors.items():
        graph.constant(name, array)
    rows, mean, deviation = "rows", "", ""
    if standardises_rows(model.cfg):
        rows, mean, deviation = _standardised(graph, model.input_size)
    if subtracts_bias(model.cfg):
        rows = graph.node("Sub", rows, "b_dec")
    projected = graph.node("MatMul", rows, "W_enc")
    activations = _activations(graph, model, projected)
    graph.node("Identity", activations, out="activations")
    decoded = graph.node("MatMul", "activations", "W_dec")
    recon = graph.node("Add", decoded, "b_dec")
    if deviation and not model.is_transcoder:
        scaled = graph.node("Mul", recon, deviation)
        recon = graph.node("Add", scaled, mean)
    if "W_skip" in tensors:
        transposed = graph.node("Transpose", "W_skip")
        skip = graph.node("MatMul", "rows", transposed)
        recon = graph.node("Add", recon, skip)
    graph.node("Identity", recon, out="reconstruction")
    output_size = model.W_dec.shape[1]
    made = graph.model(model.input_size, model.hidden_size, output_size)
    onnx.checker.check_model(made)
    write_bytes(path, made.SerializeToString())


def _activations(graph: _Graph, model: Weights, projected: str) -> str:
    """Add the nodes of the activation function; return the name of its output."""
    kind = rule(model.cfg["architecture"])
    if kind == "gated":
        gain = graph.node("Exp", "r_mag")
        scaled = graph.node("Mul", projected, gain)
        magnitude = graph.node("Add", scaled, "b_mag")
        gate = graph.node("Add", projected, "b_gate")
        zero = graph.constant("zero", np.float32(0))
        is_open = graph.node("Greater", gate, zero)
        positive = graph.node("Relu", magnitude)
        return graph.node("Where", is_open, positive, zero)
    pre_acts = graph.node("Add", projected, "b_enc")
    if kind == "jumprelu":
        is_kept = graph.node("Greater", pre_acts, "threshold")
        zero = graph.constant("zero", np.float32(0))
        positive = graph.node("Relu", pre_acts)
        return graph.node("Where", is_kept, positive, zero)
    if kind == "topk":
        k = min(model.cfg["k"], model.hidden_size)
        size = graph.integer("k", k)
        values, places = graph.nodes("TopK", pre_acts, size, n_outputs=2, axis=1)
        shape = graph.node("Shape", pre_acts)
        nothing = graph.node("ConstantOfShape", shape)
        kept = graph.node("Relu", values)
        return graph.node("ScatterElements", nothing, places, kept, axis=1)
    return graph.node("Relu", pre_acts)


def _standardised(graph: _Graph, width: int) -> tuple[str, str, str]:
    """Add nodes that standardise rows; return the names of rows, means and deviations."""
    last = graph.integer("last", -1)
    mean = graph.node("ReduceMean", "rows", last)
    centred = graph.node("Sub", "rows", mean)
    squares = graph.node("Mul", centred, centred)
    sum_of_squares = graph.node("ReduceSum", squares, last)
    freedom = graph.constant("freedom", np.float32(width - 1))
    variance = graph.node("Div", sum_of_squares, freedom)
    deviation = graph.node("Sqrt", variance)
    epsilon = graph.constant("epsilon", np.float32(ROW_EPSILON))
    divisor = graph.node("Add", deviation, epsilon)
    rows = graph.node("Div", centred, divisor)
    return rows, mean, deviation


class _Graph:
    """Collects the nodes and constants of a graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        if array.ndim:
            array = np.ascontiguousarray(array)
        tensor = self._onnx.numpy_helper.from_array(array, name)
        self._constants.append(tensor)
        return name

    def integer(self, name: str, value: int) -> str:
        """Add a vector of one integer, as ONNX expects for sizes and axes."""
        array = np.array([value], np.int64)
        return self.constant(name, array)

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
        helper = self._onnx.helper
        rows = self._matrix("rows", input_size)
        activations = self._matrix("activations", hidden_size)
        reconstruction = self._matrix("reconstruction", output_size)
        graph = helper.make_graph(
            self._nodes,
            "sae",
            inputs=[rows],
            outputs=[activations, reconstruction],
            initializer=self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)

    def _matrix(self, name: str, width: int) -> Any:
        """Describe an input or output with any number of rows."""
        floats = self._onnx.TensorProto.FLOAT
        return self._onnx.helper.make_tensor_value_info(name, floats, ["n", width])
