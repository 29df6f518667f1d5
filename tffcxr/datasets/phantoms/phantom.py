"""Phantom chest radiographs: simulated attenuation through a varying thorax.

The programs' data without `--site`. Everything is a function of the seed, the truth (lungs,
consolidation, pleural air) is known exactly, and no image comes from a patient.

    radiograph = draw(seed=1, size=256, pneumonia=0.6)
    radiograph.image    # uint8 [256, 256]
    radiograph.opacity  # bool [256, 256]
    write_rsna(pathlib.Path("phantoms/rsna"), patients=600, seed=1)
    write_siim(pathlib.Path("phantoms/siim"), patients=600, seed=2)
    write_lungs(pathlib.Path("phantoms/lungs"), patients=600, seed=3)
    write_covidx(pathlib.Path("phantoms/covidx"), patients=600, seed=4)
    write_kermany(pathlib.Path("phantoms/kermany"), patients=600, seed=5)
    write_shenzhen(pathlib.Path("phantoms/shenzhen"), patients=600, seed=6)
    write_montgomery(pathlib.Path("phantoms/montgomery"), patients=600, seed=7)
"""

from tffcxr.datasets.phantoms.chest.radiograph import VERSION, Phantom, draw
from tffcxr.datasets.phantoms.phantom_classes import write_covidx, write_kermany
from tffcxr.datasets.phantoms.phantom_files import write_lungs, write_rsna, write_siim
from tffcxr.datasets.phantoms.phantom_tuberculosis import write_montgomery, write_shenzhen

__all__ = [
    "VERSION",
    "Phantom",
    "draw",
    "write_covidx",
    "write_kermany",
    "write_lungs",
    "write_montgomery",
    "write_rsna",
    "write_shenzhen",
    "write_siim",
]
