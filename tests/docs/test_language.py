"""Refuse private words: the field has a name for each of these things."""

import io
import re
import tokenize

from tests.conftest import ROOT
from tests.docs.pages import FENCE, PAGES, name

WORDS = {
    r"\bOwns\b": "say what the module does",
    r"[Mm]ust not know\b": "tests/test_imports.py holds what a module may import",
    r"\bgames?\b": "GAN, model or training step",
    r"\bplayers?\b|\border of play\b": "network; order of updates",
    r"(?<!-)\brounds?\b(?![- ]trip|-robin| to | up| down|\()": "step",
    r"\b(?:a|an|the|this|that|each|every|one|two|per|between|by|of|from|last|first|next|any|in) looks?\b": "probe",
    r"\b(?:the|this|our) house\b": "package",
    r"\b(?:each|every|which|what|other|all) rooms?\b": "module",
    r"\bstrangers?\b": "untrusted",
    r"\bhangs? on\b": "depends on",
    r"\b(?:goes|go|going|went) on\b": "resumes, continues",
    r"\bjudg(?:e|es|ed|ing|ement)\b": "evaluate",
    r"\bby heart\b": "overfitting",
    r"\bthe same bits\b|\bto the bit\b": "bitwise identical, bit-exact",
    r"\b(?:[Bb]atch[- ]norm(?:'s)?|running|standing) moments\b": "batch-norm statistics",
    r"\b(?:seldom|anew|whoever)\b": "rarely; again; any process that",
    r"\bin vain\b": "false positive",
    r"\blies? in parts\b|\blaid upon\b": "is sharded; merged into",
}
"""Pattern to what to write instead."""
QUOTED = re.compile(r"`[^`\n]*`|\]\([^)]*\)|\"[^\"\n]*\"")
"""Names of flags, files and keys, and quotations, may hold any word."""


CODE = ["biggan_jax", "configs", "docs", "notebooks"]


def found_in(text):
    """(line number, the word, what to write instead) of each private word in prose."""
    for pattern, instead in WORDS.items():
        for match in re.finditer(pattern, text):
            yield text.count("\n", 0, match.start()) + 1, match[0], instead


def blank(match):
    """White space of as many lines as the match."""
    return " " + "\n" * match[0].count("\n")


def report(path, text):
    return [f"{name(path)}:{line}: {word!r}: write {instead}" for line, word, instead in sorted(found_in(text))]


def prose_of_code(text):
    """Comments, docstrings and sentences in strings, each on its line."""
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        sentence = token.type == tokenize.STRING and " " in token.string
        if token.type == tokenize.COMMENT or sentence or token.type == getattr(tokenize, "FSTRING_MIDDLE", None):
            for offset, line in enumerate(token.string.split("\n")):
                lines[token.start[0] - 1 + offset] += " " + re.sub(r"`[^`\n]*`|--\w+", " ", line)
    return "\n".join(lines)


def test_pages_use_the_words_of_the_field():
    wrong = []
    for page in PAGES:
        wrong += report(page, QUOTED.sub(blank, FENCE.sub(blank, page.read_text())))
    assert not wrong, "\n".join(wrong)


def test_code_uses_the_words_of_the_field():
    wrong = []
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            wrong += report(path, prose_of_code(path.read_text()))
    assert not wrong, "\n".join(wrong)


def test_private_words_are_found_in_code():
    text = 'x = round(3)  # Each round of the game.\ny = f"{x} hangs on it"\nz = "round"\n"""Owns `game`."""\n'
    words = [word for _, word, _ in found_in(prose_of_code(text))]
    assert sorted(words) == ["Owns", "game", "hangs on", "round"]
