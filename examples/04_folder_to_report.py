"""From a folder of text and terms to an adapter and a report; also runs as a notebook (# %% cells).

python examples/04_folder_to_report.py [FOLDER] [RUN] [MODEL]
"""

import sys
from pathlib import Path

from asr_llm import Domain, SpeechLLM, adapt
from asr_llm.corpus.domain.example import create
from asr_llm.corpus.domain.folder import check
from asr_llm.evaluation.table import table

given = dict(enumerate(sys.argv))
folder = Path(given.get(1, "my_clinic"))
run = Path(given.get(2, f"runs/{folder.name}"))
model = given.get(3)  # None: the default model

# %% A domain folder. The example is about coffee machines; replace it with your text and terms.
if not folder.exists():
    create(folder)
print(*sorted(path.name for path in folder.iterdir()))

# %% Check it: print problems by file and line, and count what the folder contains.
found = check(folder)
for problem in found.problems:
    print(problem)
if found.errors:
    raise SystemExit(1)
domain = Domain.load(folder)
print(found.sentences, found.terms)
print("A test sentence:", domain.text("test")[0])

# %% Adapt and evaluate (takes minutes): train a LoRA on the folder's text, then transcribe the
# test set with the base and the adapted model. Run again after an interruption to resume.
done = adapt(folder, model=model, run=run, resume=True)

# %% Print the gain on the domain and the cost on general speech.
if done.scores:
    for row in table(done.scores):
        print(f"{row.metric:28} {row.counts:>24} {row.base:>8} {row.adapted:>8} {row.change:>8}")
    print("The full report:", (run / "report.html").resolve())

# %% Transcribe with the adapter.
recogniser = SpeechLLM.load(done.model, adapter=done.adapter)
print(recogniser.transcript(Path(__file__).parent / "visit.flac").text)
