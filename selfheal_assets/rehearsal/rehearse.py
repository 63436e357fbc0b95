"""Rehearse a policy and its rivals over histories, on every core: declarations in, scores out. Never prints."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from selfheal_assets.core.batch_gate import BatchJudgement
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.rehearsal.history import FIRST_BATCHES, History, episodes, simulated
from selfheal_assets.rehearsal.player import NOTHING_KNOWN, Played, Policy, Trigger, play
from selfheal_assets.rehearsal.recorded import recorded
from selfheal_assets.rehearsal.rivals import checked, rivals
from selfheal_assets.rehearsal.scoring import Score, Truth, scores

DEFAULT_BATCHES = 32


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a history is made from, small enough to be sent to another process."""

    plan: tuple[str, ...] = ()
    rows: int = 2_500
    seed: int = 7
    warm: bool = True
    recorded: Path | None = None
    batches: int | None = None

    def read(self, spec: ModelSpec) -> History:
        if self.recorded is not None:
            return recorded(spec, self.recorded, self.batches)
        return simulated(spec, self.plan, self.rows, self.seed, warm=self.warm)


def sources_of(
    faults: Sequence[str], *, recorded: Path | None, batches: int | None, rows: int, seeds: int
) -> list[Source]:
    """One source a seed, or the recorded one. Raises SpecError for unknown faults, and too few batches for them."""
    if recorded is not None:
        return [Source(recorded=recorded, batches=batches)]
    count = DEFAULT_BATCHES if batches is None else batches
    if faults and count < FIRST_BATCHES + len(faults):
        raise SpecError(
            f"A simulated history must have {FIRST_BATCHES} batches and one for each of its episodes; received {count} "
            f"for {len(faults)} faults. Give more --batches, or fewer --faults."
        )
    plan = tuple(episodes(faults, count))
    return [Source(plan=plan, rows=rows, seed=seed) for seed in range(1, seeds + 1)]


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One history, played by the policy and by each of its rivals."""

    history: str
    truths: tuple[Truth, ...]
    plays: tuple[Played, ...]
    """The policy's first."""
    scores: tuple[Score, ...]
    """Of the plays, in their order."""


@dataclass(frozen=True, kw_only=True)
class _Ended:
    history: str
    truths: tuple[Truth, ...]
    played: Played


def played_through(
    spec: ModelSpec,
    source: Source,
    trigger: Trigger,
    labels_after: int,
    *,
    tune: bool = False,
    judgements: Mapping[int, BatchJudgement] = NOTHING_KNOWN,
) -> tuple[History, Played]:
    """The whole history under one trigger, here and now."""
    history = source.read(spec)
    if not history.arrivals:
        raise SpecError(f"A history must have batches; received none in {source}. Give more.")
    *_, played = play(spec, history, trigger, labels_after=labels_after, tune=tune, judgements=judgements)
    return history, played


def _run(
    spec: ModelSpec,
    source: Source,
    trigger: Trigger,
    labels_after: int,
    tune: bool,
    judgements: Mapping[int, BatchJudgement] = NOTHING_KNOWN,
) -> _Ended:
    history, played = played_through(spec, source, trigger, labels_after, tune=tune, judgements=judgements)
    return _Ended(history=history.name, truths=tuple(map(Truth.of, history.arrivals)), played=played)


def rehearse(
    spec: ModelSpec,
    sources: Sequence[Source],
    *,
    names: Sequence[str],
    labels_after: int = 0,
    draws: int = 3,
    tune: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Rehearsal]:
    """One rehearsal a source, in their order; the same arguments give the same decisions, however many `workers`.

    `progress` hears (plays ended, plays known of so far).
    """
    checked(names)
    found: dict[int, list[_Ended]] = {}
    with ProcessPoolExecutor(workers or os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        first: Trigger = Policy()
        waiting: dict[Future[_Ended], tuple[int, int]] = {
            pool.submit(_run, spec, source, first, labels_after, tune): (place, 0)
            for place, source in enumerate(sources)
        }
        total, slots = len(waiting), dict[tuple[int, int], _Ended]()
        for (place, rank), ended in _as_they_end(waiting):
            slots[place, rank] = ended
            if rank == 0:
                others = rivals(names, ended.played, len(ended.truths), seed=sources[place].seed, draws=draws)
                for number, rival in enumerate(others, start=1):
                    future = pool.submit(_run, spec, sources[place], rival, labels_after, tune, ended.played.judgements)
                    waiting[future] = (place, number)
                total += len(others)
            progress(len(slots), total)
    for place, rank in sorted(slots):
        found.setdefault(place, []).append(slots[place, rank])
    return [_rehearsal(spec, found[place], labels_after) for place in sorted(found)]


def _as_they_end(waiting: "dict[Future[_Ended], tuple[int, int]]") -> "Iterator[tuple[tuple[int, int], _Ended]]":
    """Until none is left; more may be added meanwhile."""
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            yield waiting.pop(future), future.result()


def _rehearsal(spec: ModelSpec, ended: Sequence[_Ended], labels_after: int) -> Rehearsal:
    plays = tuple(one.played for one in ended)
    truths = ended[0].truths
    return Rehearsal(
        history=ended[0].history,
        truths=truths,
        plays=plays,
        scores=tuple(scores(spec, truths, plays, labels_after)),
    )
