"""`--entities` and `--biasing-list` take the same things."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.corpus.terms.biasing_list import read_phrases
from asr_llm.errors import BiasingError, ScoreError
from asr_llm.jobs.entity_finders import finder_of

PATTERNS = '{"label": "PART", "pattern": "Presta valve"}\n{"label": "PART", "pattern": "rim"}\n'
TEXT = "A Presta valve in the rim."


def make(folder: Path, kind: str) -> Path:
    if kind == "pipeline":
        import spacy

        nlp = spacy.blank("en")
        rows = [{"label": "PART", "pattern": phrase} for phrase in ("Presta valve", "rim")]
        nlp.add_pipe("entity_ruler").add_patterns(rows)
        (folder / "package").mkdir()
        nlp.to_disk(folder / "package" / "package-1.0")
        return folder / "package" / "package-1.0"
    files = {
        "patterns": {"p.jsonl": f"# of the shop\n{PATTERNS}"},
        "list": {"part.csv": '"Presta valve",\nrim\n'},
        "lists": {"l/part.tsv.txt": "Presta valve\n", "l/tool.csv": "rim,\n", "l/notes.md": "x"},
        "domain": {
            "d/domain.yaml": "name: d\nlabels: {PART: x}\n",
            "d/terms/part.tsv": "Presta valve\tpress tuh valve\n",
            "d/entities.jsonl": '{"label": "PART", "pattern": "rim"}\n',
        },
    }[kind]
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    first = next(iter(files))
    return folder / (first.split("/")[0])


@pytest.mark.parametrize("kind", ["patterns", "list", "lists", "domain", "pipeline"])
def test_both_take_it(tmp_path: Path, kind: str) -> None:
    place = make(tmp_path, kind)
    assert read_phrases(place) == ["Presta valve", "rim"]
    assert [mention.text for mention in finder_of(str(place)).find(TEXT)] == ["Presta valve", "rim"]


def test_the_package_of_a_pipeline_and_a_damaged_one(tmp_path: Path) -> None:
    folder = make(tmp_path, "pipeline")
    assert len(finder_of(str(folder.parent)).find(TEXT)) == 2
    (folder / "config.cfg").write_text("[nlp\n")
    with pytest.raises(ScoreError, match=r"package-1\.0: not a pipeline that this spaCy loads"):
        finder_of(str(folder))


def test_both_refuse_it_by_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(PATTERNS + '{"label": "PART", "pattern": [{"LEMMA": "be"}]}\n')
    with pytest.raises(ScoreError, match=r"p\.jsonl:3: LEMMA needs a lemmatizer"):
        finder_of(str(path))
    with pytest.raises(BiasingError, match=r"p\.jsonl:3: LEMMA needs a lemmatizer"):
        read_phrases(path)
