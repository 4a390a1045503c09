"""Everything wrong with a domain folder, all of it at once, found without torch."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr_llm.corpus.audio import audio_info
from asr_llm.corpus.domain_files import (
    SPLITS,
    DomainConfig,
    Line,
    Problem,
    TemplatesConfig,
    Term,
    find_folder,
    read_patterns,
    read_terms,
    read_text,
    text_path,
    undeclared,
)
from asr_llm.corpus.manifests import LAYOUTS, find_manifest, read_entries
from asr_llm.corpus.phrases import PhraseFinder, key
from asr_llm.corpus.synthesis import select_voices
from asr_llm.corpus.template_check import slot_problems
from asr_llm.corpus.templates import expand_indexed, find_problem
from asr_llm.corpus.text import normalize
from asr_llm.errors import AudioError, DomainError, SynthesisError
from asr_llm.yaml_lines import YamlFile, validate_yaml

_OVERLAP, _SENTENCE = 8, 5  # words in a row
_NAMED = 5  # lines or files named in a message; the rest are counted
_AUDIO = {".wav", ".flac", ".mp3", ".ogg", ".opus"}
_KNOWN = ("domain.yaml", "text.txt", "templates.yaml", "terms", "entities.jsonl", *SPLITS)
_DIGIT = re.compile(r"\d")
# Not "one", which is a pronoun more often than a number.
_NUMBER_WORD = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|"
    r"(twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CheckReport:
    """What a domain folder holds, and what is wrong with it."""

    path: Path
    sentences: Mapping[str, int]
    """By split, text files and expanded templates together, duplicates dropped."""
    words: Mapping[str, int]
    """By split, white-space separated, of those sentences."""
    terms: Mapping[str, int]
    """By label."""
    recordings: Mapping[str, int]
    """By split, as listed; also those that are missing."""
    seconds: Mapping[str, float]
    """By split, of the recordings that are there."""
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep the domain from being used."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that may make results worse or misleading."""
        return [problem for problem in self.problems if problem.severity == "warning"]


def check(path: str | Path) -> CheckReport:
    """Read every file of a domain folder and report all that is wrong.

    No sentence of the domain is quoted: lines are named by number.

    Raises:
        DomainError: there is no such folder, or no ``domain.yaml`` in it.
    """
    folder = find_folder(path)
    checker = _Checker(folder)
    checker.check_names()
    labels = checker.read_labels()
    terms = read_terms(folder, labels, checker.problems)
    checker.check_terms(terms)
    read_patterns(folder / "entities.jsonl", labels, checker.problems)
    text = checker.read_all_text(terms, labels)
    transcripts = {split: checker.read_split(folder / split) for split in SPLITS}
    train = [*text["train"], *transcripts["train"]]
    checker.check_text(train)
    checker.check_unused_terms(terms, train)
    checker.check_style(train)
    for split in ("dev", "test"):
        held_out = [*text[split], *transcripts[split]]
        checker.check_overlap(split, train, held_out)
        if not held_out:
            checker.check_missing(split)
    distinct = {split: {line.text for line in lines} for split, lines in text.items()}
    counted = Counter(term.label for term in terms)
    return CheckReport(
        path=folder,
        sentences={split: len(lines) for split, lines in distinct.items()},
        words={split: sum(len(s.split()) for s in lines) for split, lines in distinct.items()},
        terms={label: counted[label] for label in labels},
        recordings={split: len(transcripts[split]) for split in SPLITS},
        seconds=checker.seconds,
        problems=tuple(checker.problems),
    )


