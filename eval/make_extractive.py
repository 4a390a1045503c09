"""Write extractive.jsonl: questions about a passage, none of which `mini` was trained on.

python eval/make_extractive.py
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "adapt" / "mini"))

from prepare import QA_TRAIN, QA_VALID  # noqa: E402
from prepare_text import qa_examples  # noqa: E402

COUNT = 200
MATERIAL = HERE.parent / "adapt" / "mini" / "qa.yaml"


def main() -> None:
    """Draw passages with another seed than training's, and leave out those it had."""
    trained = {row["passage"] for row in qa_examples(MATERIAL, QA_TRAIN + QA_VALID)}
    drawn = qa_examples(MATERIAL, 2 * COUNT, seed=2)
    rows = [row for row in drawn if row["passage"] not in trained][:COUNT]
    lines = [json.dumps({"id": f"{i:03d}"} | row) for i, row in enumerate(rows, start=1)]
    (HERE / "extractive.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()
