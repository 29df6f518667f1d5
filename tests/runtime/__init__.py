"""The CPU is split into three devices here, before any test of this package starts TensorFlow."""

import tensorflow as tf

CPU_IS_SPLIT = True
try:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 3
    )
except RuntimeError:  # Tests of another package have started it.
    CPU_IS_SPLIT = False
