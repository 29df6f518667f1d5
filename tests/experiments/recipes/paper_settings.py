"""What papers say of their experiments, and what is ours where they are silent.

Written from the papers, not from the presets, which `test_presets` holds against it: each flag of a
preset stands here once, as the paper's (with the place in it, where known) or as ours.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags of a preset; a flag that is repeated has a list.

    Attributes:
      paper: flags whose values a paper gives.
      ours: flags that the paper leaves open.
    """

    paper: dict[str, Any]
    ours: dict[str, Any]


# Kulkarni et al., arXiv 2211.06212.
_CHEXVIZ = {"local_epochs": "1", "optimizer": "adam", "baseline": "site", "augmentation": "none"}
_CHEXVIZ_OURS = {
    "image_size": "224", "batch_size": "32", "server_learning_rate": "1", "nokeep_optimizer": "",
    "adam_epsilon": "1e-7",  # Of Keras, since the paper's tf-explain is TensorFlow's.
    "report_round": "last", "early_stopping": "0", "calibration": "none",
}  # fmt: skip

# Liu et al., arXiv 2007.05592: five agents, a fraction of 0.4.
_LIU = {
    "model": "covidnet,resnet18,resnext18,mobilenetv2", "width": "1", "image_size": "224",
    "optimizer": "adam", "learning_rate": "2e-5", "weight_decay": "1e-7", "batch_size": "10",
    "rounds": "100", "local_epochs": "3", "clients_per_site": "5", "clients_per_round": "0.4",
    "partition": "iid", "baseline": "pooled", "report_round": "last",
    "pooled_epochs": "3",  # 300 epochs in 100 rounds.
    "augmentation": "none", "weights": "none", "class_balance": "none",  # None are named.
}  # fmt: skip
_LIU_OURS = {
    "schedule": "constant", "server_learning_rate": "1", "batch_norm": "aggregate",
    "adam_epsilon": "1e-8", "initialization": "library",  # PyTorch's.
}  # fmt: skip

# Parekh et al., arXiv 2112.10001.
_PAREKH = {
    "private": "none", "baseline": "site", "batch_size": "4", "optimizer": "adam",
    "learning_rate": "2e-4", "local_epochs": "1", "clients_per_round": "all", "width": "1",
}  # fmt: skip
_PAREKH_OURS = {
    "image_size": "256", "rounds": "50", "weight_decay": "0", "schedule": "constant",
    "server_learning_rate": "1", "batch_norm": "aggregate", "augmentation": "none",
    "adam_epsilon": "1e-7", "report_round": "last",
}  # fmt: skip

# Nagabhushanam & Yaswanth, NITK 2025, both parts.
_NITK = {
    "partition": "hybrid", "clients_per_site": "20", "clients_per_round": "6", "local_epochs": "1",
    "baseline": "pooled", "server_optimizer": "average",
}  # fmt: skip
_NITK_OURS = {
    "test_fraction": "0.2", "alpha": "0.5", "report_round": "last", "server_learning_rate": "1",
}  # fmt: skip

_TRANSFER = {
    "model": "efficientnetlite0", "weights": "imagenet", "image_size": "160", "batch_size": "16",
    "head_rounds": "10", "head_learning_rate": "3e-3", "rounds": "15", "learning_rate": "5e-5",
    "optimizer": "adam", "keep_optimizer": "", "batch_norm": "frozen", "augmentation": "affine",
}  # fmt: skip

