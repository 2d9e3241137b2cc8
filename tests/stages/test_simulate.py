"""Stage simulate, end to end on few steps: files, metrics, captions, independence from threads, errors."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.simulate import SEED_STRIDE, run, tuned_schedule
from pipeline.simulation.gallery import FIGURES
from pipeline.simulation.gmm25 import COMPONENTS
from pipeline.simulation.results import PANEL_STEPS, Course, frame_steps, kept_iterations

TINY = {
    "seeds": 2,
    "animation_frames": 3,
    "gmm25_paper": False,
    "gmm25_outer": 20,
    "gmm25_inner": 10,
    "gmm2_grid": 21,
    "gmm2_nodes": 8,
    "gmm2_conditional_angles_deg": [0.0, 30.0, 90.0],
    "gmm2_conditional_values": [-0.5, 0.5],
    "blem_outer": 2,
    "blem_inner": 2,
    "blem_rows": 200,
}
CONTRACT = {
    "gmm25_tuned_full_coverage_share",
    "gmm25_tuned_kl_pq_median",
    "gmm2_joint_spurious_minima",
    "gmm2_conditional_spurious_minima",
    "blem_gmm25_kl_qp",
    "em_gmm25_kl_qp",
}


def stage(root, **changes) -> dict[str, float]:
    return run(merge_params({"seed": changes.pop("seed", 0), "simulate": TINY | changes}), Paths(root))


def contents(where: Paths) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in where.data.rglob("*") if p.is_file()}


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf8").splitlines()))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulate")
    return Paths(root), stage(root)


def test_metrics_are_flat_numbers_with_the_agreed_names(done):
    where, metrics = done
    stored = json.loads((where.metrics / "simulate.json").read_text(encoding="utf8"))
    assert stored == metrics and set(metrics) >= CONTRACT
    assert all(isinstance(value, int | float) and np.isfinite(value) for value in metrics.values())
    assert metrics["gmm2_joint_spurious_minima"] == 2 and metrics["gmm25_tuned_steps"] == 200


def test_every_figure_is_drawn_and_captioned(done):
    where, _ = done
    folder = where.plots / "simulate"
    captions = json.loads((folder / "captions.json").read_text(encoding="utf8"))
    assert set(captions) == set(FIGURES) == {p.name for p in folder.iterdir() if p.suffix in (".png", ".gif")}
    for name, entry in captions.items():
        assert entry["title"] and entry["caption"].endswith("."), name
        with Image.open(folder / name) as image:
            assert min(image.size) > 150, name
            assert getattr(image, "n_frames", 1) == (TINY["animation_frames"] if name.endswith(".gif") else 1)


def test_tables_hold_a_row_per_seed(done):
    where, metrics = done
    for name in ("gmm25_covered_modes", "gmm25_kl_pq", "gmm25_kl_qp", "blem_kl_qp"):
        table = rows(where.plots / "simulate" / f"{name}.csv")
        assert [row["seed"] for row in table] == ["0", "1"], name
    table = rows(where.plots / "simulate" / "gmm25_covered_modes.csv")
    assert all(row["paper"] == row["joint"] == "" for row in table)
    mean = np.mean([int(row["tuned"]) for row in table])
    assert mean == metrics["gmm25_tuned_modes_mean"]
    assert {row["schedule"] for row in rows(where.simulations / "gmm25.csv")} == {"tuned"}
    assert np.load(where.simulations / "gmm25_tuned.npy").shape == (2, 5, COMPONENTS)
    assert np.load(where.simulations / "gmm2_conditional.npy").shape == (6, 21, 21)
    assert np.load(where.simulations / "blem_em_covariances.npy").shape == (2, COMPONENTS, 2, 2)


def test_no_number_depends_on_threads_frames_or_the_other_seeds(done, tmp_path):
    where, _ = done
    stage(tmp_path, threads=1, figures=False, animation_frames=2, seeds=1)
    again = Paths(tmp_path)
    assert not list((again.plots / "simulate").glob("*.png"))
    for name in ("gmm25_tuned", "blem_em_means", "blem_blem_covariances"):
        one, two = (np.load(p.simulations / f"{name}.npy") for p in (again, where))
        np.testing.assert_array_equal(one, two[:1], err_msg=name)


def test_another_root_seed_shares_no_run(tmp_path):
    stage(tmp_path, figures=False, seed=1)
    seeds = [int(row["seed"]) for row in rows(Paths(tmp_path).plots / "simulate" / "gmm25_kl_pq.csv")]
    assert seeds == [SEED_STRIDE, SEED_STRIDE + 1]


def test_a_failing_run_leaves_the_last_results_alone(done, monkeypatch):
    where, _ = done
    before = contents(where)
    monkeypatch.setattr("pipeline.simulate.write_gallery", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(merge_params({"seed": 5, "simulate": TINY}), where)
    assert contents(where) == before


def test_states_are_the_kept_ones_nearest_to_a_step():
    schedule = tuned_schedule(merge_params({"simulate": TINY}).simulate)
    at = kept_iterations(schedule, frames=5)
    assert at[0] == 0 and at[-1] == schedule.outer and list(at) == sorted(set(at))
    assert frame_steps(5, 200) == [0, 12, 50, 112, 200]
    course = Course(schedule, [], at)
    assert course.steps([0, 49, 10**6]) == [0, 50, 200]
    assert max(PANEL_STEPS) == 120_000
