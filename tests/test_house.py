"""House rules that a linter does not know: import direction, sizes, no pickle, no print outside the CLI."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "models", "training", "migrations", "benchmarks", "deploy", "descry_client")
ALLOWED = {
    "models": {"models"},
    "training": {"training", "models"},
    "app": {"app", "models", "migrations"},
    "migrations": {"migrations", "app"},
    "descry_client": {"descry_client"},
    "deploy": {"deploy"},
}
WORDS = {"errors", "events", "records", "recipe"}  # modules in the root of training whose types all its rooms share
LAYERS: dict[str, set[str]] = {  # of training, from the ground up: what a room imports besides WORDS stands above it
    "recipes": set(),
    "synthetic": set(),
    "datasets": set(),
    "processes": set(),
    "networks": set(),
    "captioning": {"datasets"},
    "descriptions": {"captioning"},
    "objectives": {"processes", "descriptions"},
    "methods": {"processes", "networks", "descriptions", "objectives"},
    "batches": {"processes", "datasets", "methods"},
    "evaluation": {"datasets"},
    "calibration": {"datasets", "evaluation"},
    "engine": {"processes", "networks", "datasets", "methods", "batches", "evaluation", "calibration"},
    "studies": {"synthetic", "datasets", "methods", "evaluation", "calibration", "engine"},
    "reports": {"datasets", "captioning", "objectives", "methods", "evaluation", "engine"},
    "commands": {"synthetic", "datasets", "descriptions", "evaluation", "engine", "studies"},
}
MOST_LINES, MOST_FUNCTION_LINES = 450, 60
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WRITTEN = ROOT / "descry_client" / "models.py"  # by `python -m app.reference`, and not read
PICKLES = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal")


def sources(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_point_one_way(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(room)
        for name in imports(ast.parse(path.read_text()))
        if name.split(".")[0] in {*ROOMS, "tests"} - ALLOWED[room]
    ]
    assert wrong == []


def test_the_check_on_imports_can_fail() -> None:
    tree = ast.parse("def f() -> None:\n    from training.engine import trainer\n")
    assert list(imports(tree)) == ["training.engine"]


def rooms_of_training(tree: ast.AST) -> Iterator[str]:
    """The rooms, or modules of its root, that a module of training imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "training":
            yield from (alias.name for alias in node.names)
    yield from (name.split(".")[1] for name in imports(tree) if name.startswith("training."))


@pytest.mark.parametrize("room", sorted(LAYERS))
def test_a_room_of_training_imports_what_stands_below_it(room: str) -> None:
    may = LAYERS[room] | ({"errors"} if room == "recipes" else WORDS) | {room}  # `recipe` is made of what is in recipes
    wrong = [
        f"{path.relative_to(ROOT)} imports training.{name}"
        for path in sources(f"training/{room}")
        for name in rooms_of_training(ast.parse(path.read_text()))
        if name not in may
    ]
    assert wrong == []


def test_the_rooms_of_training_stand_on_one_another() -> None:
    """Each names only rooms that are above it in the table, so that no two can need each other."""
    names = list(LAYERS)
    assert [(room, used) for i, room in enumerate(names) for used in LAYERS[room] - set(names[:i])] == []
    words = [(ROOT / "training" / f"{word}.py", word) for word in sorted(WORDS)]
    used = {(word, name) for path, word in words for name in rooms_of_training(ast.parse(path.read_text()))}
    assert used <= {("recipe", "recipes"), ("recipe", "errors")}


def test_the_table_names_every_room_of_training_and_none_has_one_file() -> None:
    files: dict[str, int] = {}
    for path in sources("training"):
        room = path.relative_to(ROOT / "training").parts[0].removesuffix(".py")
        files[room] = files.get(room, 0) + (path.name != "__init__.py")
    assert files.keys() == {*LAYERS, *WORDS, "cli", "__main__", "__init__"}
    assert [room for room in LAYERS if files[room] < 2] == []


def test_the_architecture_tells_the_rooms_of_training_in_this_order() -> None:
    told = (ROOT / "docs" / "architecture.md").read_text().split("\n## training", 1)[1].split("\n### ", 1)[0]
    assert re.findall(r"^\| `(\w+)/` \|", told, re.MULTILINE) == list(LAYERS)


def test_the_check_on_rooms_can_fail() -> None:
    tree = ast.parse("import training.cli\nfrom training import studies\nfrom training.engine.state import STATE\n")
    assert sorted(rooms_of_training(tree)) == ["cli", "engine", "studies"]


