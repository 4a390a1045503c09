"""The order of examples in shards."""

from __future__ import annotations

from asr_llm.sequences.order import ShardOrder

SIZES = (3, 1, 4, 2, 5)
FIRSTS = (0, 3, 4, 8, 10, 15)


def shard(example: int) -> int:
    return max(i for i, first in enumerate(FIRSTS) if first <= example)


def test_each_example_once() -> None:
    order = ShardOrder(SIZES, (1, 2), group=2)
    assert len(order) == 15
    assert sorted(order) == list(range(15))
    assert list(order) == [order[i] for i in range(15)] == list(ShardOrder(SIZES, (1, 2), 2))
    assert list(order) != list(ShardOrder(SIZES, (1, 3), 2))
    backwards = ShardOrder(SIZES, (1, 2), group=2)
    assert [backwards[i] for i in reversed(range(15))] == list(order)[::-1]


def test_a_group_of_shards_at_a_time() -> None:
    order = ShardOrder(SIZES, (7,), group=2)
    visited = [shard(example) for example in order]
    groups: list[set[int]] = [set()]
    for one in visited:
        if one not in groups[-1] and len(groups[-1]) == 2:
            groups.append(set())
        groups[-1].add(one)
    assert [len(group) for group in groups] == [2, 2, 1]
    assert set().union(*groups) == set(range(5))
