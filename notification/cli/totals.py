"""How many dead letters are meant, and what of a selection is not there."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from .letters import Selection, browsed, counted
from .listing import By, Groups, kinds
from .screen import complain
from .target import Target


@frozen
class Total:
    """How many are meant, and the exit code if nothing goes wrong from here on."""

    number: int
    code: int


async def count_meant(target: Target, selection: Selection, limit: int, *, show_groups: bool) -> Total:
    """Count them, and say what of the selection is not there."""
    groups, found = Groups(By.cause), set[str]()
    if selection.ids or show_groups:
        async for letter in browsed(target.dead, selection):
            groups.add(letter)
            found.add(letter.id)
        number = groups.number
    else:
        number = await counted(target.dead, selection)
    if show_groups and number:
        groups.show()
    return Total(min(number, limit or number), await tell_missing(target, selection, number, found))


async def tell_missing(target: Target, selection: Selection, number: int, found: set[str]) -> int:
    """Say what is not there; 1 if there was something that should be."""
    for missing in [one for one in selection.ids if one not in found]:
        complain(f"no dead letter of {target.name} has the id {missing}")
    if number or selection.ids:
        return 1 if set(selection.ids) - found else 0
    types = Counter([letter.type async for letter in browsed(target.dead, Selection())])
    if types and not selection.is_everything:
        complain(f"no dead letter of {target.name} fits {selection}; there are {kinds(types)}")
        return 1
    complain(f"no dead letters in {target.name}")
    return 0
