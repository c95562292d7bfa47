"""Reads an ONNX classifier and prepares it for cutting.

Constants are folded, shapes are inferred, and the network is changed to take any number of rows.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ..padding import mergeable
from .errors import CutError

OLDEST_OPSET = 7  # the oldest opset that ONNX Runtime supports
STANDARD = ("", "ai.onnx", "ai.onnx.ml")


@dataclass(frozen=True)
class Original:
    """The user's model, with the names of its image input and of the output with the scores."""

    path: Path
    model: onnx.ModelProto
    image: str
    output: str
    image_shape: tuple[int | None, ...]  # without the batch; None for an axis that is not fixed
    batch: int | None  # the fixed batch of the export, or None

    @property
    def kind(self) -> int:
        """The element type of the image: FLOAT or UINT8."""
        return next(entry.type.tensor_type.elem_type for entry in self.model.graph.input if entry.name == self.image)

    @property
    def opset(self) -> int:
        return opset(self.model)


@dataclass(frozen=True)
class Network:
    """A model prepared for cutting. Its nodes take any number of rows; `shapes` are those for `batch` rows."""

    model: onnx.ModelProto
    nodes: Sequence[NodeProto]  # the nodes between image and output, each after the nodes that it reads
    image: str
    output: str
    batch: int
    shapes: dict[str, tuple[int, ...]]
    floats: frozenset[str]  # float32 values
    carrying: frozenset[str]  # values that depend on the image

    @property
    def kind(self) -> int:
        """The element type of the image: FLOAT or UINT8."""
        return next(entry.type.tensor_type.elem_type for entry in self.model.graph.input if entry.name == self.image)


def opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def read(path: Path, output: str | None = None) -> Original:
    try:
        model = onnx.load(str(path))
    except FileNotFoundError:
        raise CutError(f"{path} does not exist") from None
    except Exception as error:  # the error classes of protobuf differ between its releases
        raise CutError(f"{path} is not an ONNX model: {error}") from error
    if opset(model) < OLDEST_OPSET:
        model = newer(model)
    initialised = {entry.name for entry in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in initialised]
    if len(inputs) != 1:
        raise CutError(f"the model has {len(inputs)} inputs ({names(inputs)}); it must have one, the image")
    image = inputs[0]
    if image.type.tensor_type.elem_type not in (TensorProto.FLOAT, TensorProto.UINT8):
        kind = TensorProto.DataType.Name(image.type.tensor_type.elem_type)
        raise CutError(f"input {image.name} is {kind}; it must be FLOAT or UINT8 (converters have an option to keep inputs and outputs as FLOAT)")
    shape = declared(image)
    if len(shape) != 4:
        raise CutError(f"input {image.name} has {len(shape)} axes; it must have 4, N,C,H,W or N,H,W,C")
    return Original(path, model, image.name, chosen_output(model, output), shape[1:], shape[0])


def newer(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, 13)
    except Exception as error:
        raise CutError(
            f"the model has opset {opset(model)}, older than {OLDEST_OPSET}, and cannot be converted ({error}): export it with a newer opset"
        ) from error


def names(values: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values)


def declared(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim)


def chosen_output(model: onnx.ModelProto, wanted: str | None) -> str:
    outputs = [output.name for output in model.graph.output]
    if wanted is None and len(outputs) == 1:
        return outputs[0]
    if wanted is None:
        raise CutError(f"the model has {len(outputs)} outputs ({', '.join(outputs)}): name the one with the scores with --output")
    if wanted not in outputs:
        raise CutError(f"the model has no output {wanted}; its outputs are {', '.join(outputs)}")
    return wanted


def prepare(original: Original, image_shape: Sequence[int], simplify: bool = True) -> Network:
    """Prepares a model for cutting. `image_shape` is the shape of one image, in the model's layout."""
    batch = original.batch or 1
    model = fixed(original, (batch, *image_shape))
    if simplify:
        model = simplified(model)
    shapes, floats = infer(model, original.output)
    carrying = reached(model, original.image)
    if original.output not in carrying:
        raise CutError(f"output {original.output} does not depend on input {original.image}")
    free_batch(model, carrying, shapes, batch)
    nodes = between(model, carrying, original.output)
    return Network(model, nodes, original.image, original.output, batch, shapes, floats, carrying)


