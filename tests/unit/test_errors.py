"""docs/errors.md has every message of the package, and no other; and every error is of one family."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hypothesis import settings

from acdc_medsam import errors

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow/scripts/acdc_medsam"
FAMILY = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
DOCUMENT = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (.*)$", DOCUMENT, re.MULTILINE)
GAP = "\u2026"
"""Stands for whatever is inserted into a message."""

NOT_FOR_USERS = {
    *("ValueError", "KeyError", "AttributeError", "ModuleNotFoundError", "URLError", "OSError"),
    *("CompressedError", "InterruptedTransfer", "KeyboardInterrupt"),
    *("ClickException", "UsageError"),
}
"""Errors for mistakes of the caller, errors that are caught again, errors of the operating system, and those that click
shows: mistakes in the arguments, and other errors of the family."""


def text_of(node: ast.expr) -> str:
    """Text that an expression builds, with GAP for everything that is not written in the source."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return GAP


def name_of(node: ast.expr) -> str:
    """Name of a variable or attribute: ``c`` for ``c`` and for ``a.b.c``; nothing for any other expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@cache
def nodes(source: Path) -> list[ast.AST]:
    """All nodes of the syntax tree of a module."""
    return list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))


def calls(source: Path) -> list[ast.Call]:
    """All calls in a module."""
    return [node for node in nodes(source) if isinstance(node, ast.Call)]


def package_messages() -> Iterator[str]:
    """Messages that the package raises, and those of the problems that it lists."""
    for source in PACKAGE.rglob("*.py"):
        for call in calls(source):
            listed = name_of(call.func) == "append" and "problems" in ast.unparse(call.func)
            if call.args and (name_of(call.func) in FAMILY or (listed and source.parent.name == "acdc")):
                yield text_of(call.args[0])


@cache
def templates() -> set[str]:
    found = {" ".join(text.split()) for text in package_messages()}
    return {text for text in found if re.search(r"[a-z]{3}", text)}


def start_of(text: str) -> str:
    """The message without the names of patient and file at its beginning."""
    return re.sub(rf"^[{GAP}:. ]+", "", text)


def headings_of(template: str) -> list[str]:
    """Headings of the document that a message falls under."""
    return [heading for heading in HEADINGS if start_of(template).startswith(start_of(heading))]


def test_there_are_messages_to_look_for() -> None:
    assert len(templates()) > 70
    assert any("Mend these patients" in text for text in templates()), "those that the rules show too"


def test_the_rules_have_no_messages_of_their_own() -> None:
    """What they refuse is said by functions of the package, which tests can call."""
    for source in (ROOT / "workflow/rules").glob("*.smk"):
        assert not re.search(r"logger\.error\((?!\"stopping)|\braise\b|sys\.exit", source.read_text(encoding="utf-8"))


def test_every_message_is_in_the_document() -> None:
    assert [text for text in sorted(templates()) if not headings_of(text)] == []


def test_every_entry_is_a_message_and_says_what_to_do() -> None:
    used = {heading for text in templates() for heading in headings_of(text)}
    assert [heading for heading in HEADINGS if heading not in used] == []
    assert len(HEADINGS) == len(set(HEADINGS))
    for entry in re.split(r"^### ", DOCUMENT, flags=re.MULTILINE)[1:]:
        heading, *body = entry.split("\n")
        assert len(" ".join(body).strip()) > 10, heading


def test_no_message_is_written_twice() -> None:
    texts = [" ".join(text.split()) for text in package_messages()]
    long = [text for text in texts if len(text) > 30]
    assert sorted(long) == sorted(set(long))


def test_only_errors_of_the_family_are_raised_to_users() -> None:
    for source in PACKAGE.rglob("*.py"):
        for node in nodes(source):
            if isinstance(node, ast.Raise) and node.exc is not None:
                kind = name_of(node.exc.func) if isinstance(node.exc, ast.Call) else name_of(node.exc)
                assert kind in FAMILY | NOT_FOR_USERS, f"{source.name}:{node.lineno}"
    assert all(issubclass(getattr(errors, name), errors.AcdcError) for name in FAMILY)


def keyword(call: ast.Call, name: str) -> object:
    """Value of a keyword argument that is a constant, otherwise None."""
    values = [word.value for word in call.keywords if word.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def test_nothing_that_is_read_can_run_code() -> None:
    """Neither the package nor the scripts unpickle data, evaluate text or use a shell."""
    loads = 0
    for source in [*(ROOT / "workflow/scripts").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        for call in calls(source):
            function = ast.unparse(call.func)
            location = f"{source.name}:{call.lineno}"
            if function == "torch.load":
                loads += 1
                assert keyword(call, "weights_only") is True, location
            if function in ("np.load", "numpy.load"):
                assert keyword(call, "allow_pickle") is False, location
            assert function not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen"), location
            assert not function.startswith(("pickle.", "marshal.", "shelve.", "dill.", "joblib.")), location
            assert not keyword(call, "shell"), location
    assert loads >= 3
    for rules in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        text = rules.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(shell|run|wrapper|notebook):|\bshell\(|os\.system|shell=True|eval\(", text, re.M)


def test_the_command_for_many_cases_tries_as_many_as_stated() -> None:
    command = re.search(r"^python -m pytest (\S+) --hypothesis-profile=(\w+)$", DOCUMENT, re.MULTILINE)
    assert command is not None and "more than 50,000 cases" in DOCUMENT
    functions = [node for node in nodes(ROOT / command[1]) if isinstance(node, ast.FunctionDef)]
    decorators = [
        [name_of(call.func) for call in node.decorator_list if isinstance(call, ast.Call)] for node in functions
    ]
    few = sum("FEW" in map(name_of, node.decorator_list) for node in functions)
    tried = sum("given" in names for names in decorators) - few
    assert tried * settings.get_profile(command[2]).max_examples > 50_000
