import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from acdc_medsam.runtime import code_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "acdc_medsam"
    (folder / "encoders").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "files.py": "import os",
        "embed.py": "def f():\n    from acdc_medsam.encoders.vit import g",
        "report.py": "from acdc_medsam import files",
        "encoders/__init__.py": "",
        "encoders/vit.py": "import acdc_medsam.files",
    }.items():
        (folder / name).write_text(text)
    (tmp_path / "embed.py").write_text("from acdc_medsam.embed import f")
    (tmp_path / "report.py").write_text("from acdc_medsam.report import r")
    monkeypatch.setattr(code_hash, "PACKAGE", folder)
    # Modules are remembered by their names.
    forget()
    yield folder
    forget()


def forget() -> None:
    """Forget what is remembered of modules, as in a new run."""
    code_hash.imported_modules.cache_clear()
    code_hash._module_files.cache_clear()


@pytest.mark.parametrize(
    ("edited", "changes"),
    [("report.py", {"report"}), ("encoders/vit.py", {"embed"}), ("files.py", {"embed", "report"}), ("new.py", set())],
)
def test_an_edited_module_changes_the_hash_of_its_users(package: Path, edited: str, changes: set[str]) -> None:
    scripts = {name: package.parent / f"{name}.py" for name in ("embed", "report")}
    before = {name: code_hash.code_hash(script) for name, script in scripts.items()}
    (package / edited).write_text("edited = True")
    forget()
    after = {name: code_hash.code_hash(script) for name, script in scripts.items()}
    assert {name for name in scripts if before[name] != after[name]} == changes


def parsed_imports(source: Path) -> set[Path]:
    """Imports of a source file as Python's own parser finds them."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in names for path in code_hash._module_files(name)}


def test_imports_are_those_that_the_parser_finds() -> None:
    sources = list(Path(code_hash.__file__).parents[2].rglob("*.py"))
    assert len(sources) > 100
    for source in sources:
        assert code_hash.imported_modules(source) == parsed_imports(source), source


@pytest.mark.parametrize(
    "text",
    [
        "import acdc_medsam.files, os  # both",
        "if True:\n    import os, acdc_medsam.files as f",
        "from acdc_medsam import (\n    embed,  # why\n    files as f,\n)",
        "from acdc_medsam.encoders import vit as v, nothing  # comment",
        "from  acdc_medsam.encoders.vit  import  (g)",
        "important = 1\nimport_all = 2\nx = 'import'",
    ],
)
def test_imports_of_any_form_are_found(package: Path, text: str) -> None:
    source = package / "new.py"
    source.write_text(text)
    assert code_hash.imported_modules(source) == parsed_imports(source)


def test_the_hash_of_a_module_covers_the_module_and_what_it_uses(package: Path) -> None:
    module = package / "encoders/vit.py"
    assert code_hash.used_modules(module) == {module, package / "files.py"}
    assert module not in code_hash.used_modules(package / "report.py")


def test_stages_depend_on_the_modules_that_they_use_alone() -> None:
    scripts = Path(code_hash.__file__).parents[2]
    stages = ("normalize", "render", "embed", "split", "publish", "verify", "measure", "report")
    used = {
        stage: {str(path.relative_to(code_hash.PACKAGE)) for path in code_hash.used_modules(scripts / f"{stage}.py")}
        for stage in stages
    }
    assert [stage for stage in used if "report/page.py" in used[stage]] == ["report"]
    assert [stage for stage in used if "measures/run.py" in used[stage]] == ["measure"]
    assert {f"report/{path.name}" for path in (scripts / "acdc_medsam/report").glob("[!_]*.py")} <= used["report"]
    assert [stage for stage in used if "stages/normalize.py" in used[stage]] == ["normalize"]
    assert {"stages/embed.py", *(f"encoders/{name}.py" for name in ("registry", "vit", "tiny_vit"))} <= used["embed"]
