"""A study of findings, each of which some sites label: one model across sites, and each site's own.

clients' records → shards → federated training, baselines → scores → tables, heat maps, report
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import pathlib
import sys
from typing import Any

from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore
from tffcxr.clients.shards.shard_store import SPLITS
from tffcxr.datasets.imaging.likeness import Likeness
from tffcxr.evaluation import registry
from tffcxr.models import losses
from tffcxr.report.kinds import findings_kind
from tffcxr.studies import external as external_lib
from tffcxr.studies import heat_tables, parameters, predicted_lungs, trainings, variant_logs
from tffcxr.studies import study as study_lib
from tffcxr.studies.findings import (
    findings_backdoor,
    findings_explanations,
    findings_external,
    findings_heat,
    findings_results,
    findings_subgroups,
)
from tffcxr.training.evaluators.validation import FindingsEvaluator, Scorer
from tffcxr.training.plan import Plan
from tffcxr.training.run_directory import RunDirectory

LOSS = losses.batch_loss


@dataclasses.dataclass(frozen=True)
class FindingsStudy(study_lib.Study):
    """One run of a recipe of findings.

    Attributes:
      plans: how each network is trained, by its name.
      baselines: some of "site" and "pooled".
      heatmaps: true positives per finding to show.
      elsewhere: whether every site's own model is also measured on the other sites' images, where
        these label the same finding.
      heat_metrics: whether the heat of all true positives is measured.
      segmentation_model: what `predicted_lungs.segment` takes, for heat in the lungs of test images
        that come without masks; or None.
    """

    kind = findings_kind.KIND.name
    plans: Mapping[str, Plan]
    baselines: tuple[str, ...]
    heatmaps: int
    elsewhere: bool = False
    heat_metrics: bool = True
    segmentation_model: str | None = None

    @property
    def several(self) -> bool:
        """Whether the study has several networks, whose names are then in those of files."""
        return len(self.plans) > 1

    def _run(self, directory: RunDirectory, sampler: Sampler) -> list[study_lib.Row]:
        explained, about_lungs = self._with_lungs(directory.path)
        data, external = self._begin(directory, about_lungs)
        likeness = self.likeness(data)
        results = [
            self._network(name, plan, data, external, sampler, directory, likeness)
            for name, plan in self.plans.items()
        ]
        if self.several:
            self._join_logs(directory)
        findings_results.write_predictions(directory.path, results)
        findings_subgroups.write(directory.path, self, results)
        findings_explanations.write(directory.path, explained, results)
        if self.heat_metrics:
            findings_heat.write(directory.path, explained, results, data)
        return [
            row
            for result in results
            for part in (findings_results, findings_external)
            for row in part.metric_rows(self, result)
        ]

    def _coordinate(self, directory: RunDirectory, sampler: Sampler) -> None:
        data, _ = self._begin(directory, {})
        for name, plan in self.plans.items():
            model = plan.model.measuring_model()
            setup = self._setup(name, plan, Scorer(model.keras, data), data, sampler, directory)
            trained = trainings.train_federated(setup)
            findings_results.save_shared(directory.path, self, name, model, trained)
        if self.several:
            self._join_logs(directory)

    def _begin(
        self, directory: RunDirectory, about_lungs: Mapping[str, Any]
    ) -> tuple[ClientData, ClientData | None]:
        """Prepares the images, those of external sites too, and chooses where rounds run."""
        settings = self.settings
        spec = ShardSpec(settings.image_size, self.clients.findings, settings.fit)
        store = self._open_shards(spec)
        external = external_lib.open_shards(self, spec)
        self._start(
            directory,
            store,
            lambda client: self._positives(store, client),
            {
                "server_learning_rate": trainings.setting_of(self.plans, "server_learning_rate"),
                "early_stopping": trainings.setting_of(self.plans, "patience"),
                "parameters": parameters.trainable(self.plans.values()),
                "heat_map_places": self._places_of_maps(),
                **self._left_out(),
                **about_lungs,
            },
            external_lib.fingerprint(store, external),
        )
        return self._client_data(store), None if external is None else self._client_data(external)

    def _setup(
        self,
        name: str,
        plan: Plan,
        scorer: Scorer,
        data: ClientData,
        sampler: Sampler,
        directory: RunDirectory,
    ) -> trainings.Training:
        findings = self.clients.findings
        tasks = [f"{name} {finding}" if self.several else finding for finding in findings]
        return trainings.Training(
            directory,
            plan,
            data,
            FindingsEvaluator(scorer, tasks),
            self.settings.measured_split,
            sampler,
            best=self.best_by(registry.AUROC),
            histograms=self.settings.histograms,
            variant=name if self.several else "",
            federation=self.settings.federation,
            attackers=self.attackers,
        )

    def _network(
        self,
        name: str,
        plan: Plan,
        data: ClientData,
        external: ClientData | None,
        sampler: Sampler,
        directory: RunDirectory,
        likeness: Likeness | None,
    ) -> findings_results.NetworkResult:
        """Trains one network in every way, scores it and saves it."""
        # In float32, whatever it is trained in: what is measured is what is exported.
        model = plan.model.measuring_model()
        scorer = Scorer(model.keras, data)
        setup = self._setup(name, plan, scorer, data, sampler, directory)
        federated = trainings.train_federated(setup)
        trained: dict[str, Mapping[str, trainings.Weights]] = {
            trainings.FEDERATED: findings_results.site_models(
                self.clients, federated.reported, data.store
            )
        }
        members = {site: self.clients.clients_of(site)[0] for site in self.clients.findings_of}
        found = {trainings.FEDERATED: dict.fromkeys(members, federated)}
        baselines = trainings.train_baselines(setup, self._groups())
        for training in self.baselines:
            found[training] = {site: baselines[_baseline_name(training, site)] for site in members}
            trained[training] = {
                site: found[training][site].reported[client] for site, client in members.items()
            }
        rounds = {
            training: {site: self.about_rounds(registry.AUROC, of) for site, of in by_site.items()}
            for training, by_site in found.items()
        }
        scores = findings_backdoor.measured(
            self,
            scorer,
            data,
            trained[trainings.FEDERATED],
            findings_results.score_all(self, scorer, trained),
        )
        elsewhere = findings_external.score_all(self, scorer, external, trained)
        result = findings_results.NetworkResult(name, model, trained, scores, rounds, elsewhere)
        findings_results.save_models(directory.path, self, result, likeness)
        return result

    def _with_lungs(self, directory: pathlib.Path) -> tuple[FindingsStudy, dict[str, Any]]:
        """Predicts the lungs of test images without masks; says for `config.json` how that went."""
        records = self.clients.records
        if not self.segmentation_model:
            return self, {}
        chosen = {
            client: ((table["split"] == "test") & table["lungs"].isna()).to_numpy()
            for client, table in records.items()
        }
        segmented = predicted_lungs.segment(
            records, self.segmentation_model, self.settings.cache_dir, chosen=chosen
        )
        predicted_lungs.write(directory, segmented)
        counts = segmented.counts
        print(
            f"lungs: plausible in {counts['plausible']} of {counts['total']} test images without "
            "masks; heat in lungs is undefined in the others",
            file=sys.stderr,
        )
        study = dataclasses.replace(self, clients=self.clients.with_records(segmented.records))
        return study, {"lungs": segmented.about(self.segmentation_model)}

    def _left_out(self) -> dict[str, Any]:
        """For `config.json`: patients with and without the findings that sites cannot use."""
        sites = {
            site: {name: {"with": n, "without": m} for name, (n, m) in findings.items()}
            for site, findings in self.clients.left_out.items()
        }
        return {"left_out": sites} if sites else {}

    def _places_of_maps(self) -> dict[str, int]:
        """How many places the heat maps of each network have on a side; none without heat maps."""
        if not self.heatmaps and not self.heat_metrics:
            return {}
        return {
            name: heat_tables.places_of_map(plan.structure()) for name, plan in self.plans.items()
        }

    def _groups(self) -> dict[str, list[str]]:
        """The baselines' trainings, and the clients of each."""
        sites = list(self.clients.findings_of)
        groups = {}
        if trainings.SITE in self.baselines:
            groups = {trainings.site_name(site): self.clients.clients_of(site) for site in sites}
        if trainings.POOLED in self.baselines:
            groups[trainings.POOLED] = [c for site in sites for c in self.clients.clients_of(site)]
        return groups

    def _join_logs(self, directory: RunDirectory) -> None:
        names = {name: name for name in self.plans}
        variant_logs.write_rounds(directory.path, names)
        variant_logs.write_clients(directory.path, names)
        variant_logs.write_hospitals(directory.path, names)
        if trainings.POOLED in self.baselines:
            variant_logs.write_rounds(directory.path, names, f"_{trainings.POOLED}")

    def _positives(self, store: ShardStore, client: str) -> dict[str, Any]:
        """What a client's site labels, and how many of its images have it.

        Of several findings, these are counts by finding and split.
        """
        findings = self.clients.findings_of[self.clients.site_of[client]]
        counts = {split: store.label_counts(client, split) for split in SPLITS}
        row: dict[str, Any] = {"finding": ", ".join(findings)}
        if len(findings) == 1:
            for split, of_split in counts.items():
                row[f"{split}_positive"] = of_split[findings[0]]["present"]
            return row
        for name, label in (("positive", "present"), ("negative", "absent")):
            row[name] = {
                finding: {split: of_split[finding][label] for split, of_split in counts.items()}
                for finding in findings
            }
        return row


def _baseline_name(training: str, site: str) -> str:
    return training if training == trainings.POOLED else trainings.site_name(site)
