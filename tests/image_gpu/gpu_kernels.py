"""What proves in libmxnet.so that an operator has a GPU kernel, and a reader of the library's names.

MXNet compiles a template of each operator for `mshadow::gpu` where it is built for GPUs, so that its
instance is among the names of the library. Source of each name: src/operator of MXNet 1.9.1, at the operator's
FCompute<gpu>, FComputeEx<gpu> or FStatefulCompute<gpu>; operators of the older kind are made by CreateOp<gpu>.
"""

import mmap
import struct
import sys
from pathlib import Path

_GPU = "IN7mshadow3gpuE"


def function(name: str, *, of: str = "", functor: str = "", argument: str = "") -> str:
    """Return how the mangled name of mxnet::op::OF::NAME<mshadow::gpu, FUNCTOR or ARGUMENT> begins."""
    parts = "".join(f"{len(part)}{part}" for part in (of, name) if part)
    given = f"NS0_10mshadow_op{len(functor)}{functor}E" if functor else ""
    given += f"NS0_{len(argument)}{argument}E" if argument else ""
    return f"_ZN5mxnet2op{parts}{_GPU}{given}"


def older(parameters: str) -> str:
    """Return how the mangled name of an older operator's CreateOp<mshadow::gpu>(PARAMETERS ...) begins."""
    return f"_ZN5mxnet2op8CreateOp{_GPU}EEPNS_8OperatorENS0_{len(parameters)}{parameters}E"


# By the operator's name in a graph or in the profile of an update, what computes it; what the training needs backwards
# is the second one.
KERNELS: dict[str, tuple[str, ...]] = {
    "Activation": (function("ActivationCompute"), function("ActivationGradCompute")),
    "BatchNorm": (function("BatchNormCompute"), function("BatchNormGradCompute")),
    "BlockGrad": (function("IdentityCompute", of="UnaryOp"),),
    "Cast": (function("CastCompute"),),
    "Concat": (function("ConcatCompute"), function("ConcatGradCompute")),
    "Convolution": (function("ConvolutionCompute"), function("ConvolutionGradCompute")),
    "Flatten": (function("IdentityCompute", of="UnaryOp"),),
    "L2Normalization": (older("L2NormalizationParam"),),
    "MakeLoss": (older("MakeLossParam"),),
    "Pad": (older("PadParam"),),
    "Pooling": (function("PoolingCompute"), function("PoolingGradCompute")),
    "Reshape": (function("IdentityCompute", of="UnaryOp"),),
    "SoftmaxActivation": (function("SoftmaxActivationCompute"),),
    "SoftmaxOutput": (function("SoftmaxOutputCompute"), function("SoftmaxOutputGradCompute")),
    "_arange": (function("RangeCompute", argument="RangeParam"),),
    "_contrib_MultiBoxDetection": (older("MultiBoxDetectionParam"),),
    "_contrib_MultiBoxPrior": (older("MultiBoxPriorParam"),),
    "_contrib_MultiBoxTarget": (older("MultiBoxTargetParam"),),
    "_contrib_arange_like": (function("RangeCompute", argument="RangeLikeParam"),),
    "_contrib_box_decode": (function("BoxDecodeForward"),),
    "_contrib_box_nms": (function("BoxNMSForward"),),
    "_copy": (function("IdentityCompute", of="UnaryOp"),),
    "_greater_equal_scalar": (function("Compute", of="BinaryScalarOp", functor="ge"),),
    "_lesser_scalar": (function("Compute", of="BinaryScalarOp", functor="lt"),),
    "_mul_scalar": (function("Compute", of="BinaryScalarOp", functor="mul"),),
    "_not_equal_scalar": (function("Compute", of="BinaryScalarOp", functor="ne"),),
    "_plus_scalar": (function("Compute", of="BinaryScalarOp", functor="plus"),),
    "broadcast_like": (function("BroadcastCompute"),),
    "broadcast_mul": (function("BinaryBroadcastCompute", functor="mul"),),
    "clip": (function("Clip"),),
    "elemwise_add": (function("Compute", of="ElemwiseBinaryOp", functor="plus"),),
    "elemwise_mul": (function("Compute", of="ElemwiseBinaryOp", functor="mul"),),
    "elemwise_sub": (function("Compute", of="ElemwiseBinaryOp", functor="minus"),),
    "expand_dims": (function("IdentityCompute", of="UnaryOp"),),
    # No template: it asks the card whether all places are inside of the array.
    "gather_nd": ("_ZN5mxnet2op18GatherNDForwardGPUE",),
    "log": (function("Compute", of="UnaryOp", functor="log"),),
    "max": (function("ReduceAxesCompute") + "NS2_3red7maximumE",),
    "pick": (function("PickOpForward"),),
    "relu": (function("Compute", of="UnaryOp", functor="relu"),),
    "slice_axis": (function("SliceAxis"), function("SliceAxisGrad_")),
    "smooth_l1": (
        function("Compute", of="BinaryScalarOp", functor="smooth_l1_loss"),
        function("Backward", of="BinaryScalarOp", functor="smooth_l1_gradient"),
    ),
    "softmax": (function("SoftmaxCompute"),),
    "sum": (function("ReduceAxesCompute") + "NS2_3red3sumE",),
    "topk": (function("TopK"),),
    "transpose": (function("Transpose"),),
    "where": (function("WhereOpForward"),),
    "zeros_like": (function("FillCompute"),),
}
# What the updates of the four optimizers call beside those.
UPDATES = {
    "_zeros": (function("FillCompute"),),
    "adam_update": (function("AdamUpdate"),),
    "broadcast_add": (function("BinaryBroadcastCompute", functor="plus"),),
    "broadcast_div": (function("BinaryBroadcastCompute", functor="div"),),
    "broadcast_sub": (function("BinaryBroadcastCompute", functor="minus"),),
    "multi_sgd_mom_update": (function("MultiSGDMomUpdate", argument="type_identity"),),
    "multi_sgd_update": (function("MultiSGDUpdate", argument="type_identity"),),
    "rmsprop_update": (function("RMSPropUpdate"),),
    "sqrt": (function("Compute", of="UnaryOp", functor="square_root"),),
}


def names_of(library: Path) -> bytes:
    """Return the names of an ELF library's dynamic symbols (.dynstr), each between zeros."""
    with library.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        (offset,) = struct.unpack_from("<Q", content, 40)
        size, count, names = struct.unpack_from("<HHH", content, 58)
        sections = [struct.unpack_from("<IIQQQQ", content, offset + size * number) for number in range(count)]
        of_names = sections[names][4]
        for name, _, _, _, begin, length in sections:
            start = of_names + name
            if content[start : start + 8] == b".dynstr\0":
                return content[begin : begin + length]
    raise ValueError(f"{library} has no dynamic symbols")


def missing(library: Path) -> list[str]:
    """Return the operators for which the library has no GPU kernel."""
    names = names_of(library)
    return [
        operator
        for operator, kernels in {**KERNELS, **UPDATES}.items()
        if not all(b"\0" + kernel.encode() in names for kernel in kernels)
    ]


if __name__ == "__main__":
    print(missing(Path(sys.argv[1])))
