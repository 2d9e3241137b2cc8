"""Rewrites the code entries of `deps` in dvc.yaml from the import graph. Run: make deps

DVC calls a stage up to date when a module it does not list has changed; this lists the rooms of them all.
"""

from __future__ import annotations

from ruamel.yaml import YAML

from tests.helpers.imports import ROOT, module_files, reachable


def code_dependencies(stage: str) -> list[str]:
    """Paths of what the stage `stage` loads: its own file, rooms of the pipeline, folders of kernels."""
    paths = set()
    for name in reachable(f"pipeline.{stage}"):
        path = module_files()[name].relative_to(ROOT)
        paths.add("/".join(path.parts[:2]))
    return sorted(paths)


def is_code(dependency: str) -> bool:
    """Whether an entry of `deps` is code of this repository, and not data."""
    return dependency.startswith(("kernels/", "pipeline/"))


def main() -> None:
    """Rewrites dvc.yaml in place; comments stay."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 200, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    document = yaml.load(path)
    for name, stage in document["stages"].items():
        data = [d for d in stage["deps"] if not is_code(str(d))]
        stage["deps"] = code_dependencies(name) + data
    with open(path, "w", encoding="utf8") as stream:
        yaml.dump(document, stream)


if __name__ == "__main__":
    main()
