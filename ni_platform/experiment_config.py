"""What an experiment is: a frozen config that a function of the folder `experiments` returns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import yaml

from ni_platform.data.splits import SplitConfig
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.ensemble import EnsembleConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.regressor import RegressorConfig
from ni_platform.models.scorer import NetworkConfig
from ni_platform.overrides import from_dict, to_dict
from ni_platform.training.config import TrainingConfig
from ni_platform.user_code import (
    Definition,
    list_functions,
    load_function,
    require_known,
    shown,
)

if TYPE_CHECKING:
    from ni_platform.tracking.run_record import RunRecord
    from ni_platform.tracking.store import Store

EXPERIMENTS = "experiments"
_CONFIG, _CONFIG_BEFORE = "config.yaml", "config.json"
"""Where a run holds its config, and where runs of earlier versions do."""
AT_ONCE = (TabularConfig, GaussianProcessConfig, EnsembleConfig)
"""Configs of models that are fitted at once, not trained by the loop."""
TABLES = "_tables"
"""End of the names of files whose functions are tables of a paper."""
LONGEST_NAME = 200
"""Bytes of a name: MLflow's databases hold a run's name of 250, and a folder is named so."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How each encoder is trained alone before fusion (NI Section 3); None: it is not."""

    image: TrainingConfig | None = None
    text: TrainingConfig | None = None
    wording: TrainingConfig | None = None
    domain: TrainingConfig | None = None
    embedding: TrainingConfig | None = None
    attributes: TrainingConfig | None = None

    @property
    def stages(self) -> dict[str, TrainingConfig]:
        """The modalities that are pretrained, and how."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: stage for name, stage in found.items() if stage is not None}


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that decides a run's result, besides the dataset."""

    name: str
    model: RegressorConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The last stage: the whole network. Tabular models are fitted at once, without it."""
    pretraining: Pretraining = field(default_factory=Pretraining)
    splits: SplitConfig = field(default_factory=SplitConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    insights: InsightsConfig | None = None
    """Explain the trained network on this, and test the explanations; None: do not."""
    leave_out: tuple[str, ...] = ()
    """Input columns that the model does not read (M2FN Table 8)."""
    min_impressions: int = 0
    """Contents that were shown less often are left out (M2FN Table 4: 100 or 500)."""
    train_share: float = 1.0
    """Share of the training rows that are trained on, in (0, 1]: whole groups (A/B tests) are drawn
    by `splits.seed`, those of a smaller share within those of a larger one. The rest is left out;
    validation and test are as they are."""
    train_on_validation: bool = False
    """Train on the validation part as well. Then no stage monitors anything, is stopped early or
    keeps another epoch than its last, and there is no validation slice: for settings that were
    chosen before, such as the winner's of a sweep."""

    @property
    def network(self) -> NetworkConfig:
        """The model's config, where the model is trained by the loop.

        Raises:
            ConfigError: It is fitted at once.

        """
        if isinstance(self.model, AT_ONCE):
            raise ConfigError(
                f"{self.name} is of kind {self.model.kind}, which is fitted at once and not "
                "trained; name an experiment with a network"
            )
        return self.model

    @property
    def in_stages(self) -> bool:
        """Whether the model is trained, not fitted at once."""
        return not isinstance(self.model, AT_ONCE)

    def __post_init__(self) -> None:
        if not 0 < self.train_share <= 1:
            raise ConfigError(
                f"train_share must be in (0, 1], but is {self.train_share}; 1 trains on all of the "
                "training part"
            )
        stages = self.pretraining.stages
        if isinstance(self.model, TabularConfig | EnsembleConfig) and self.insights is not None:
            raise ConfigError(
                f"insights end the training of networks, not of a model of kind {self.model.kind}; "
                "set insights to null (`ni insights RUN` explains an ensemble of networks)"
            )
        if isinstance(self.model, AT_ONCE):
            if stages or self.training != TrainingConfig():
                raise ConfigError(
                    f"a model of kind {self.model.kind} is fitted at once: training and "
                    "pretraining must be left as they are; choose a network, or remove these "
                    "settings"
                )
            return
        if self.model.output != "distribution" and any(
            stage.loss.needs_distribution for stage in (*stages.values(), self.training)
        ):
            raise ConfigError(
                "training.loss.kl_divergence and .earth_movers_distance compare distributions, but "
                "the model gives a rate; set model.output=distribution, or these weights to 0"
            )
        for modality in stages:
            if modality not in self.model.modalities:
                raise ConfigError(
                    f"pretraining.{modality} is set, but the model reads no {modality}; set it to "
                    f"null, or give the model one with model.{modality}={{}}"
                )


