"""Find where a ledger's chain was broken: its rows and its head in, every break out. Never repairs one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from selfheal_assets.core.ledger_chain import GENESIS, Head, Link, canonical_bytes, digest

START = Link(0, GENESIS, None)
SEARCHED = 300
"""How many records that do not fit are looked for at another place; the search is quadratic."""


class BreakKind(StrEnum):
    EDITED = "edited"
    DELETED = "deleted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"


@dataclass(frozen=True, kw_only=True)
class Break:
    """One place at which the ledger is not what was written."""

    sequence: int
    """The first number concerned."""
    what: BreakKind
    sentence: str


def breaks(links: Iterable[Link], head: Head) -> list[Break]:
    """Every break, in the order of the ledger; none for a sound one.

    Args:
        links: Every row by number, read once and not kept.
        head: Read before the links; no link beyond `head.newest`.
    """
    walk = _Walk()
    for link in links:
        walk.step(link)
    found = walk.explained()
    return sorted([*found, *_end(walk.last, head, {b.sequence for b in found})], key=lambda b: b.sequence)


@dataclass(frozen=True)
class _Misfit:
    """A row whose hash does not follow from the row before it."""

    link: Link
    before: Link
    canonical: bytes

    @property
    def after_gap(self) -> bool:
        return self.link.sequence > self.before.sequence + 1


@dataclass
class _Walk:
    """Where the reading stands; holds no more of the ledger than what does not fit."""

    last: Link = START
    recomputed: str | None = GENESIS
    """What the last row's hash should be; lets one changed hash be told once, not again at the row after it."""
    found: list[Break] = field(default_factory=list)
    misfits: list[_Misfit] = field(default_factory=list)

    def step(self, link: Link) -> None:
        before, recomputed = self.last, self.recomputed
        self.last, self.recomputed = link._replace(record=None), None
        if link.record is None:
            self._gap(before.sequence, link.sequence)
            self.found.append(_unreadable(link.sequence))
            return
        canonical = canonical_bytes(link.record)
        self.recomputed = digest(before.hash, canonical)
        fits = link.hash == self.recomputed or (recomputed is not None and link.hash == digest(recomputed, canonical))
        if not fits:
            self._gap(before.sequence, link.sequence)
            self._misfit(_Misfit(self.last, before, canonical))
        elif link.sequence != before.sequence + 1:
            self.found.append(_renumbered(link.sequence, before.sequence))

    def _gap(self, before: int, sequence: int) -> None:
        if sequence > before + 1:
            self.found.append(_missing(before + 1, sequence - 1))

    def _misfit(self, misfit: _Misfit) -> None:
        if len(self.misfits) < SEARCHED:
            self.misfits.append(misfit)
        elif not misfit.after_gap:
            self.found.append(_unfitting(misfit))

    def explained(self) -> list[Break]:
        """All that was found, the misfits told as moved, or else as changed unless a gap before them explains them."""
        places = {m.before.hash: m.before.sequence for m in self.misfits}
        places |= {m.link.hash: m.link.sequence for m in self.misfits}
        moved = [m for m in self.misfits if _fits_elsewhere(m, places)]
        changed = [m for m in self.misfits if m not in moved and not m.after_gap]
        return [*self.found, *(_moved(m.link.sequence) for m in moved), *map(_unfitting, changed)]


def _fits_elsewhere(misfit: _Misfit, places: dict[str, int]) -> bool:
    """Whether the record follows from one that does not stand before it."""
    digests = (digest(h, misfit.canonical) for h, place in places.items() if place != misfit.before.sequence)
    return any(d == misfit.link.hash or d in places for d in digests)


def _unreadable(sequence: int) -> Break:
    sentence = f"Record {sequence} is not in the form in which a ledger writes."
    return Break(sequence=sequence, what=BreakKind.EDITED, sentence=sentence)


def _moved(sequence: int) -> Break:
    sentence = f"Record {sequence} does not stand after the record after which it was written."
    return Break(sequence=sequence, what=BreakKind.REORDERED, sentence=sentence)


def _missing(first: int, last: int) -> Break:
    return Break(sequence=first, what=BreakKind.DELETED, sentence=f"Missing: {_span(first, last)}.")


def _span(first: int, last: int) -> str:
    return f"record {first}" if first == last else f"records {first} to {last}"


def _unfitting(misfit: _Misfit) -> Break:
    sequence, before = misfit.link.sequence, misfit.before.sequence
    origin = f"record {before}" if before else "the beginning"
    sentence = f"Record {sequence} does not follow from {origin}: it was changed, or what stood before it was."
    return Break(sequence=sequence, what=BreakKind.EDITED, sentence=sentence)


def _renumbered(sequence: int, before: int) -> Break:
    origin = f"after record {before}" if before else "first"
    sentence = f"Record {sequence} was written right {origin}: its number was changed."
    return Break(sequence=sequence, what=BreakKind.EDITED, sentence=sentence)


def _end(last: Link, head: Head, known: set[int]) -> list[Break]:
    """What the head tells of the newest records that the chain by itself cannot."""
    sequence, what = last.sequence, BreakKind.EDITED
    if not head.hash:
        what = BreakKind.TRUNCATED
        sentence = f"The head is missing: whether records after {sequence} were deleted cannot be told."
    elif sequence > head.sequence:
        sequence = head.sequence + 1
        sentence = f"After the head: {_span(sequence, last.sequence)}, put in by another, or the head was changed."
    elif sequence < head.sequence and last.hash == head.hash:
        what = BreakKind.DELETED
        missing = head.sequence - sequence
        sentence = f"{missing} taken out and the rest renumbered: number {sequence} was written as {head.sequence}."
    elif sequence < head.sequence:
        what, sequence = BreakKind.TRUNCATED, sequence + 1
        sentence = f"Missing at the end: {_span(sequence, head.sequence)}."
    elif last.hash != head.hash and sequence not in known:
        sentence = f"Record {sequence} is not the one that the head names: one of the two was changed."
    else:
        return []
    return [Break(sequence=sequence, what=what, sentence=sentence)]
