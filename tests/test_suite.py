"""The test suite itself."""

import ast
import pathlib

LONGEST = 60


def test_names_of_tests_have_at_most_60_characters():
    names = [
        (path, node.name.removeprefix("test_"))
        for path in pathlib.Path(__file__).parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 500
    long = [f"{path.name}: {name}" for path, name in names if len(name) > LONGEST]
    assert not long, "\n".join(long)
