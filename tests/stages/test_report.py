"""Stage report: a page that needs nothing else, from whatever the other stages left."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.base import stage
from pipeline.base.files import write_bytes, write_json, write_text
from pipeline.base.machine import hardware, source_state, versions
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.report import content, render, run
from pipeline.reporting import charts, page_pictures, sections
from pipeline.reporting.sheets import png

PIXEL = png(np.full((2, 2, 3), 200, np.uint8))
EVALUATE = {
    "fid": 3.0, "fid_real": 1.5, "image_to_label_accuracy": 0.97, "image_to_label_accuracy_nearest": 0.98,
    "half_completion_accuracy": 0.8, "half_svm_draw_accuracy": 0.84, "min_class_share": 0.07,
}  # fmt: skip
TRAIN = {"steps": 8000, "wall_s": 301.5, "images_per_s": 1700.2, "peak_rss_mb": 812.0, "resumed_at_step": 0}


class Page(HTMLParser):
    """What a browser would load and link to, and whether every element is closed in order."""

    VOID = {"meta", "link", "img", "br", "hr"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads, self.links, self.ids, self.images, self.text, self.open = [], [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.loads += [v for k, v in attributes if k in ("src", "srcset", "data", "poster")]
        if tag == "link":
            self.loads.append(found["href"])
        if tag == "a":
            self.links.append(found["href"])
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "img":
            self.images.append(found)
        assert tag != "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def build_project(root) -> Paths:
    """Results of every stage but simulate."""
    where = Paths(root)
    write_json(where.metrics / "evaluate.json", EVALUATE)
    write_json(where.metrics / "train.json", TRAIN)
    write_json(where.metrics / "tasks.json", {"share_joint": 0.4})
    write_json(where.times / "train.json", {"wall_s": 305.25, "ended": "2026-11-26 10:00:00 UTC"})
    for name in ("evaluate/joint.png", "evaluate/completions.png", "evaluate/completion.png", "tasks/examples.png"):
        write_bytes(where.plots / name, PIXEL)
    for step in (2000, 4000, 6000, 8000, 10000):
        write_bytes(where.models / "progress" / f"step-{step:08d}.png", PIXEL)
    curve = "".join(f"{k}\t{1 / k:.4f}\n" for k in range(1, 40))
    for name in ("discriminator_loss", "generator_loss", "r1", "discriminator_accuracy_joint", "steps_per_s"):
        write_text(where.plots / "train" / "plots" / "metrics" / f"{name}.tsv", f"step\t{name}\n{curve}")
    tasks = "task,method,accuracy,label_accuracy,rmse,diversity,energy_score\n"
    tasks += "half,generator,0.8,0.79,0.25,0.1,\nhalf,nearest,0.9,0.9,0.24,,\ns25,generator,0.5,0.5,0.3,0.1,\n"
    write_text(where.plots / "evaluate" / "tasks.csv", tasks)
    write_json(
        where.tokens / "summary.json", {"train_rows": 1438, "test_rows": 359, "tokens": 17, "train_sha256": "ab12"}
    )
    return where


def page_of(where: Paths, **changes: object) -> Page:
    run(merge_params(changes), where)
    return Page((where.report / "index.html").read_text("utf8"))


@pytest.fixture
def project(tmp_path) -> Paths:
    return build_project(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Page, Paths]:
    """The page of that project with default parameters."""
    where = build_project(tmp_path_factory.mktemp("project"))
    return page_of(where), where


def test_the_page_loads_nothing_from_elsewhere(written):
    page, project = written
    assert page.open == []
    assert page.loads and all(u.startswith("data:") for u in page.loads)
    html = (project.report / "index.html").read_text("utf8")
    assert not re.search(r"url\(|@import", html), "styles load nothing either"
    assert [p.name for p in project.report.iterdir()] == ["index.html"]


def test_every_picture_is_inlined_with_a_text_for_those_who_do_not_see_it(written):
    page, _ = written
    assert len(page.images) == 4 + 4 + 4  # plots, sample grids of the training, kinds of curves
    assert all(len(image["alt"]) > 10 for image in page.images)
    payloads = [base64.b64decode(image["src"].split(",", 1)[1]) for image in page.images]
    assert payloads.count(PIXEL) == 8 and sum(b"<svg" in p for p in payloads) == 4


def test_the_contents_lead_to_sections_that_exist(written):
    page, _ = written
    assert page.links and all(link[1:] in page.ids for link in page.links)
    assert len(set(page.ids)) == len(page.ids)


def test_headline_numbers_stand_beside_what_to_compare_them_with(written):
    words = written[0].words
    for text in ("97.0", "nearest neighbour 98.0", "SVM's posterior 84.0", "real rows 1.5, 2.0 times that"):
        assert text in words.replace("\N{NARROW NO-BREAK SPACE}%", "").replace("\N{NARROW NO-BREAK SPACE}", ""), text


def test_tables_curves_parameters_and_provenance_are_there(project):
    words = page_of(project, report={"title": "A <run> & more"}, train={"lr": 0.5}).words
    for text in (
        *("A <run> & more", "Rest from the upper half", "Losses", "Gradient penalties", "step 10000", "ab12", "305.2"),
        *("(1 changed)", "Adam step size of the discriminator", "image_to_label_accuracy", "scikit-learn"),
        hardware()["processor"],
    ):
        assert text in words, text
    assert "step 6000" not in words, "four sample grids at most, first and last included"


def test_rows_of_a_table_are_shown_where_there_is_no_image(tmp_path):
    where = Paths(tmp_path)
    folder = where.plots / "evaluate"
    folder.mkdir(parents=True)
    write_text(folder / "rows.csv", "which rows,age,<job>\ndrawn,41,clerk & co\nheld out,,cook\n")
    write_text(folder / "tasks.csv", "task,method,accuracy,label_accuracy,rmse,diversity,energy_score\n")
    write_text(where.metrics / "evaluate.json", "{}")
    page = page_of(where)
    assert page.open == []
    for text in ("which rows", "<job>", "41", "clerk & co", "Rows drawn whole from the model"):
        assert text in page.words, text
    assert "Conditional tasks" not in page.words and "hold no image" not in page.words


def test_stages_that_did_not_run_are_named(written):
    words = written[0].words
    assert "The stage simulate has not run: its results are missing from this page." in words
    assert "The stage train has not run" not in words


def test_a_page_of_nothing_says_so(tmp_path):
    page = page_of(Paths(tmp_path))
    assert page.open == [] and page.images == []
    for name in ("tasks", "simulate", "train", "evaluate"):
        assert f"The stage {name} has not run: its results are missing" in page.words
    assert "No stage has left metrics." in page.words and "there is no data hash" in page.words


def test_captions_of_a_folder_win_and_order_its_pictures(tmp_path):
    for name in ("b.png", "a_b-c.gif", "z.png", "notes.txt", ".hidden.png"):
        write_bytes(tmp_path / "simulate" / name, PIXEL)
    captions = {"b.png": {"title": "B & b", "caption": "More.", "order": 1}, "z.png": {"title": "Z", "order": 0}}
    write_json(tmp_path / "simulate" / "captions.json", captions)
    found = page_pictures.pictures(tmp_path / "simulate")
    assert list(found) == ["z.png", "b.png", "a_b-c.gif"]
    assert found["b.png"].title == "B & b" and found["b.png"].alt == "B & b. More."
    assert found["a_b-c.gif"].title == "a b c" and found["a_b-c.gif"].uri.startswith("data:image/gif;base64,")


def test_a_failed_page_leaves_the_old_one(project, monkeypatch):
    write_text(project.report / "index.html", "old")
    write_text(project.metrics / "train.json", "{broken")
    with pytest.raises(json.JSONDecodeError):
        run(merge_params({}), project)
    assert (project.report / "index.html").read_text() == "old"


def test_names_from_the_outside_cannot_inject_markup(project):
    write_json(project.metrics / "tasks.json", {"<script>alert(1)</script>": 1.0})
    html = render(content(merge_params({}), project))
    assert "<script" not in html and "&lt;script&gt;" in html


def test_long_curves_are_thinned(tmp_path):
    path = tmp_path / "loss.tsv"
    path.write_text("step\tloss\n" + "".join(f"{k}\t{k}\n" for k in range(5000)))
    steps, values = page_pictures._series(path)
    assert steps == values and len(steps) <= page_pictures.CURVE_POINTS + 20 and steps[0] == 0


def test_numbers_for_people():
    thin = "\N{NARROW NO-BREAK SPACE}"
    assert [sections.number(v) for v in (8000, 1.5, 0.000123456, 12345.678, -0.07407)] == [
        *(f"8{thin}000", "1.5", "0.0001235", "1.235e+04", "-0.07407")
    ]
    assert sections.percent(0.0721) == f"7.2{thin}%"


def test_source_state_with_and_without_git(tmp_path):
    assert "not in a git repository" in source_state(tmp_path)

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    git("init", "-q")
    assert "nothing committed yet" in source_state(tmp_path)
    write_text(tmp_path / "code.py", "1")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = source_state(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{12}", commit)
    write_text(tmp_path / "data" / "metrics" / "train.json", "{}")
    write_text(tmp_path / "dvc.lock", "")
    assert source_state(tmp_path) == commit, "what dvc repro rewrites is a result, not a change of the source"
    write_text(tmp_path / "code.py", "2")
    assert source_state(tmp_path) == f"{commit} with uncommitted changes"


def test_a_stage_that_ends_well_leaves_its_wall_time(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGLEARN_ROOT", str(tmp_path))
    monkeypatch.setattr(stage, "die_with_parent", lambda: None)  # it would bind the test run to its parent
    monkeypatch.setattr("sys.argv", ["train"])
    write_text(tmp_path / "params.yaml", "seed: 1")
    where = Paths(tmp_path)

    def fails(params, where):
        raise ValueError("no")

    with pytest.raises(SystemExit):
        stage.run_stage("train", fails)
    assert sections.wall_times(where) == []
    stage.run_stage("train", lambda params, where: None)
    [(name, seconds, ended)] = sections.wall_times(where)
    assert name == "train" and 0 <= float(seconds) < 60 and ended.endswith("UTC")


def test_facts_about_the_machine():
    assert set(hardware()) == {"processor", "cores", "memory", "gpu", "system"}
    assert int(hardware()["cores"]) >= 1 and {"Python", "torch", "numpy"} <= set(versions())


def test_equal_charts_are_equal_files():
    def draw():
        return charts.lines({"": {"a": ([1, 2], [3, 4]), "b": ([1, 2], [4, 3])}}, "step")

    assert charts.svg(draw()) == charts.svg(draw())
    assert charts.png(draw()) == charts.png(draw())
