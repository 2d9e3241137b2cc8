"""Parameters: unknown, missing, mistyped and out-of-range values are named with what is required and what came."""

from __future__ import annotations

import pytest

from pipeline.base.data_groups import TASK_FAMILIES
from pipeline.base.fields import ParamsError
from pipeline.base.params import Params, load_params, merge_params


def test_committed_file_holds_the_defaults():
    assert load_params() == Params()


@pytest.mark.parametrize(
    ("override", "wording"),
    [
        ("train.lr=-1", r"'train.lr' must lie in \[0.0, 1.0\]. Got -1.0"),
        ("train.steps=0", r"'train.steps' must lie in \[1, 100000000\]. Got 0"),
        ("train.lr=nan", r"'train.lr' must lie in \[0.0, 1.0\]. Got nan"),
        (
            "train.loss=wasserstein",
            "'train.loss' must be one of relativistic, non_saturating, hinge. Got 'wasserstein'",
        ),
        ("train.speed=2", "'train.speed'"),
        ("trian.lr=2", "'trian'"),
        ("train.steps=many", "'train.steps'"),
        ("network.width=33", r"'network.width' must be a multiple of network.heads \(2\). Got 33"),
        ("train.batch_size=12", r"'train.batch_size' must be a multiple .* Got 12"),
        ("tasks.weights.={joint 1}", "'tasks.weights' must lie in .* Got {'joint 1': None}"),
        ("tasks.weights={joint: 0}", "'tasks.weights' must have a positive sum"),
        ("tasks.weights={everything: 1}", "'tasks.weights' must name task families among joint, .* Got .'everything'."),
        ("tasks.source_beta=[1.0]", "'tasks.source_beta' must hold two numbers"),
        ("tasks.block_share=[0.9, 0.1]", "'tasks.block_share' must not decrease"),
        ("evaluate.source_shares=[0.5, 1.5]", r"'evaluate.source_shares' must lie in \[0.0, 1.0\]. Got 1.5"),
    ],
)
def test_errors_name_key_requirement_and_value(override, wording):
    with pytest.raises(ParamsError, match=wording):
        load_params(overrides=[override])


def test_both_routes_off_is_an_error():
    with pytest.raises(ParamsError, match="must not both be 0"):
        load_params(overrides=["train.adversarial_weight=0", "train.likelihood_weight=0"])


def test_overrides_replace_a_mixture_whole():
    weights = load_params(overrides=["tasks.weights={mae: 1.0, causal: 3.0}"]).tasks.weights
    assert weights == {"mae": 1.0, "causal": 3.0}


@pytest.mark.parametrize("family", TASK_FAMILIES)
def test_every_family_is_accepted(family):
    assert merge_params({"tasks": {"weights": {family: 1.0}}}).tasks.weights == {family: 1.0}


@pytest.mark.parametrize("text", ["train: [", "- a\n- b", "train: 3"])
def test_malformed_files_are_parameter_errors(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError):
        load_params(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="No parameter file at .*nowhere.yaml"):
        load_params(tmp_path / "nowhere.yaml")


def test_every_choice_survives_yaml():
    """YAML reads words such as off, no and null as something else than text."""
    for group_name, group in vars(Params()).items():
        for f in getattr(group, "__dataclass_fields__", {}).values():
            for choice in f.metadata.get("choices", ()):
                params = load_params(overrides=[f"{group_name}.{f.name}={choice}"])
                assert getattr(getattr(params, group_name), f.name) == choice
