"""The dashboard of docs/architecture.md: how easy the code is to walk through, in figures.

python tests/dashboard.py            count, and write the table into the document
python tests/dashboard.py --check    count, and exit with 1 where the document says otherwise
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "asr_llm"
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- make figures: begin -->\n", "<!-- make figures: end -->\n"

LAYERS = (
    {"errors", "version", "defaults", "files", "text_files", "yaml_lines", "progress"},
    {"corpus"},
    {"sequences"},
    {"recipe"},  # names sources, each of which builds its sequences
    {"model"},
    {"decoding"},
    {"training", "transcription", "evaluation"},  # a teacher's answers are decoded
    {"jobs", "serving"},  # and every other file at the top
    {"cli"},
)
JOBS = 7
APART = {"decoding", "training", "transcription", "evaluation"}
"""Neighbours on a layer that import nothing from each other."""
EVALUATION_IMPORTS = (
    "errors",
    "files",
    "text_files",
    "yaml_lines",
    "corpus.text.normalizers",
    "corpus.terms.phrases",
    "evaluation",
)

# By hand: from the command to the network. Each is a file and a function in it; that the file
# still has it is checked.
ADAPT = """
cli/adapt.py adapt
jobs/adapt.py adapt
training/train.py train
training/fit.py training_step
model/salm.py losses
"""
TRANSCRIBE = """
cli/transcribe.py transcribe
jobs/transcribe.py transcribe
transcription/speech_llm.py transcribe_many
transcription/pipeline.py pools
decoding/decoder.py decode
decoding/generate.py n_best
"""


def files() -> list[Path]:
    """The package's files, without the lazy names of ``asr_llm/__init__.py``."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module(path: Path) -> str:
    """A file's dotted name in the package: "corpus.domain.files"; of ``__init__`` the folder's."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def layer(name: str) -> int:
    """The index in LAYERS of a module; the package itself offers jobs."""
    part = name.split(".")[0]
    return next((i for i, parts in enumerate(LAYERS) if part in parts), JOBS)


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported of this package, at the top and inside functions; the package itself: ""."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            folder = PACKAGE.parent / node.module.replace(".", "/")
            names = [
                f"{node.module}.{a.name}" if folder.is_dir() else node.module for a in node.names
            ]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "asr_llm":
                inside = name.removeprefix("asr_llm").lstrip(".")
                yield "" if inside == "__version__" else inside


def upward(path: Path, tree: ast.AST) -> list[str]:
    """Imports against the rule, as "corpus.a <- model.b"."""
    source = module(path)
    part = source.split(".")[0]
    found = []
    for target in set(imports(tree)):
        other = target.split(".")[0]
        if part == "evaluation":
            wrong = not target.startswith(EVALUATION_IMPORTS)
        else:
            wrong = layer(target) > layer(source) or (
                other != part and {other, part} <= APART and layer(target) == layer(source)
            )
        if wrong:
            found.append(f"{source} <- {target or 'asr_llm'}")
    return found


def circles(trees: dict[Path, ast.Module]) -> list[set[str]]:
    """Files that import each other, directly or through others."""
    graph = networkx.DiGraph()
    modules = {module(path) for path in trees}
    for path, tree in trees.items():
        graph.add_edges_from((module(path), t) for t in imports(tree) if t in modules)
    return [found for found in networkx.strongly_connected_components(graph) if len(found) > 1]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller can give."""
    a = function.args
    names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def inside_functions(trees: dict[Path, ast.Module]) -> float:
    """Share of the import statements that stand inside functions."""
    kinds = (ast.Import, ast.ImportFrom)
    every = sum(isinstance(node, kinds) for tree in trees.values() for node in ast.walk(tree))
    inside = {
        (path, node.lineno)
        for path, tree in trees.items()
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, kinds)
    }
    return len(inside) / every


def hops(path: str, trees: dict[Path, ast.Module]) -> int:
    """Steps of a walk listed by hand.

    Raises:
        SystemExit: a file has no function of that name any more.
    """
    steps = path.strip().splitlines()
    for step in steps:
        file, name = step.split()
        tree = trees.get(PACKAGE / file)
        if tree is None or name not in {function.name for function in functions(tree)}:
            raise SystemExit(f"{__file__}: asr_llm/{file} has no {name}(); correct the walk there")
    return len(steps)


def figures() -> list[tuple[str, str, str]]:
    """Rows of the dashboard: what, the figure, the target."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in files()}
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in trees}
    longest = max(lengths, key=lengths.__getitem__)
    wide = [
        function.name
        for path, tree in trees.items()
        if not module(path).startswith("cli")
        for function in functions(tree)
        if parameters(function) >= 7
    ]
    against = [line for path, tree in trees.items() for line in upward(path, tree)]
    words = len((ROOT / "README.md").read_text("utf-8").split())
    return [
        ("hops from command to network, `adapt`", str(hops(ADAPT, trees)), "5"),
        ("hops from command to network, `transcribe`", str(hops(TRANSCRIBE, trees)), "6"),
        ("longest file, lines", f"{lengths[longest]} (`{longest.relative_to(PACKAGE)}`)", "≤ 350"),
        ("files over 300 lines", str(sum(n > 300 for n in lengths.values())), "≤ 4"),
        ("functions with 7 or more parameters, outside `cli/`", str(len(wide)), "≤ 6"),
        ("imports against the rule", str(len(against)), "0"),
        ("import circles", str(len(circles(trees))), "0"),
        ("imports inside functions", f"{inside_functions(trees):.0%}", "≤ 15%"),
        ("words in README.md", f"{words:,}", "≤ 900"),
    ]


def table() -> str:
    """The rows as Markdown."""
    rows = [f"| {what} | {figure} | {target} |\n" for what, figure, target in figures()]
    return "\n| | today | target |\n|---|---|---|\n" + "".join(rows) + "\n"


def main() -> None:
    """Write or check the table between the two marks of the document."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    old, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{DOCUMENT}: lacks the marks {BEGIN.strip()} and {END.strip()}")
    new = table()
    if "--check" in sys.argv and old != new:
        raise SystemExit(f"{DOCUMENT}: figures have changed; run: make figures")
    DOCUMENT.write_text(before + BEGIN + new + END + after, "utf-8")
    print(new.strip())


if __name__ == "__main__":
    main()
