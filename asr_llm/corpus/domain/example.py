"""A small example domain folder to start from."""

from __future__ import annotations

import json
from pathlib import Path

from asr_llm.corpus.domain.files import expected_name
from asr_llm.errors import DomainError


def create(path: str | Path, name: str | None = None) -> Path:
    """Write an example domain (a help desk for coffee machines) to edit.

    Args:
        name: the domain's name; default: the folder's name.

    Returns:
        The folder.

    Raises:
        DomainError: the folder is not empty, or cannot be written; no domain can have that name.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise DomainError(f"{folder}: {what}; expected a new or empty folder. Choose another path")
    called = name or folder.resolve().name
    if expected := expected_name(called):
        raise DomainError(
            f"the name is {called!r}; expected {expected}: choose another with --name"
        )
    # JSON quoting is YAML quoting: any name is safe.
    quoted = json.dumps(called, ensure_ascii=False)
    try:
        for file, content in _FILES.items():
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content.replace("@NAME@", quoted), encoding="utf-8")
    except OSError as error:
        raise DomainError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


_FILES = {
    "domain.yaml": """\
# What this domain is. Check the whole folder with: asr-llm domain check FOLDER
name: @NAME@
language: en
description: Calls to the help desk of a maker of coffee machines.
licence: CC0-1.0

# The kinds of words that matter most. Each has its list in terms/<label>.tsv
labels:
  PRODUCT: a machine the company sells
  PART: a part that wears out or breaks

# How text is written, so that it is consistent everywhere.
convention: Sentence case with punctuation, numbers in words.
sources:
  - written for this example

# Voices for the dev and test sentences without recordings.
voices:
  dev: [en-us+Annie]
  test: [en-gb-x-rp+Andy]

# Recordings are optional. Put them into train/, dev/ or test/ with a trans.txt
# (name.wav TAB text), a NeMo manifest.json, or a Lhotse cuts.jsonl.gz. Those in
# train/ are for adapt/paired.yaml; their transcripts are text for every recipe.
""",
    "text.txt": """\
# What is said in this domain, one utterance a line: all that adaptation needs.
# The more the better; a few thousand lines are a good start.
Good morning, you have reached the help desk.
My machine leaks from underneath whenever I fill the tank.
The coffee has been far too cold since last week.
I have already cleaned it twice and it still blinks red.
Could you tell me whether the warranty covers this?
Please read me the number on the back of the machine.
""",
    "templates.yaml": """\
# Sentences with slots, expanded into more text. {CAPITALS} are labels, filled
# from terms/<label>.tsv; {small} ones are filled from the fillers below.
# Delete this file if you have enough text.
seed: 1
sentences: {train: 150, dev: 20, test: 40}
fillers:
  time: [this morning, last night, two days ago, after lunch]
  trouble: [is leaking, is making a loud noise, is stuck]
train:
  - The {PART} of my {PRODUCT} broke {time}.
  - I would like to order a {PART} for the {PRODUCT}, please.
  - Since {time} the {PART} {trouble}.
  - Does the {PRODUCT} come with a {PART}?
# Different sentences from train: for testing, not for training.
dev:
  - Hello, the {PART} in our {PRODUCT} {trouble}.
  - We had a {PRODUCT} repaired {time}.
test:
  - How do I replace the {PART} on a {PRODUCT}?
  - Our new {PRODUCT} {trouble} and I suspect the {PART}.
""",
    "terms/product.tsv": """\
# term TAB spoken form. The spoken form is optional: a respelling for the
# synthesiser, where it would read the term wrongly.
Barista Uno\tbarista oono
CX Pro\tsee ex pro
Moka Grande
Velluto
""",
    "terms/part.tsv": """\
descaling cartridge
grinder burr
milk frother
O-ring\toh ring
portafilter
""",
}
