"""Make a domain of spoken coffee orders: its menu as terms, written orders as text.

    python adapt/order_domain.py --data ../shared/data --out runs/orders
    asr-llm adapt runs/orders -o runs/orders-adapted
    python eval/people.py --data ../shared/data --sets coffee \\
        --adapter runs/orders-adapted/adapter -o runs/people

The recorded orders have no transcripts, only the values of their slots, so eval/people.py counts
which of these an adapter finds. The domain's own test set is text, spoken by synthetic voices.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from domain_files import write_domain

HELD_OUT = 40  # sentences of the dev and of the test set
LABELS = {
    "coffeeDrink": "drink",
    "roast": "roast",
    "size": "size",
    "numberOfShots": "shots",
    "milkAmount": "milk",
    "sugarAmount": "sugar",
}


def main() -> None:
    """Write the domain folder, print what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/ and text/")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    orders = (data / "text/coffee-orders/corpus.txt").read_text("utf-8").splitlines()
    sentences = [order[0].upper() + order[1:] + "." for order in dict.fromkeys(orders) if order]
    random.Random(0).shuffle(sentences)
    text = {
        "dev": sentences[:HELD_OUT],
        "test": sentences[HELD_OUT : 2 * HELD_OUT],
        "train": sentences[2 * HELD_OUT :],
    }
    found = menu(data / "speech/coffee-orders/manifest.jsonl")
    terms = {label: sorted(values) for label, values in found.items()}
    config = {
        "name": "orders",
        "language": "en",
        "description": "Coffee orders.",
        "labels": {label.upper(): f"{label} of an order" for label in terms},
    }
    write_domain(out, config, text, terms)
    print(f"{out}: {len(sentences)} orders, {sum(map(len, terms.values()))} values on the menu")


def menu(manifest: Path) -> dict[str, set[str]]:
    """The values of each slot."""
    found: dict[str, set[str]] = {}
    for line in manifest.open(encoding="utf-8"):
        for slot, value in json.loads(line)["slots"].items():
            found.setdefault(LABELS[slot], set()).add(value)
    return found


if __name__ == "__main__":
    main()
