"""A domain folder: the data for adaptation and evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.domain.check import check
from asr_llm.corpus.domain.example import create
from asr_llm.corpus.domain.files import (
    SPLITS,
    DomainConfig,
    Problem,
    TemplatesConfig,
    Term,
    check_split,
    find_folder,
    is_there,
    read_patterns,
    read_terms,
    read_text,
    strictly,
    text_path,
)
from asr_llm.corpus.domain.report import CheckReport
from asr_llm.corpus.domain.templates import expand, find_problem
from asr_llm.corpus.recordings.manifests import read_entries, split_manifest
from asr_llm.corpus.speech.synthesis import held_out_voices, training_voices
from asr_llm.errors import DomainError
from asr_llm.yaml_lines import load_yaml, parse_yaml

if TYPE_CHECKING:
    from lhotse import CutSet

__all__ = ["SPLITS", "CheckReport", "Domain", "Problem", "Term", "check", "create"]


@dataclass(frozen=True)
class Domain:
    """A domain folder with its ``domain.yaml``; other files are read on demand.

    Every method raises DomainError, with file and line, at the first malformed line; ``check``
    lists all problems.
    """

    path: Path
    config: DomainConfig
    manifests: Mapping[str, Path] = field(default_factory=dict)
    """Manifests by split to use instead of the folder's own, e.g. with word times."""

    @classmethod
    def load(cls, path: str | Path) -> Domain:
        """Open a domain folder.

        Raises:
            DomainError: there is no such folder, or its ``domain.yaml`` is missing or malformed.
        """
        folder = find_folder(path)
        return cls(folder, parse_yaml(folder / "domain.yaml", DomainConfig, DomainError))

    @property
    def name(self) -> str:
        """The domain's short name."""
        return self.config.name

    def text(self, split: str = "train") -> list[str]:
        """Unique sentences of a split: text, expanded templates, transcripts of recordings.

        [] if dev or test have none.

        Raises:
            DomainError: a file is malformed, or there is no train text at all.
        """
        sentences = self._sentences(split)
        if split == "train" and not sentences:
            raise DomainError(
                f"{text_path(self.path, split)}: no domain text; expected one utterance a line "
                "here, train templates in templates.yaml, or recordings with transcripts in "
                "train/. "
                f"See: asr-llm domain check {self.path}"
            )
        return sentences

    def has_text(self, split: str = "train") -> bool:
        """Whether a split has sentences, including transcripts of its recordings."""
        return bool(self._sentences(split))

    def _sentences(self, split: str) -> list[str]:
        check_split(split)
        path = text_path(self.path, split)
        sentences = [
            line.text for line in strictly(lambda found: read_text(path, found, self.path))
        ]
        templates = self._templates
        if templates is not None and templates.templates(split):
            sentences += self._expand(templates, split)
        return list(dict.fromkeys([*sentences, *self._transcripts(split)]))

    def _transcripts(self, split: str) -> list[str]:
        manifest = split_manifest(self.path, split)
        if manifest is None:
            return []
        entries = strictly(lambda problems: read_entries(manifest, problems))
        said = (" ".join(entry.text.split()) for entry in entries)
        return [text for text in said if text]

    def _expand(self, config: TemplatesConfig, split: str) -> list[str]:
        path = self.path / "templates.yaml"
        templates, fillers = config.templates(split), config.fillers
        terms = {label: [term.text for term in terms] for label, terms in self.terms().items()}
        for i, template in enumerate(templates):
            if problem := find_problem(template, terms, fillers):
                raise DomainError(f"{path}:{load_yaml(path).line_of((split, i))}: {problem}")
        return expand(templates, terms, fillers, config.count(split), config.split_seed(split))

    def terms(self) -> dict[str, list[Term]]:
        """Terms by label, in the order of ``labels``; empty for a label without a term file."""
        by_label: dict[str, list[Term]] = {label: [] for label in self.config.labels}
        for term in self._terms:
            by_label[term.label].append(term)
        return by_label

    def patterns(self) -> list[dict[str, Any]]:
        """spaCy EntityRuler patterns: one per term, then those of ``entities.jsonl``."""
        terms = [{"label": term.label, "pattern": term.text} for term in self._terms]
        return terms + strictly(lambda found: read_patterns(self.path, self.config.labels, found))

    def recordings(self, split: str) -> CutSet | None:
        """The recordings of a split as Lhotse cuts; None if the split has none."""
        from asr_llm.corpus.recordings.importers import read_manifest

        manifest = self.manifest(split)
        return read_manifest(manifest) if manifest else None

    def manifest(self, split: str) -> Path | None:
        """The manifest of a split's recordings; None if the split has none."""
        check_split(split)
        return self.manifests.get(split) or split_manifest(self.path, split)

    def voices(self, split: str) -> list[str]:
        """Voices that speak the unrecorded sentences of a split, as named by the domain.

        Default for dev and test: the installed held-out voices; for train: all that do not speak
        dev or test.
        """
        check_split(split)
        named = {str(key): voices for key, voices in self.config.voices.items()}
        if not named.get("dev") and not named.get("test"):
            named |= {"dev": held_out_voices("dev"), "test": held_out_voices("test")}
        if split == "train" and not named.get("train"):
            return training_voices([*named.get("dev", []), *named.get("test", [])])
        return named.get(split, [])

    def spoken(self, text: str) -> str:
        """``text`` with terms in their spoken forms, for the synthesiser.

        Whole words only, longest term first; a term at the start of a sentence also matches
        capitalised.
        """
        spoken = self._spoken_forms
        return self._spoken_pattern.sub(lambda match: spoken[match.group()], text)

    @cached_property
    def _terms(self) -> list[Term]:
        return strictly(lambda found: read_terms(self.path, self.config.labels, found))

    @cached_property
    def _templates(self) -> TemplatesConfig | None:
        path = self.path / "templates.yaml"
        there = strictly(lambda found: [is_there(self.path, path, found)])
        return parse_yaml(path, TemplatesConfig, DomainError) if any(there) else None

    @cached_property
    def _spoken_forms(self) -> dict[str, str]:
        forms: dict[str, str] = {}
        for term in self._terms:
            if term.spoken is not None:
                forms.setdefault(term.text, term.spoken)
                forms.setdefault(term.text[0].upper() + term.text[1:], term.spoken)
        return forms

    @cached_property
    def _spoken_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._spoken_forms, key=len, reverse=True)
        alternatives = "|".join(map(re.escape, longest_first)) or r"(?!)"  # (?!) never matches
        return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")
