"""A fitted imputer as a folder, and back; no pickle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_is_fitted

from pipeline.estimators.frames import names_of
from pipeline.estimators.gap_mixture import with_gap_tokens_read
from pipeline.estimators.mixture import MixtureSampler
from pipeline.estimators.presets import SHARPNESS
from pipeline.estimators.saved import marks_to_json, read_saved
from pipeline.tables.codec import TableCodec
from pipeline.tables.values import to_json


class FilesMixin:
    """`save` and `load` of an imputer."""

    def save(self, folder: Path | str) -> None:
        """Writes network, forest, mixture.json, schema.json and imputer.json to `folder`, all or nothing; no pickle."""
        check_is_fitted(self, "sampler_")
        settings = self.get_params(deep=False) | {"missing": marks_to_json(self.missing)}
        if not isinstance(settings["random_state"], int | np.integer | None):
            settings["random_state"] = None  # a generator's state is not part of what was learnt
        fitted = {
            "columns": names_of(self),
            "library": self._library,
            "axis_names": [to_json(name) for name in self._axis_names],
            "labels": None if self._labels is None else [to_json(label) for label in self._labels],
            "held_out": self.history_.held_out,
            "best_step": self.history_.best_step,
            "report": self.report_,
            "seen": self.seen_,
            "found_rules": self.found_rules_,
        }
        self.sampler_.save(folder, {"imputer.json": {"settings": settings, "fitted": fitted}})

    @classmethod
    def load(cls, folder: Path | str) -> FilesMixin:
        """The imputer that `save` wrote. Raises ValueError naming a file that is missing or damaged."""
        from pipeline.training.fitting import History

        file = Path(folder) / "imputer.json"
        saved = read_saved(file)
        try:
            imputer = cls(**saved.settings)
        except TypeError as error:
            raise ValueError(f"{file} does not describe an imputer: {error!r}.") from error
        imputer._labels, imputer._library, imputer._axis_names = saved.labels, saved.library, saved.axis_names
        imputer.seen_, imputer.report_, imputer.n_features_in_ = saved.seen, saved.report, len(saved.columns)
        imputer.found_rules_, imputer.history_ = saved.found_rules, History(saved.held_out, saved.best_step)
        imputer.sampler_ = with_gap_tokens_read(MixtureSampler.load(folder))
        imputer.sampler_.sharpness = SHARPNESS[imputer.spread]
        imputer.codec_ = TableCodec(imputer.sampler_.schema)
        if len(imputer.codec_.columns) != imputer.n_features_in_:
            raise ValueError(f"{file} and schema.json must describe the same columns. Save the imputer again.")
        if saved.labels is not None and all(isinstance(label, str) for label in saved.labels):
            imputer.feature_names_in_ = np.asarray(saved.labels, dtype=object)
        return imputer
