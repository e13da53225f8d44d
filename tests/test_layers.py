"""Dependencies point down: read from the imports of every module, not from good intentions."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import from its own layer and from those after it.
LAYERS = [
    {"app", "__main__", "commands"},
    {"stages"},
    {"embedded", "report", "engine", "grams", "tasks", "grading", "rl", "metrics", "text"},
    {"config"},
    {"core"},
]
# Modules that every command loads on its way to `--help` or to an error must stay light.
HEAVY = {
    "torch", "transformers", "datasets", "accelerate", "sqlite_utils", "pyarrow", "google", "math_verify",
    "tokenizers", "vllm", "huggingface_hub", "sympy", "safetensors", "numpy",
}  # fmt: skip
LIGHT = ("hicra_cli.app", "hicra_cli.__main__", "hicra_cli.commands", "hicra_cli.config", "hicra_cli.core.errors",
         "hicra_cli.core.output", "hicra_cli.core.progress", "hicra_cli.core.runlog")  # fmt: skip
LATE = {"hicra_cli.commands.asking"}  # imported by a command's body, together with its stage
# rl and metrics know tensors and numbers, not engines, the registry or the root of the configuration.
PURE = ("hicra_cli.rl", "hicra_cli.metrics")
NOT_FOR_PURE = ("hicra_cli.engine", "hicra_cli.core.registry", "hicra_cli.config.root")


@cache
def imports():
    """For each of our modules: {imported module of any kind: is it imported at module level, at run time?}."""
    found = {}
    for folder, package in ((ROOT / "hicra_cli", "hicra_cli"), (ROOT / "stages", "hicra_cli.stages")):
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = _imports_of(path, name if is_package else name.rpartition(".")[0])
    return found


def _imports_of(path, package):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    at_import = set(_module_level(tree))
    result: dict[str, bool] = {}
    for node in ast.walk(tree):
        for name in _names(node, package):
            early = node in at_import and node not in for_types
            result[name] = result.get(name, False) or early
    return result


def _module_level(node):
    """Nodes that run when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _module_level(child)


def _names(node, package):
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
        module = ".".join(part for part in (base, node.module or "") if part)
        return [module, *(f"{module}.{each.name}" for each in node.names)]
    return []


def ours(module):
    """Our own imports of a module, as module names that exist; with whether they run at import."""
    known = imports()
    return {name: early for name, early in known[module].items() if name in known and name != module}


def area(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def layer(module):
    return next((number for number, areas in enumerate(LAYERS) if area(module) in areas), None)


def test_every_module_has_a_layer():
    assert [module for module in imports() if module != "hicra_cli" and layer(module) is None] == []


def test_no_module_imports_a_higher_layer():
    wrong = [
        f"{module} imports {name}"
        for module in imports()
        if layer(module) is not None
        for name in ours(module)
        if layer(name) is not None and layer(name) < layer(module)
    ]
    assert wrong == []


def test_there_are_no_cycles():
    graph = {module: [name for name, early in ours(module).items() if early] for module in imports()}
    done: set[str] = set()
    path: list[str] = []

    def visit(module):
        if module in path:
            raise AssertionError(" → ".join([*path[path.index(module) :], module]))
        if module not in done:
            path.append(module)
            for name in graph[module]:
                if not module.startswith(f"{name}."):  # a package's own __init__ runs before its modules
                    visit(name)
            path.pop()
            done.add(module)

    for module in graph:
        visit(module)


def test_areas_of_one_layer_form_no_cycle():
    edges = {
        (area(module), area(name))
        for module in imports()
        for name, early in ours(module).items()
        if early and layer(module) is not None and layer(module) == layer(name) and area(module) != area(name)
    }
    assert [pair for pair in edges if pair[::-1] in edges and "__main__" not in pair] == []


def test_core_imports_nothing_of_ours_above_it():
    for module in imports():
        if area(module) == "core":
            assert all(area(name) == "core" for name in ours(module) if area(name)), module


def test_rl_and_metrics_know_neither_engines_nor_registry():
    for module in imports():
        if module.startswith(PURE):
            assert [name for name in imports()[module] if name.startswith(NOT_FOR_PURE)] == [], module


def test_nobody_imports_a_second_copy_of_stages_or_configs():
    for module, names in imports().items():
        assert [name for name in names if name.split(".")[0] in ("stages", "configs", "tests")] == [], module


def test_only_output_prints():
    allowed = {"hicra_cli.core.output", "hicra_cli.app"}
    for folder, package in ((ROOT / "hicra_cli", "hicra_cli"), (ROOT / "stages", "hicra_cli.stages")):
        for path in folder.rglob("*.py"):
            name = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
            if name in allowed or "worker" in name or name.endswith(("build", "__main__")):
                continue
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not [call for call in calls if ast.unparse(call.func) in ("print", "sys.stdout.write")], name


@pytest.mark.parametrize("start", LIGHT)
def test_light_modules_import_nothing_heavy(start):
    known = imports()
    todo = [module for module in known if (module == start or module.startswith(f"{start}.")) and module not in LATE]
    seen = set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for name, early in known[module].items():
            if early:
                assert name.split(".")[0] not in HEAVY, f"{module} imports {name} (reached from {start})"
                if name in known:
                    todo.append(name)


def test_help_loads_no_heavy_library():
    program = (
        "import sys; sys.argv = ['hicra', '--help']\n"
        "from hicra_cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"heavy = {sorted(HEAVY | {'pydantic', 'rich.console', 'ruamel'})!r}\n"
        "print(sorted(set(heavy) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "Usage: hicra" in done.stdout
