"""Every setting that is one of a few names, once, for flags and library alike; no TensorFlow."""

from __future__ import annotations

from typing import Literal, get_args

# Networks, and the module of `tffcxr.models.networks` that has each.
CLASSIFIER_MODULES = {
    "standard": "standard",
    "resnet18": "backbones",
    "resnet34": "backbones",
    "resnet50": "backbones",
    "densenet121": "backbones",
    "resnext18": "resnext",
    "resnext50": "resnext",
    "mobilenetv2": "backbones",
    "efficientnetlite0": "efficientnet_lite",
    "covidnet": "covidnet",
}
# Classifiers of `segmentation-models` as encoders: its U-Net (`unet_resnet34`) and U-Net++
# (`unetplusplus_resnet34`).
UNET_ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "seresnet18",
    "seresnet34",
    "vgg16",
    "vgg19",
    "densenet121",
    "densenet169",
    "mobilenet",
    "mobilenetv2",
    "efficientnetb0",
    "efficientnetb4",
)
UNETPLUSPLUS_ENCODERS = ("resnet18", "resnet34", "efficientnetb0")
SEGMENTER_MODULES = {
    "unet": "unet",
    "unetplusplus": "unetplusplus",
    **{f"unet_{encoder}": "unet_backbones" for encoder in UNET_ENCODERS},
    **{f"unetplusplus_{encoder}": "unetplusplus" for encoder in UNETPLUSPLUS_ENCODERS},
    "nnunet": "planned",
}
CLASSIFIERS = tuple(CLASSIFIER_MODULES)
SEGMENTERS = tuple(SEGMENTER_MODULES)

# What becomes of batch norm: its statistics are averaged with the weights, recomputed for the
# averaged weights, or kept at the client with the layer; the layer is frozen, or group norm.
BatchNorm = Literal["aggregate", "recompute", "local", "frozen", "group"]
BATCH_NORM: tuple[BatchNorm, ...] = get_args(BatchNorm)
# How random weights begin: residual branches at 0, or as PyTorch's libraries begin.
Initialization = Literal["shortcut", "library"]
INITIALIZATIONS: tuple[Initialization, ...] = get_args(Initialization)
# What a network computes in; weights, the task block and the loss are float32 always.
Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# The block whose weights stay as they are.
Frozen = Literal[None, "representation"]
# What is averaged: the representation block, or the whole model.
Share = Literal["representation", "all"]
SHARES: tuple[Share, ...] = get_args(Share)

# Training.
CLIENT_OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad")
KERAS_EPSILON = 1e-7  # Of Adam.
SERVER_OPTIMIZERS = ("average", "momentum", "adam", "yogi", "adagrad")
SCHEDULES = ("constant", "plateau", "polynomial")
WEIGHTINGS = ("examples", "uniform")
# The probability with which differential privacy may fail altogether. As in the literature since
# Abadi et al., "Deep Learning with Differential Privacy", CCS 2016. The usual rule, less than 1 /
# number of those protected, would allow 0.2 with five hospitals; this keeps the rule for up to
# 100,000.
DP_DELTA = 1e-5
DP_CLIP = 0.1  # As TFF starts from.
# Of them, those that bear hostile clients.
HOSTILE_PROOF = ("median", "trimmed_mean", "krum", "geometric_median")
AGGREGATORS = ("mean", "robust", "compression", "secure", "dp", *HOSTILE_PROOF)
# Of them, those whose purpose is that the server does not know each client's update.
HIDING_UPDATES = ("secure", "dp")
# Rehearsals of hostile clients, see `training.attack`.
ATTACKS = ("labels", "scale", "sign", "noise", "backdoor")
# What becomes of clients that look hostile or broken: they are told of, or left out.
Quarantine = Literal["report", "exclude"]
QUARANTINES: tuple[Quarantine, ...] = get_args(Quarantine)
EXCLUDE: Quarantine = "exclude"
EXECUTORS = ("device", "native")
ENGINES = ("local", "ray", "hospitals")
BASELINES = ("site", "pooled")
# The round whose weights are reported.
ReportRound = Literal["last", "best"]
REPORT_ROUNDS: tuple[ReportRound, ...] = get_args(ReportRound)
# How scores become probabilities, by scaling logits: with a bias, without one, or not at all.
Calibration = Literal["platt", "temperature", "none"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
# What exported models are also written as.
ExportFormat = Literal["onnx", "savedmodel"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
# What proposes the settings of a search.
SEARCH_SAMPLERS = ("tpe", "random", "grid")

# Initial weights that are no file.
WEIGHTS_WITHOUT_FILE = ("none", "imagenet")

# Images and who holds them.
FITS = ("pad", "stretch")
AUGMENTATIONS = ("none", "flip", "affine")
PARTITIONS = ("none", "iid", "quantity", "dirichlet", "hybrid")
UNEVEN_PARTITIONS = ("quantity", "dirichlet", "hybrid")
CLASS_BALANCES = ("none", "weights", "sampling")
IMAGE_KINDS = ("full", "segmented")

# What a label of -1, "uncertain" in CheXpert, counts as: unknown, present or absent.
Uncertain = Literal["ignore", "positive", "negative"]
UNCERTAIN = get_args(Uncertain)

# Which radiographs of a data set are read: the frontal ones, or lateral ones too.
Views = Literal["frontal", "all"]
VIEWS = get_args(Views)