PRESETS = {
    "chexviz_standard": Settings(
        paper={
            **_CHEXVIZ, "model": "standard", "weights": "none", "rounds": "300",
            "learning_rate": "1e-3",
        },
        ours={**_CHEXVIZ_OURS, "schedule": "plateau"},
    ),
    "chexviz_densenet121": Settings(
        paper={
            **_CHEXVIZ, "model": "densenet121", "weights": "imagenet", "head_rounds": "30",
            "head_learning_rate": "1e-3", "rounds": "150", "learning_rate": "1e-5",
        },
        ours={**_CHEXVIZ_OURS, "schedule": "constant"},
    ),
    "chexviz_table1": Settings(
        paper={
            **_CHEXVIZ, "model": "standard,densenet121",
            "weights": ["none", "densenet121=imagenet"], "rounds": "300", "learning_rate": "1e-3",
            "only": [
                "densenet121:head_rounds=30", "densenet121:head_learning_rate=1e-3",
                "densenet121:rounds=150", "densenet121:learning_rate=1e-5",
                "densenet121:schedule=constant",  # Ours.
            ],
        },
        ours={**_CHEXVIZ_OURS, "schedule": "plateau"},
    ),
    "covid": Settings(paper=_LIU, ours=_LIU_OURS),
    "cross_domain_kidneys": Settings(
        paper={**_PAREKH, "task": "kidneys", "test_fraction": "0.3"},  # 35 and 15 patients.
        ours={**_PAREKH_OURS, "field_of_view": "400"},
    ),
    "cross_domain_lesions": Settings(
        paper={**_PAREKH, "task": "lesions", "patients_per_stratum": "25"},
        ours={**_PAREKH_OURS, "field_of_view": "240", "test_fraction": "0.3"},
    ),
    # Ślazyk et al., arXiv 2204.05203, and their code, SanoScience/CXR-FL, which keeps the model
    # that is best on the test images.
    "cxr_fl_classification": Settings(
        paper={
            "model": "resnet50,densenet121", "images": "full,segmented", "weights": "imagenet",
            "image_size": "224", "batch_size": "8", "optimizer": "adam", "learning_rate": "1e-4",
            "weight_decay": "1e-5", "rounds": "10", "local_epochs": "1", "partition": "iid",
            "clients_per_site": "2",  # Of 1, 2, 3.
            "test_images": "Normal=326,No Lung Opacity / Not Normal=321,Lung Opacity=353",
            "augmentation": "affine", "baseline": "none", "report_round": "best",
            "schedule": "constant", "server_learning_rate": "1",  # FedAvg.
            "adam_epsilon": "1e-8", "initialization": "library",  # PyTorch's, as the code is.
        },
        ours={},
    ),
    "cxr_fl_segmentation": Settings(
        paper={
            "model": "unetplusplus", "weights": "imagenet", "image_size": "1024",
            "batch_size": "2", "optimizer": "adagrad", "learning_rate": "1e-3",
            "weight_decay": "0", "rounds": "15", "local_epochs": "1", "partition": "iid",
            "clients_per_site": "3", "test_fraction": "0.1", "augmentation": "affine",
            "baseline": "none", "report_round": "best", "initialization": "library",
            "schedule": "constant", "server_learning_rate": "1",  # FedAvg.
        },
        ours={},
    ),
    "pneumonia_classification": Settings(
        paper={
            **_NITK, "task": "classification", "model": "resnet34,resnet50", "batch_size": "32",
            "rounds": "100", "width": "1", "optimizer": "adam", "learning_rate": "0.01",
            "only": [
                "resnet50:optimizer=sgd", "resnet50:learning_rate=0.003", "resnet50:momentum=0.7",
            ],
            "central": "resnet34:adam:0.01,resnet50:sgd:0.003:0.9", "central_epochs": "50",
        },
        ours={
            **_NITK_OURS, "image_size": "224", "weights": "none", "augmentation": "flip",
            "weight_decay": "0", "schedule": "constant", "adam_epsilon": "1e-8",
            "initialization": "library",
        },
    ),
    "pneumonia_segmentation": Settings(
        paper={
            **_NITK, "task": "segmentation", "batch_size": "12", "rounds": "120",
            "central_epochs": "240", "optimizer": "sgd", "learning_rate": "0.01",
            "momentum": "0.9", "weight_decay": "3e-5", "schedule": "polynomial",
        },
        ours={
            **_NITK_OURS, "image_size": "1024", "gpu_memory_gb": "8",
            # nnU-Net's.
            "nesterov": "", "clip_norm": "12", "nnunet_augmentation": "",
        },
    ),
    # Jaeger et al. 2014 train no network.
    "tuberculosis": Settings(
        paper={},
        ours={
            "model": "standard,densenet121", "width": "1", "image_size": "224",
            "batch_size": "16", "optimizer": "adam", "learning_rate": "1e-4",
            "schedule": "polynomial", "rounds": "30", "local_epochs": "1",
            "augmentation": "affine", "share": "all", "batch_norm": "recompute",
            "baseline": "site",
        },
    ),
    # Transfer learning for few images: no paper's.
    "chexviz_transfer": Settings(paper={}, ours=_TRANSFER),
    "cxr_fl_classification_transfer": Settings(paper={}, ours={**_TRANSFER, "images": "full"}),
    # A small segmenter of lungs, of phantoms.
    "cxr_fl_segmentation_lungs": Settings(
        paper={},
        ours={
            "model": "unet", "width": "0.25", "weights": "none", "image_size": "128",
            "batch_size": "8", "optimizer": "adam", "learning_rate": "2e-3",
            "schedule": "polynomial", "rounds": "20", "local_epochs": "1", "partition": "none",
            "augmentation": "affine", "baseline": "none",
        },
    ),
    # Sweeps; that the splits stay is our reading.
    "covid_tables": Settings(
        paper={"experiment": "covid", "set": "flagfile=covid", "metric": "accuracy"},
        ours={"repeats": "5"},
    ),
    "cxr_fl_table1": Settings(
        paper={
            "experiment": "cxr_fl_segmentation",
            "grid": ["local_epochs=1,2,3", "clients_per_round=1,2,3"],
            "repeats": "2", "target": "0.92",
        },
        ours={"set": ["flagfile=cxr_fl_segmentation", "split_seed=0"]},
    ),
    "cxr_fl_table2": Settings(
        paper={
            "experiment": "cxr_fl_classification", "set": "flagfile=cxr_fl_classification",
            "grid": "clients_per_site=1,2,3", "metric": "accuracy",
        },
        ours={},
    ),
    "pneumonia_classification_trials": Settings(
        paper={"experiment": "pneumonia", "repeats": "3", "metric": "accuracy"},
        ours={"set": ["flagfile=pneumonia_classification", "split_seed=0"]},
    ),
    "pneumonia_segmentation_trials": Settings(
        paper={"experiment": "pneumonia", "repeats": "3"},
        ours={"set": ["flagfile=pneumonia_segmentation", "split_seed=0"], "metric": "jaccard"},
    ),
}  # fmt: skip
