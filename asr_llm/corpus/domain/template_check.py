"""Reports why templates of a domain folder cannot be filled: one problem per cause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asr_llm.corpus.domain.files import SPLITS, Problem, TemplatesConfig
from asr_llm.corpus.domain.templates import find_problem, unfilled_labels
from asr_llm.corpus.terms.files import label_of
from asr_llm.yaml_lines import YamlFile


def slot_problems(
    path: Path,
    config: TemplatesConfig,
    file: YamlFile,
    terms: Mapping[str, Sequence[str]],
    stray: Sequence[Path],
    unread: Iterable[Path] = (),
) -> list[Problem]:
    """Problems of the templates of all splits, each at the first line that has it.

    Args:
        path: of ``templates.yaml``; ``config`` and ``file`` are what it holds.
        terms: by declared label.
        stray: term files of labels that are not declared. A slot of theirs is no problem of its
            own. Where other slots lack terms too, the one cause of both is that labels and terms
            were not changed together: one problem, at the folder of the terms, says so.
        unread: term files with errors of their own, which explain slots without terms.
    """
    fillers = config.fillers
    explained = {label_of(path) for path in (*stray, *unread)}
    refused: dict[str, list[int]] = {}
    absent: dict[str, None] = {}
    without: list[int] = []  # lines of the templates that ask for absent labels
    for split in SPLITS:
        for i, template in enumerate(config.templates(split)):
            line = file.line_of((split, i))
            lacking = [n for n in unfilled_labels(template, terms) if n.lower() not in fillers]
            if lacking and not explained.issuperset(lacking):
                absent |= dict.fromkeys(lacking)
                without.append(line)
            elif not lacking and (problem := find_problem(template, terms, fillers)):
                refused.setdefault(problem, []).append(line)
    if absent and stray:
        return [_labels_and_terms(path, absent, stray, len(without)), *_at(path, refused)]
    if absent:
        refused[_no_terms([*absent], terms, fillers)] = without
    return _at(path, refused)


def _no_terms(
    absent: list[str], terms: Mapping[str, Sequence[str]], fillers: Mapping[str, Sequence[str]]
) -> str:
    if len(absent) == 1:
        return find_problem(f"{{{absent[0]}}}", terms, fillers) or ""
    named = ", ".join(f"{{{name}}}" for name in absent)
    files = ", ".join(f"terms/{name.lower()}.tsv" for name in absent)
    return f"no terms for slots {named}; add {files}, or take these templates out"


def _at(path: Path, refused: Mapping[str, list[int]]) -> list[Problem]:
    found = []
    for problem, lines in sorted(refused.items(), key=lambda item: item[1]):
        message, _, fix = problem.partition("; ")
        more = f" (so in {len(lines)} templates)" if len(lines) > 1 else ""
        found.append(Problem(str(path), lines[0], "error", message + more, fix))
    return found


def _labels_and_terms(
    path: Path, absent: Iterable[str], stray: Sequence[Path], templates: int
) -> Problem:
    there = ", ".join(label_of(file) for file in stray)
    asked = "a template asks" if templates == 1 else f"{templates} templates ask"
    message = (
        f"{asked} for {', '.join(absent)}, for which there are no terms, and the terms of {there} "
        "have no declared label"
    )
    fix = (
        f"declare {there} under 'labels' in domain.yaml instead, and use {there} in "
        f"{path.name} or delete it"
    )
    return Problem(str(path.parent / "terms"), None, "error", message, fix)
