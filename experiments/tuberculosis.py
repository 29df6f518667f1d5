r"""Trains one classifier of tuberculosis across two hospitals; compares it with each one's own.

The hospitals are those of Jaeger, Candemir, Antani, Wang, Lu, Thoma: "Two public chest X-ray
datasets for computer-aided screening of pulmonary diseases" (Quantitative Imaging in Medicine and
Surgery 4(6), 2014): Shenzhen and Montgomery County. The program trains each network across both
hospitals and at each hospital alone, and also measures each hospital's own model on the other's
images. The paper trains no network, so the comparison and its settings are ours. Without --site,
the program draws phantom radiographs.

  ./bazelw run //experiments:tuberculosis -- --output_dir=DIR \
      --flagfile=tuberculosis \
      --site=shenzhen=shenzhen:PATH:Tuberculosis --site=montgomery=montgomery:PATH:Tuberculosis
"""

from __future__ import annotations

from absl import flags

from experiments.flags import command_line, findings_flags, study_flags, training_flags

# On two cores the program takes 3 min 45 s so. When it took 4 min 19 s, it took 4 min 35 s at a
# quarter of the channels, since making DenseNet121 is most of it; with all of them 7 min 47 s,
# other work beside it.
_PHANTOM_WIDTH = 0.5

findings_flags.define(model=["standard", "densenet121"], baseline=["site"], heatmaps=3)
study_flags.define(
    recipe="tuberculosis",
    site_help="A hospital as NAME=LOADER:PATH:Tuberculosis, with the "
    "loaders shenzhen, montgomery and csv; repeatable. Default: one of each with phantom "
    "radiographs.",
    phantom_patients=200,
    image_size=64,
    phantom_width=_PHANTOM_WIDTH,
)
training_flags.define(
    rounds=8,
    learning_rate=2e-3,
    batch_size=16,
    schedule="polynomial",
    batch_norm="recompute",
    share="all",
)
for _module in (findings_flags, study_flags, training_flags):
    flags.adopt_module_key_flags(_module)


class _Tuberculosis(findings_flags.FindingsRecipe):
    phantom_width = _PHANTOM_WIDTH


RECIPE = _Tuberculosis(
    name="tuberculosis",
    paper="Jaeger et al., “Two public chest X-ray datasets for computer-aided screening of "
    "pulmonary diseases”, 2014, doi:10.3978/j.issn.2223-4292.2014.11.20 (the hospitals; the "
    "comparison is ours)",
    phantoms=(
        study_flags.PhantomSite("shenzhen", "shenzhen", "write_shenzhen", "Tuberculosis"),
        study_flags.PhantomSite("montgomery", "montgomery", "write_montgomery", "Tuberculosis"),
    ),
    elsewhere=True,
)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
