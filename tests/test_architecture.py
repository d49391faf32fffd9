"""The package's modules import one another without circles; imports inside functions count, those
for types do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import leukobench

ROOT = Path(leukobench.__file__).parent


def modules(root: Path) -> dict[str, Path]:
    """File of each module of a package by dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def runtime_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run, at whatever depth; not those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from runtime_imports(ast.Module([other], []))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            yield from runtime_imports(node)


def graph(root: Path) -> dict[str, set[str]]:
    """Modules of the package that each module imports; a package that it only passes through does
    not count.
    """
    files = modules(root)
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        wanted = []
        for node in runtime_imports(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted += [alias.name for alias in node.names]
                continue
            base = node.module or ""
            if node.level:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                wanted.append(inner if inner in files else base)
        edges[name] = {w for w in wanted if w in files and w != name}
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules of which each imports, perhaps through others, every other one."""
    reached = {}
    for start in edges:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for target in edges[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        reached[start] = seen
    groups = set()
    for start, seen in reached.items():
        group = frozenset({start, *(m for m in seen if start in reached[m])})
        if start in seen:
            groups.add(group)
    return sorted(sorted(group) for group in groups)


def test_no_modules_import_one_another_in_a_circle() -> None:
    edges = graph(ROOT)
    lines = []
    for group in circles(edges):
        for module in group:
            listed = ", ".join(sorted(edges[module] & set(group)))
            lines.append(f"{module} imports {listed}")
    assert not lines, "modules import one another in a circle:\n" + "\n".join(lines)


def test_a_circle_through_a_function_is_found_and_one_through_types_is_not(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from toy import b\n")
    (package / "b.py").write_text("def f():\n    from .c import g\n")
    (package / "c.py").write_text("def h():\n    import toy.a\n")
    (package / "d.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.e import x\n"
    )
    (package / "e.py").write_text("import toy.d\n")
    assert circles(graph(package)) == [["toy.a", "toy.b", "toy.c"]]


def test_the_core_does_not_import_simulation() -> None:
    edges = graph(ROOT)
    found = []
    for module, targets in edges.items():
        inside = module.startswith("leukobench.simulation")
        if not inside and any(t.startswith("leukobench.simulation") for t in targets):
            found.append(module)
    assert [m for m in found if not m.startswith("leukobench.cli")] == []


FAMILY_CLASSES = {
    "ExpressionDataset",
    "ExpressionPreprocess",
    "FittedExpression",
    "ImageDataset",
    "ImageFeed",
    "ImagePreprocess",
}
FAMILY_NAMES = {"expression", "image"}


def asks_for_family(node: ast.AST) -> bool:
    """Whether code asks which family data are of: by a class, or by a name of its own."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
        return any(ast.unparse(n) in FAMILY_CLASSES for n in ast.walk(node))
    if isinstance(node, ast.Compare) and "family" in ast.unparse(node.left):
        found = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
        return bool(FAMILY_NAMES.intersection(map(str, found)))
    return False


def test_only_the_file_of_a_family_knows_which_family_it_is() -> None:
    own = ("leukobench.data.families.", "leukobench.training.families.")
    found = []
    for module, path in modules(ROOT).items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = [n.lineno for n in ast.walk(tree) if asks_for_family(n)]
        if not module.startswith(own):
            found += [f"{module}:{line}" for line in lines]
    assert found == [], "what depends on the family belongs in its file"


def test_each_family_of_data_has_a_file_for_training() -> None:
    names = {path.stem for path in (ROOT / "data" / "families").glob("[a-z]*.py")}
    assert names == {path.stem for path in (ROOT / "training" / "families").glob("[a-z]*.py")}
