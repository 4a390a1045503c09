"""Score any recogniser's output on the entities of a domain, without a model or torch.

python examples/03_score_any_system.py domains/medical
"""

import sys

from asr_llm.corpus.domain.folder import Domain
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.scores import score
from asr_llm.evaluation.table import table


def main() -> None:
    """Compare two made-up systems on the domain's test sentences."""
    domain = Domain.load(sys.argv[1] if len(sys.argv) > 1 else "domains/medical")
    references = {str(i): text for i, text in enumerate(domain.text("test"))}
    systems = {
        "base": {i: text.replace("ol", "all") for i, text in references.items()},
        "adapted": dict(references),
    }
    finder = EntityFinder(domain.patterns())
    scored = score(references=references, systems=systems, finder=finder)
    for row in table(scored.scores):
        print(f"{row.metric:28} {row.counts:>24} {row.base:>8} {row.adapted:>8}")


if __name__ == "__main__":
    main()
