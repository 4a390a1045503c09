"""From a folder of text and terms to an adapter and a report. Cells (# %%) run as a notebook too.

python examples/04_folder_to_report.py [FOLDER] [RUN] [MODEL]
"""

import sys
from pathlib import Path

from asr_llm import Domain, SpeechLLM, adapt
from asr_llm.corpus.domain import check
from asr_llm.corpus.domain_example import create
from asr_llm.evaluation.table import table

given = dict(enumerate(sys.argv))
folder = Path(given.get(1, "my_clinic"))
run = Path(given.get(2, f"runs/{folder.name}"))
model = given.get(3)  # None: the default

# %% A domain folder. The example is about coffee machines: put your own text and terms into it.
if not folder.exists():
    create(folder)
print(*sorted(path.name for path in folder.iterdir()))

# %% Check it: mistakes by file and line, and what it holds.
found = check(folder)
for problem in found.problems:
    print(problem)
if found.errors:
    raise SystemExit(1)
domain = Domain.load(folder)
print(found.sentences, found.terms)
print("A test sentence:", domain.text("test")[0])

# %% Adapt and measure: minutes. The folder's text trains a LoRA, which a run that was stopped
# goes on with; base and adapted model then transcribe the test set.
done = adapt(folder, model=model, run=run, resume=True)

# %% What it gained on the domain, and what it cost on general speech.
if done.scores:
    for row in table(done.scores):
        print(f"{row.metric:28} {row.counts:>24} {row.base:>8} {row.adapted:>8} {row.change:>8}")
    print("The whole report:", (run / "report.html").resolve())

# %% The adapter in use.
recogniser = SpeechLLM.load(done.model, adapter=done.adapter)
print(recogniser.transcript(Path(__file__).parent / "visit.flac").text)
