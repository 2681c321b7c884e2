"""Write a part of a model as an ONNX file, and compare what onnxruntime makes of it with PyTorch."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from acdc_medsam.onnx_export.parts import AxisNames, Part


def write_part(part: Part, path: Path, opset: int, facts: Mapping[str, str]) -> None:
    """Write a part of a model.

    Args:
        part: The part.
        path: The output; weights of more than 2 GB go to a file beside it, whose name ends in ``.data``.
        opset: Version of ONNX's operators.
        facts: Key -> value of the file's metadata, to which those of the part are added.
    """
    import onnx

    record_graph(part, opset).save(str(path))
    graph = onnx.load(str(path), load_external_data=False)
    remove_traces(graph)
    name_axes(graph, part.axes)
    # The lowest version that has these operators, so that older onnxruntimes read the file.
    graph.ir_version = onnx.helper.find_min_ir_version_for(graph.opset_import)
    graph.producer_name = facts["software"]
    onnx.helper.set_model_props(graph, {**facts, **part.facts})

    onnx.save(graph, str(path))
    onnx.checker.check_model(str(path))


def record_graph(part: Part, opset: int) -> Any:
    """Record the computation of a part as a graph of ONNX's operators, and return PyTorch's ``ONNXProgram``."""
    examples = dict(part.inputs)
    dynamic: list[dict[int, Any] | None] = []
    named = {name: torch.export.Dim(name, min=1) for axes in part.axes.values() for name in axes.values()}
    for name, example in part.inputs.items():
        axes = part.axes.get(name, {})
        for axis in axes:
            # PyTorch would take an axis of length 1 for a constant.
            examples[name] = torch.cat([examples[name], example], axis)
        dynamic.append({axis: named[word] for axis, word in axes.items()} or None)

    with warnings.catch_warnings(), torch.no_grad():
        # They are about PyTorch's own code and about two inputs that share an axis.
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            part.graph,
            tuple(examples.values()),
            dynamo=True,
            opset_version=opset,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_shapes=tuple(dynamic),
            verbose=False,
        )


def remove_traces(graph: Any) -> None:
    """Remove what the exporter notes of each node: the code that it comes from, with paths of this machine."""
    for item in (graph, graph.graph, *graph.graph.node, *graph.graph.input, *graph.graph.output):
        del item.metadata_props[:]
    for item in graph.graph.initializer:
        del item.metadata_props[:]
    del graph.graph.value_info[:]


def name_axes(graph: Any, axes: AxisNames) -> None:
    """Give the axes of inputs and outputs the names of the part instead of the exporter's."""
    for value in (*graph.graph.input, *graph.graph.output):
        for axis, name in axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name


def measure_differences(part: Part, path: Path) -> dict[str, float]:
    """Compute a part of a model by PyTorch and by onnxruntime, on the examples of the part.

    Args:
        part: The part.
        path: The file that was written of it.

    Returns:
        Output -> largest absolute difference; for labels, the share of pixels that differ.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {name: example.numpy() for name, example in part.inputs.items()}
    found = session.run(list(part.outputs), inputs)

    with torch.inference_mode():
        computed = part.graph(*part.inputs.values())
    expected = (computed,) if isinstance(computed, Tensor) else cast(tuple[Tensor, ...], computed)
    return {
        name: _difference(one, other.numpy()) for name, one, other in zip(part.outputs, found, expected, strict=True)
    }


def _difference(one: Any, other: Any) -> float:
    if one.dtype == np.uint8:
        return float((one != other).mean())
    return float(np.abs(one - other).max())
