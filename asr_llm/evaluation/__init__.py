"""References, hypotheses and entities in; counts, rates and their certainty out. No torch."""