@dataclass
class _Checker:
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    unfilled: bool = False
    """Whether some template cannot be filled."""
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0.0))

    def error(self, file: Path, line: int | None, message: str, fix: str = "") -> None:
        self.problems.append(Problem(str(file), line, "error", message, fix))

    def warn(self, file: Path, line: int | None, message: str, fix: str = "") -> None:
        self.problems.append(Problem(str(file), line, "warning", message, fix))

    def check_names(self) -> None:
        """A misspelt file would be ignored without a word."""
        for entry in sorted(self.folder.iterdir()):
            near = difflib.get_close_matches(entry.name.lower(), _KNOWN, n=1, cutoff=0.8)
            if near and entry.name not in _KNOWN:
                self.warn(entry, None, "unknown name, ignored", f"did you mean {near[0]!r}?")

    def read_labels(self) -> dict[str, str]:
        config, file = validate_yaml(self.folder / "domain.yaml", DomainConfig)
        self._add_yaml_problems(self.folder / "domain.yaml", file)
        if config is not None:
            self._check_voices(config, file)
            return config.labels
        # Labels declared in a file with another mistake are declared all the same.
        declared = file.data.get("labels") if isinstance(file.data, dict) else None
        if isinstance(declared, dict):
            return {str(label): str(meaning) for label, meaning in declared.items()}
        return {path.stem.upper(): "" for path in sorted(self.folder.glob("terms/*.tsv"))}

    def _check_voices(self, config: DomainConfig, file: YamlFile) -> None:
        for split, patterns in config.voices.items():
            for i, pattern in enumerate(patterns):
                try:
                    select_voices([pattern])
                except SynthesisError as error:
                    line = file.line_of(("voices", split, i))
                    self.error(self.folder / "domain.yaml", line, str(error))

    def _add_yaml_problems(self, path: Path, file: YamlFile) -> None:
        for problem in file.problems:
            self.error(path, problem.line, problem.message)

    def check_terms(self, terms: list[Term]) -> None:
        """Each term given twice, under one label or two, and files without any."""
        first: dict[str, Term] = {}
        for term in terms:
            known = first.setdefault(key(term.text), term)
            if known is not term:
                where = f"{_terms_file(self.folder, known.label).name}:{known.line}"
                path = _terms_file(self.folder, term.label)
                self.warn(path, term.line, f"term given before, at {where}", "keep one of them")
        told = {problem.file for problem in self.problems}
        labels = {term.label for term in terms}
        for path in sorted(self.folder.glob("terms/*.tsv")):
            if path.stem.upper() not in labels and str(path) not in told:
                self.warn(path, None, "no terms in it", "write one on each line, or remove it")

    def read_all_text(self, terms: list[Term], labels: Mapping[str, str]) -> dict[str, list[Line]]:
        """Sentences by split; each made by a template stands at the template's line."""
        text = {split: read_text(text_path(self.folder, split), self.problems) for split in SPLITS}
        path = self.folder / "templates.yaml"
        if path.exists():
            config, file = validate_yaml(path, TemplatesConfig)
            self._add_yaml_problems(path, file)
            if config is not None:
                by_label: dict[str, list[str]] = {}
                for term in terms:
                    by_label.setdefault(term.label, []).append(term.text)
                stray = undeclared(self.folder, labels)
                slots = slot_problems(path, config, file, by_label, stray)
                self.unfilled = bool(slots)
                if any(problem.file == str(self.folder / "terms") for problem in slots):
                    # Told at once with what lacks them.
                    named = {str(file) for file in stray}
                    self.problems = [p for p in self.problems if p.file not in named]
                self.problems += slots
                for split in SPLITS:
                    text[split] += self._expand(config, file, split, by_label)
        return text

    def check_text(self, train: list[Line]) -> None:
        """There must be something to learn from, written or recorded."""
        if not train and not self._templates_refused():
            fix = (
                "add one utterance a line, train templates in templates.yaml, or recordings with "
                "transcripts in train/"
            )
            self.error(self.folder / "text.txt", None, "no domain text", fix)

    def _templates_refused(self) -> bool:
        """Whether some are reported already: what else is missing may be for want of them."""
        return self.unfilled or any(
            p.file == str(self.folder / "templates.yaml") for p in self.errors
        )

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    def _expand(
        self,
        config: TemplatesConfig,
        file: YamlFile,
        split: str,
        by_label: Mapping[str, list[str]],
    ) -> Iterator[Line]:
        templates = config.templates(split)
        usable = {
            file.line_of((split, i)): template
            for i, template in enumerate(templates)
            if find_problem(template, by_label, config.fillers) is None
        }
        count, seed = config.count(split), config.split_seed(split)
        numbers = list(usable)
        expanded = expand_indexed([*usable.values()], by_label, config.fillers, count, seed)
        path = self.folder / "templates.yaml"
        return (Line(sentence, path, numbers[i]) for i, sentence in expanded)

    def check_missing(self, split: str) -> None:
        """A domain can do without, but not without a loss: said where nothing else is wrong."""
        lost = {
            "dev": "no dev set: training keeps its last weights, which need not be its best",
            "test": "no test set: what is learned is not measured, and there is no report",
        }
        place = self.folder / split
        broken = any(Path(p.file).is_relative_to(place) for p in self.errors)
        if not broken and not self._templates_refused():
            fix = f"add {split}/text.txt, recordings with transcripts, or {split} templates"
            self.warn(place, None, lost[split], fix)

    def check_unused_terms(self, terms: list[Term], train: list[Line]) -> None:
        """Terms which the domain text never says: adaptation cannot learn them."""
        finder = PhraseFinder(term.text for term in terms)
        said = set(map(key, finder.count(line.text for line in train)))
        for label in dict.fromkeys(term.label for term in terms):
            unused = [t for t in terms if t.label == label and key(t.text) not in said]
            if unused and train and not self._templates_refused():
                total = sum(term.label == label for term in terms)
                lines = _listed([f"{term.line}" for term in unused])
                message = f"{len(unused)} of {total} terms never occur in the text (lines {lines})"
                path = _terms_file(self.folder, label)
                self.warn(path, unused[0].line, message, "add sentences which use them")

    def check_style(self, train: list[Line]) -> None:
        """Mixed casing, and numbers written now in digits, now in words."""
        cased = [line for line in train if any(c.isalpha() for c in line.text)]
        lower = [line for line in cased if line.text == line.text.lower()]
        upper = [line for line in cased if line.text != line.text.lower()]
        self._check_mixed(lower, "all lower-case", upper, "with capitals", "casing")
        digits = [line for line in train if _DIGIT.search(line.text)]
        words = [line for line in train if _NUMBER_WORD.search(line.text)]
        self._check_mixed(digits, "with digits", words, "with number words", "number style")

    def _check_mixed(
        self, some: list[Line], one: str, others: list[Line], other: str, what: str
    ) -> None:
        if some and others:
            at = min(some, others, key=len)[0]
            message = f"mixed {what}: {len(some)} lines {one}, {len(others)} {other}"
            self.warn(at.file, at.number, message, "write all lines alike")

    def check_overlap(self, split: str, train: list[Line], held_out: list[Line]) -> None:
        """Sentences to be measured by, parts of which were learnt."""
        learnt = {hash(gram) for line in train for gram in _telling(line.text)}
        shared = [
            line for line in held_out if any(hash(gram) in learnt for gram in _telling(line.text))
        ]
        for file in dict.fromkeys(line.file for line in shared):
            there = [line.number for line in shared if line.file == file]
            total = sum(line.file == file for line in held_out)
            lines = _listed([str(number) for number in sorted(set(there))])
            self.warn(
                file,
                min(there),
                f"{len(there)} of {total} {split} sentences are in train too, or share "
                f"{_OVERLAP} words in a row with it (lines {lines})",
                "take them out of one of the two, or scores will flatter",
            )

    def read_split(self, folder: Path) -> list[Line]:
        """The transcripts of a split's recordings."""
        try:
            manifest = find_manifest(folder)
        except DomainError as error:
            message, _, fix = str(error).removeprefix(f"{folder}: ").partition(". ")
            self.error(folder, None, message, fix)
            return []
        audio = {p.absolute() for p in folder.rglob("*") if p.suffix.lower() in _AUDIO}
        if manifest is None:
            if audio:
                fix = f"list them in one of {', '.join(LAYOUTS)}"
                self.error(folder, None, f"{len(audio)} audio files without transcripts", fix)
            return []
        entries = read_entries(manifest, self.problems)
        for entry in entries:
            try:
                found = audio_info(entry.audio)
            except AudioError as error:
                self.error(manifest, entry.line, str(error))
            else:
                rest = found.duration - entry.start
                self.seconds[folder.name] += min(entry.duration or rest, max(rest, 0.0))
            if not entry.text.strip():
                self.warn(
                    manifest, entry.line, "recording without transcript", "write what is said"
                )
        if unlisted := sorted(audio - {entry.audio for entry in entries}):
            names = _listed([path.name for path in unlisted])
            message = f"{len(unlisted)} audio files without transcripts, ignored ({names})"
            self.warn(manifest, None, message, "list them here, or remove them")
        return [Line(entry.text, manifest, entry.line) for entry in entries]


def _telling(text: str) -> Iterator[tuple[str, ...]]:
    """What is hardly said twice by chance: eight words in a row, or a whole sentence of five."""
    words = normalize(text, "basic").split()
    return _grams(text, min(_OVERLAP, max(len(words), _SENTENCE)))


def _grams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = normalize(text, "basic").split()
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _terms_file(folder: Path, label: str) -> Path:
    return folder / "terms" / f"{label.lower()}.tsv"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