def fingerprint(config: ExperimentConfig) -> str:
    """Return the SHA-256 of what decides the trained model: not name, evaluation or insights."""
    values = to_dict(replace(config, name="", evaluation=EvaluationConfig()))
    del values["insights"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def list_experiments() -> list[tuple[str, str]]:
    """Return each experiment's name and the first line of its docstring."""
    return [
        (f"{module}.{name}", summary)
        for module, name, summary in list_functions(EXPERIMENTS)
        if not module.endswith(TABLES)
    ]


def list_tables() -> list[tuple[str, str]]:
    """Return each table's name and the first line of its docstring.

    The function `table6` of `experiments/m2fn_tables.py` is the table `m2fn.table6`; one that is
    named as its file is called by that word alone.
    """
    return [
        (name if name == (file := module.removesuffix(TABLES)) else f"{file}.{name}", summary)
        for module, name, summary in list_functions(EXPERIMENTS)
        if module.endswith(TABLES)
    ]


def load_experiment(name: str) -> ExperimentConfig:
    """Return the config that the function `FILE.FUNCTION` of `experiments` defines.

    Raises:
        ConfigError: There is no such experiment; names the nearest. Or its function fails, or
            returns something else; names file and line.

    """
    require_known(name, [known for known, _ in list_experiments()], "experiment")
    return defined_experiment(load_function(EXPERIMENTS, name, kind="experiment", name=name))


def defined_experiment(defined: Definition) -> ExperimentConfig:
    """Return the config that a user's function makes, of a folder or of a notebook's cell.

    Raises:
        ConfigError: It fails, or returns something else.

    """
    config = defined()
    if isinstance(config, ExperimentConfig) and isinstance(config.name, str):
        _check_name(config.name, defined)
    return checked_config(config, defined)


def _check_name(name: str, defined: Definition) -> None:
    one_line = bool(name.partition(".")[0].strip()) and name.isprintable()
    if not one_line or len(name.encode()) > LONGEST_NAME:
        raise defined.refused(
            "must have a name such as 'file.function', as MLflow groups runs by what stands before "
            f"the first '.', of one line and at most {LONGEST_NAME} bytes, but its name is {name!r}"
        )


def checked_config(config: object, defined: Definition) -> ExperimentConfig:
    """Return the config that a user's function made, if its parts have the types they must have.

    Raises:
        ConfigError: It is no config, or a value of it does not fit.

    """
    if not isinstance(config, ExperimentConfig):
        raise defined.refused(f"must return an ExperimentConfig, but returned {shown(config)}")
    try:
        # Dataclasses take any value: `epochs=2.5` would be found by the training.
        from_dict(ExperimentConfig, to_dict(config))
    except (ConfigError, TypeError, ValueError) as error:
        raise defined.refused(f"must return a config of plain values: {error}") from error
    return config


def record_config(record: RunRecord, config: ExperimentConfig) -> None:
    """Store the whole config in a run, where `of_run` finds it."""
    record.log_text(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), _CONFIG)


def of_run(store: Store, run_id: str) -> tuple[ExperimentConfig, str | None]:
    """Return the config and dataset that a run was made with; None if it does not tell the data.

    Raises:
        TrackingError: There is no such run, or it has no config.
    """
    # MLflow takes seconds to import; a mistyped experiment is told at once.
    from ni_platform.tracking.metric_table import current_name
    from ni_platform.tracking.run_queries import has_artifact, read_artifact, read_run

    if has_artifact(store, run_id, _CONFIG):
        values = yaml.safe_load(read_artifact(store, run_id, _CONFIG))
    else:
        values = json.loads(current_name(read_artifact(store, run_id, _CONFIG_BEFORE).decode()))
    config = from_dict(ExperimentConfig, values)
    return config, read_run(store, run_id).tags.get("ni.dataset")
