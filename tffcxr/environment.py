"""How TensorFlow is set up: what it reads when it is first imported, and what before it starts."""

from __future__ import annotations

import os

_DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # TensorFlow's own allocator keeps the memory that it has. Without it every step of a large
    # model on the CPU returns its memory to the kernel and requests it again, page by page: a
    # quarter of U-Net++'s time with two clients at once (0.9 images/s instead of 1.2).
    "TF_CPU_ALLOCATOR_USE_BFC": "1",
    # oneDNN's convolutions, which TensorFlow 2.14 takes by itself only where the processor has
    # AVX-512 with VNNI. Its own gradient of the input copies the whole kernel for every image, most
    # of a step where kernels are large and feature maps small.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


def prepare() -> None:
    """Sets what nobody has set; to be called before TensorFlow is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def of_precision(precision: str) -> dict[str, str]:
    """What a precision needs in the environment when TensorFlow is imported.

    Convolutions of oneDNN in bfloat16 need AVX-512, and with that TensorFlow 2.14 fuses them with
    their bias to an operation that refuses bfloat16.

    Args:
      precision: a name of `tffcxr.options.PRECISIONS`.
    """
    return {"TF_ENABLE_ONEDNN_OPTS": "0"} if precision == "bfloat16" else {}


def prepare_for_precision(precision: str) -> None:
    """Sets what a precision needs; to be called before TensorFlow is imported."""
    os.environ.update(of_precision(precision))


def prepare_for_small_steps() -> None:
    """Saves what TensorFlow spends on large steps; to be called before it computes anything.

    A step on a few small images is hundreds of operations of microseconds each. Threads that share
    one of them cost more than they save, and so does what the optimizer of graphs puts in their
    place. On two cores, COVID-Net of a quarter of its channels, batches of 10 images of 64 pixels:
    81 images/s of two clients became 148 with one thread, and 215 without the optimizer; in one
    place 60 became 82 and 103. A GPU keeps both, as does whoever has set TF_NUM_INTRAOP_THREADS.
    """
    import tensorflow as tf

    if "TF_NUM_INTRAOP_THREADS" in os.environ or tf.config.list_physical_devices("GPU"):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        return  # It has started. Results are the same to rounding either way.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
