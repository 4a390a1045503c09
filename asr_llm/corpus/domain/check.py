"""Finds all problems of a domain folder at once, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asr_llm.corpus.domain.files import (
    SPLITS,
    DomainConfig,
    Line,
    Problem,
    TemplatesConfig,
    Term,
    find_folder,
    is_there,
    read_patterns,
    read_terms,
    read_text,
    text_path,
    undeclared,
)
from asr_llm.corpus.domain.names import name_problems, named
from asr_llm.corpus.domain.recordings_check import check_recordings
from asr_llm.corpus.domain.report import CheckReport
from asr_llm.corpus.domain.template_check import slot_problems
from asr_llm.corpus.domain.templates import expand_indexed, find_problem
from asr_llm.corpus.domain.terms_check import term_problems
from asr_llm.corpus.domain.text_check import overlap_problems, style_problems, unspoken_problems
from asr_llm.corpus.domain.voices_check import (
    Voices,
    text_problems,
    voice_problems,
    voices_alone,
)
from asr_llm.corpus.recordings.manifests import find_manifest
from asr_llm.corpus.speech.synthesis import (
    held_out_voices,
    suggested_voice,
)
from asr_llm.corpus.terms.files import label_of, term_files
from asr_llm.corpus.terms.phrases import PhraseFinder, key
from asr_llm.corpus.text.lines import MOST_LINES
from asr_llm.errors import DomainError, number_of
from asr_llm.text_files import TextFileError, is_comment, read_lines
from asr_llm.yaml_lines import YamlFile, load_yaml, validate_yaml


def check(path: str | Path) -> CheckReport:
    """Read every file of a domain folder and report all problems.

    No sentence of the domain is quoted: lines are identified by number.

    Raises:
        DomainError: there is no such folder, or it has no ``domain.yaml``.
    """
    folder = find_folder(path)
    checker = _Checker(folder, name_problems(folder))
    labels = checker.read_labels()
    terms = read_terms(folder, labels, checker.problems)
    checker.check_terms(terms)
    patterns = read_patterns(folder, labels, checker.problems)
    text = checker.read_all_text(terms, labels)
    checker.check_labels(labels, {str(pattern["label"]) for pattern in patterns})
    recorded = {split: check_recordings(folder / split) for split in SPLITS}
    checker.problems += [problem for found in recorded.values() for problem in found.problems]
    transcripts = {split: found.transcripts for split, found in recorded.items()}
    checker.check_spoken(text, transcripts)
    train = [*text["train"], *transcripts["train"]]
    checker.check_text(train)
    checker.check_unused_terms(terms, train)
    checker.problems += style_problems(train)
    for split in ("dev", "test"):
        held_out = [*text[split], *transcripts[split]]
        checker.problems += overlap_problems(split, train, held_out)
        if not held_out:
            checker.check_missing(split)
    checker.problems += unspoken_problems(
        text_path(folder, "test"), text["test"], transcripts["test"]
    )
    distinct = {split: {line.text for line in lines} for split, lines in text.items()}
    counted = Counter(label for label, _ in {(term.label, key(term.text)) for term in terms})
    return CheckReport(
        path=folder,
        sentences={split: len(lines) for split, lines in distinct.items()},
        words={split: sum(len(s.split()) for s in lines) for split, lines in distinct.items()},
        terms={label: counted[label] for label in labels},
        recordings={split: len(transcripts[split]) for split in SPLITS},
        seconds={split: found.seconds for split, found in recorded.items()},
        comments=_comments(folder),
        problems=tuple(checker.problems),
    )


@dataclass
class _Checker:
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    unfilled: bool = False
    """Whether some template cannot be filled."""
    language: str = "en"
    voices: Voices = field(default_factory=dict)
    """By split, the voices that ``domain.yaml`` names."""

    def error(self, file: Path, line: int | None, message: str, fix: str = "") -> None:
        self.problems.append(Problem(str(file), line, "error", message, fix))

    def warn(self, file: Path, line: int | None, message: str, fix: str = "") -> None:
        self.problems.append(Problem(str(file), line, "warning", message, fix))

    def read_labels(self) -> dict[str, str]:
        config, file = validate_yaml(self.folder / "domain.yaml", DomainConfig)
        self._add_yaml_problems(self.folder / "domain.yaml", file)
        self.voices = config.voices if config is not None else voices_alone(file.data)
        self.problems += voice_problems(self.folder / "domain.yaml", self.voices, file)
        if config is not None:
            self.language = config.language
            return config.labels
        # Labels count as declared even if the file has other problems.
        declared = file.data.get("labels") if isinstance(file.data, dict) else None
        if isinstance(declared, dict):
            return {str(label): str(meaning) for label, meaning in declared.items()}
        return {label_of(path): "" for path in term_files(self.folder / "terms")}

    def check_spoken(
        self, text: Mapping[str, list[Line]], transcripts: Mapping[str, list[Line]]
    ) -> None:
        """Text to be spoken needs a voice, and must be pronounceable."""
        voices = self.voices.get("test")
        if not self.voices.get("dev"):  # as in ``Domain.voices``
            voices = voices or held_out_voices("test")
        if text["test"] and not transcripts["test"] and not voices:
            message = "no voices for test, and no recordings in test/"
            fix = f"add for instance: voices: {{test: [{suggested_voice()}]}}"
            if not any(p.file == str(self.folder / "domain.yaml") for p in self.errors):
                self.error(self.folder / "domain.yaml", None, message, fix)
        self.problems += text_problems(text, transcripts, self.language)

    def _add_yaml_problems(self, path: Path, file: YamlFile) -> None:
        for problem in file.problems:
            self.error(path, problem.line, problem.message)

    def check_terms(self, terms: list[Term]) -> None:
        """Report what is wrong with terms, and empty files."""
        self.problems += term_problems(terms, self.language)
        told = {problem.file for problem in self.problems}
        full = {term.file for term in terms}
        for path in term_files(self.folder / "terms"):
            if path not in full and str(path) not in told:
                self.warn(path, None, "no terms in it", "write one on each line, or remove it")

    def check_labels(self, labels: Mapping[str, str], with_patterns: set[str]) -> None:
        """Warn of labels that nothing belongs to; templates that need them say so themselves."""
        listed = {label_of(path) for path in term_files(self.folder / "terms")}
        bare = [label for label in labels if label not in listed | with_patterns]
        if not bare or self.unfilled:
            return
        file = load_yaml(self.folder / "domain.yaml")
        names, lists = ", ".join(bare), ", ".join(f"terms/{label.lower()}.tsv" for label in bare)
        message = f"labels: no terms for {names}, so none can be counted or taught"
        fix = f"list the terms in {lists}, one on each line, or take the label out of 'labels'"
        self.warn(self.folder / "domain.yaml", file.line_of(("labels", bare[0])), message, fix)

    def read_all_text(self, terms: list[Term], labels: Mapping[str, str]) -> dict[str, list[Line]]:
        """Sentences by split; those of a template are located at the template's line."""
        text = {split: self._sentences(split) for split in SPLITS}
        path = self.folder / "templates.yaml"
        if is_there(self.folder, path, self.problems):
            config, file = validate_yaml(path, TemplatesConfig)
            self._add_yaml_problems(path, file)
            if config is not None:
                by_label: dict[str, list[str]] = {}
                for term in terms:
                    by_label.setdefault(term.label, []).append(term.text)
                stray = undeclared(self.folder, labels)
                wrong = {problem.file for problem in self.errors}
                unread = [p for p in term_files(self.folder / "terms") if str(p) in wrong]
                slots = slot_problems(path, config, file, by_label, stray, unread)
                self.unfilled = bool(slots or unread)
                if any(problem.file == str(self.folder / "terms") for problem in slots):
                    # Reported together with what lacks them.
                    named = {str(file) for file in stray}
                    self.problems = [p for p in self.problems if p.file not in named]
                self.problems += slots
                for split in SPLITS:
                    text[split] += self._expand(config, file, split, by_label)
        return text

    def _sentences(self, split: str) -> list[Line]:
        return read_text(text_path(self.folder, split), self.problems, self.folder)

    def check_text(self, train: list[Line]) -> None:
        """Require text or recordings to train on."""
        text, recorded = text_path(self.folder, "train"), self.folder / "train"
        broken = [Path(p.file) for p in self.errors]
        unread = any(path == text or path.is_relative_to(recorded) for path in broken)
        if not train and not unread and not self._templates_refused():
            fix = (
                "add one utterance a line, train templates in templates.yaml, or recordings with "
                "transcripts in train/"
            )
            self.error(text, None, "no domain text", fix)

    def _templates_refused(self) -> bool:
        """Whether template problems are already reported, which may explain missing text."""
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
    ) -> list[Line]:
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
        lines = [Line(sentence, path, numbers[i]) for i, sentence in expanded]
        different = len({line.text for line in lines})
        if 0 < different < count and split in config.sentences.model_fields_set:
            message = f"{split} templates give {different} different sentences, not {count}"
            fix = "add templates, terms or fillers, or lower the number under 'sentences'"
            self.warn(path, file.line_of(("sentences", split)), message, fix)
        return lines

    def check_missing(self, split: str) -> None:
        """Report optional parts whose absence has a cost, if nothing else is wrong."""
        lost = {
            "dev": "no dev set: training keeps its last weights, which may not be its best",
            "test": "no test set: what is learned is not measured, and there is no report",
        }
        place = self.folder / split
        broken = any(Path(p.file).is_relative_to(place) for p in self.errors)
        if not broken and not self._templates_refused():
            fix = f"add {split}/text.txt, recordings with transcripts, or {split} templates"
            self.warn(place, None, lost[split], fix)

    def check_unused_terms(self, terms: list[Term], train: list[Line]) -> None:
        """Report terms that never occur in the domain text, which adaptation cannot learn."""
        finder = PhraseFinder(term.text for term in terms)
        said = set(map(key, finder.count(line.text for line in train)))
        for label in dict.fromkeys(term.label for term in terms):
            unused = [t for t in terms if t.label == label and key(t.text) not in said]
            if unused and train and not self._templates_refused():
                total = len({key(term.text) for term in terms if term.label == label})
                lines = named([f"{term.line}" for term in unused])
                count = len({key(term.text) for term in unused})
                message = (
                    f"{count} of {number_of(total, 'term')} {'is' if count == 1 else 'are'} not in "
                    f"the text (lines {lines})"
                )
                self.warn(_file(unused[0]), unused[0].line, message, "add sentences which use them")


def _file(term: Term) -> Path:
    assert term.file is not None
    return term.file


def _comments(folder: Path) -> dict[str, int]:
    """Number of comment lines by file."""
    files = [text_path(folder, split) for split in SPLITS]
    files += [*term_files(folder / "terms"), folder / "entities.jsonl", *_manifests(folder)]
    counted = {str(path): _count_comments(path) for path in files if path.is_file()}
    return {name: count for name, count in counted.items() if count}


def _manifests(folder: Path) -> Iterator[Path]:
    for split in SPLITS:
        with suppress(DomainError):
            if manifest := find_manifest(folder / split):
                yield manifest


def _count_comments(path: Path) -> int:
    try:
        return sum(map(is_comment, read_lines(path, most_lines=MOST_LINES)))
    except TextFileError:
        return 0  # reported where it is read