def test_models_know_no_database_and_no_http() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("models")
        for name in imports(ast.parse(path.read_text()))
        if name.split(".")[0] in {"sqlalchemy", "fastapi", "httpx", "starlette", "alembic", "faiss"}
    ]
    assert wrong == []


def test_the_client_needs_httpx_and_pydantic_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("descry_client")
        for name in imports(ast.parse(path.read_text()))
        if (root := name.split(".")[0]) not in {"descry_client", "httpx", "pydantic", "anyio"}
        and root not in sys.stdlib_module_names
    ]
    assert wrong == []


def test_nothing_loads_a_pickle() -> None:
    wrong = []
    for path in sources(*ROOMS):
        tree = ast.parse(path.read_text())
        wrong += [f"{path}: imports {name}" for name in imports(tree) if name.split(".")[0] in PICKLES]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.save"}:
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                wrong.append(f"{path}:{node.value.lineno}: allow_pickle")
    assert wrong == []


def test_files_and_functions_stay_short() -> None:
    wrong = []
    for path in [*sources(*ROOMS), *sorted((ROOT / "tests").rglob("*.py"))]:
        text = path.read_text()
        if (lines := text.count("\n")) > MOST_LINES and path != WRITTEN:
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, FUNCTIONS):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    assert wrong == []


def test_open_clip_is_imported_where_it_is_used() -> None:
    """It takes seconds, which every training process and every worker would pay that has `compact` alone."""
    heavy = {"open_clip", "models.backbones.clip", "models.backbones.attentive_clip", "models.backbones.routed_clip"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("app", "models", "training")
        if path.stem not in ("clip", "attentive_clip", "routed_clip")
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in imports(statement)
        if name.split(".")[0] == "open_clip" or name in heavy
    ]
    assert wrong == []


def test_who_shows_pictures_asks_what_may_be_seen() -> None:
    """Only what encodes, trains, keeps or makes thumbnails reads originals; all else goes through `Showing`."""
    may = {
        "app/gallery/showing.py",
        "app/gallery/remaking.py",
        "app/registry/encoding.py",
        "app/retraining/dataset.py",
        "app/explanations/service.py",  # the heat is that of the original; what it is laid over is `veiled`
        "app/backup/service.py",
        "app/subject/package.py",  # what is kept of a person, for that person
    }
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources("app")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("store.read", "store.path", "store.picture_path", "store.thumbnail_path"))
    }
    assert found - may == set()
    assert "app/gallery/showing.py" in found  # the check sees what it looks for


def test_device_and_seed_are_not_fixed_at_module_level() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("app", "models", "training")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).strip("'\"").startswith(("cuda", "torch.device"))
    ]
    assert wrong == []


def test_every_test_can_fail() -> None:
    """It asserts something, by itself or by a function of the tests that it calls."""
    trees = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    asserting: set[str] = set()
    grown = -1
    while grown != len(asserting):
        grown = len(asserting)
        asserting |= {node.name for node in functions if _asserts(node, asserting)}
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_") and not _asserts(node, asserting)
    ]
    assert wrong == []


def _asserts(node: ast.AST, asserting: set[str]) -> bool:
    parts = list(ast.walk(node))
    called = {_named(part.func) for part in parts if isinstance(part, ast.Call)}
    words = [part for part in parts if isinstance(part, ast.keyword)]
    return (
        any(isinstance(part, ast.Assert) for part in parts)
        or bool(called & {*asserting, "raises", "fail", "expect"})
        or any(name.startswith("assert_") for name in called)  # torch's and NumPy's
        or any(word.arg == "check" and ast.unparse(word.value) == "True" for word in words)  # subprocess.run
    )


def _named(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


def test_the_check_on_tests_can_fail() -> None:
    silent = ast.parse("def test_nothing() -> None:\n    value = 1 + helper(check=False)\n")
    assert not _asserts(silent, set())
    assert _asserts(silent, {"helper"})


def test_constraints_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert lines
    assert [line for line in lines if "://" in line or "==" not in line] == []


def test_what_is_written_from_the_api_is_up_to_date() -> None:
    from app.reference.written import COMMAND, written

    stale = [
        str(path.relative_to(ROOT)) for path, text in written().items() if not path.exists() or path.read_text() != text
    ]
    assert stale == [], f"the API or the client changed; `{COMMAND}` renews these files"