def fixed(original: Original, shape: Sequence[int]) -> onnx.ModelProto:
    """Returns a copy for images of the given shape, without documentation and metadata.

    With a fixed input shape, all other shapes are constants. The removed texts may contain file names
    of the export.
    """
    model = onnx.ModelProto()
    model.CopyFrom(original.model)
    graph = model.graph
    mergeable(graph)
    output = next(entry for entry in original.model.graph.output if entry.name == original.output)
    del graph.value_info[:], graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(original.image, original.kind, list(shape)))
    graph.output.append(helper.make_tensor_value_info(original.output, output.type.tensor_type.elem_type, None))
    model.ir_version = max(model.ir_version, 4)  # before version 4, initialisers must also be inputs
    model.doc_string = graph.doc_string = ""
    del model.metadata_props[:]
    return model


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Applies ONNX Runtime's basic optimisation, which folds constants and batch norms.

    Returns the model unchanged if the result has operators that are neither standard nor in the model.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, str(source))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CutError(f"ONNX Runtime cannot load the model: {error}") from error
        result = onnx.load(str(target))
    foreign = {node.domain for node in result.graph.node} - {node.domain for node in model.graph.node} - set(STANDARD)
    if foreign:
        return model
    used = {node.domain for node in result.graph.node} | {""}
    imports = [entry for entry in result.opset_import if entry.domain in used]
    del result.opset_import[:]
    result.opset_import.extend(imports)
    for node in result.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    return result


def infer(model: onnx.ModelProto, output: str) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Returns the known shapes of values, and the names of float32 values."""
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes, floats = {}, set()
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        shape = declared(value)
        if value.type.tensor_type.HasField("shape") and None not in shape:
            shapes[value.name] = tuple(size for size in shape if size is not None)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            floats.add(value.name)
    for entry in model.graph.initializer:
        shapes[entry.name] = tuple(entry.dims)
    if output not in shapes:
        raise CutError("the shape of the output cannot be inferred: export the model with fixed height and width")
    return shapes, frozenset(floats)


def reads(node: NodeProto) -> Iterator[str]:
    """Yields the names that a node reads, including those in bodies of loops and branches."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                yield from reads(inner)


def reached(model: onnx.ModelProto, image: str) -> frozenset[str]:
    found = {image}
    for node in model.graph.node:
        if any(name in found for name in reads(node)):
            found.update(name for name in node.output if name)
    return frozenset(found)


def between(model: onnx.ModelProto, carrying: frozenset[str], output: str) -> list[NodeProto]:
    """Returns the nodes on paths from the image to the output."""
    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if any(name in needed for name in node.output):
            needed.update(reads(node))
            if any(name in carrying for name in node.output):
                kept.append(node)
    return kept[::-1]


def free_batch(model: onnx.ModelProto, carrying: frozenset[str], shapes: dict[str, tuple[int, ...]], batch: int) -> None:
    """Replaces constants that contain the batch size, so that nodes take any number of rows.

    The first axis of a reshape becomes -1, which is derived from the other axes. This is correct if
    the rows are the first axis. Otherwise the comparison of the cut network with the whole one fails.
    """
    constants = {entry.name: entry for entry in model.graph.initializer}
    constants.update({node.output[0]: node.attribute[0].t for node in model.graph.node if is_tensor_constant(node)})
    for place, node in enumerate(model.graph.node):
        if node.op_type not in ("Reshape", "Expand") or node.input[0] not in carrying or node.input[1] not in constants:
            continue
        shape = shapes.get(node.output[0])
        if not shape:
            continue
        if node.op_type == "Reshape":
            wanted = [-1, *shape[1:]]
        else:
            wanted = numpy_helper.to_array(constants[node.input[1]]).tolist()
            wanted = [1, *wanted[1:]] if len(wanted) == len(shape) and wanted[0] == batch else wanted
        name = f"{node.output[0]}_any_rows_{place}"
        model.graph.initializer.append(numpy_helper.from_array(np.array(wanted, dtype=np.int64), name))
        node.input[1] = name


def is_tensor_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value"
