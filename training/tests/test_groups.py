"""Groups have the given size, members and label."""

from __future__ import annotations

import pytest
import torch

from dorfman_training import groups
from dorfman_training.config import Config

POSITIVES, NEGATIVES = torch.arange(64), torch.arange(64, 256)


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_training_groups_have_their_size_and_label(settings: Config) -> None:
    drawn = groups.draw_mixed(settings.train, POSITIVES, NEGATIVES, generator())
    assert len(drawn.members) == settings.train.groups
    for line, size, positive in zip(drawn.members.tolist(), drawn.sizes.tolist(), drawn.positive.tolist()):
        members = set(line)
        assert len(members) == size, "a group has a member twice"
        assert positive == any(member < 64 for member in members)
        assert line == [line[i % size] for i in range(len(line))], "the padding repeats the members"


def test_positives_occur_at_every_position_of_a_line(settings: Config) -> None:
    dealt = generator()
    lines = torch.cat([groups.draw_mixed(settings.train, POSITIVES, NEGATIVES, dealt).members for _ in range(20)])
    assert {int(place) for place in torch.nonzero(lines < 64)[:, 1]} >= set(range(16))


def covered(levels: list[torch.Tensor], row: int, level: int) -> set[int]:
    """Returns the images that a row of a level covers."""
    if level == 0:
        return {row}
    return set().union(*(covered(levels, below, level - 1) for below in levels[level - 1][row].tolist()))


@pytest.mark.parametrize("fans", [[], [2], [2, 2], [3, 2]])
def test_a_tree_covers_each_group_and_nothing_else(fans: list[int]) -> None:
    sizes = torch.tensor([1, 2, 3, 5, 8])
    starts = torch.cumsum(sizes, 0) - sizes
    members = starts.unsqueeze(1) + torch.arange(8) % sizes.unsqueeze(1)
    levels = groups.levels(members, sizes, fans)
    assert len(levels) == len(fans) + 1
    for line, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist())):
        assert covered(levels, line, len(levels)) == set(range(start, start + size))
    for fan, nodes in zip(fans, levels):
        assert nodes.shape[1] == fan
    if fans:
        assert len(levels[0]) == sum(-(-size // fans[0]) for size in sizes.tolist()), "no node is computed twice"


def test_training_groups_have_every_size_and_some_have_several_positives(settings: Config) -> None:
    dealt = generator()
    many = [groups.draw_mixed(settings.train, POSITIVES, NEGATIVES, dealt) for _ in range(20)]
    assert {size for drawn in many for size in drawn.sizes.tolist()} == set(settings.train.sizes)
    hot = [sum(member < 64 for member in set(line)) for drawn in many for line in drawn.members.tolist()]
    assert {0, 1, 2, 3} == set(hot)


def test_a_seed_draws_the_same_groups_again(settings: Config) -> None:
    first, again = (groups.draw_mixed(settings.train, POSITIVES, NEGATIVES, generator(9)).members for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("arity", [1, 2, 16])
@pytest.mark.parametrize("positive", [False, True])
def test_calibration_groups_have_exactly_one_positive_or_none(arity: int, positive: bool) -> None:
    lines = groups.draw_for_calibration(arity, 100, positive, POSITIVES, NEGATIVES, generator())
    assert lines.shape == (100, arity)
    assert ((lines < 64).sum(dim=1) == int(positive)).all()
    assert all(len(set(line)) == arity for line in lines.tolist())


def test_too_few_images_for_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        groups.decks(torch.arange(3), 1, 4, generator())
