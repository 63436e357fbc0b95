"""Answer valid rows: typed rows in, one answer a row out, logged and counted. Never knows of a socket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any
from uuid import uuid4

from selfheal_assets.core.errors import LogFullError, NotReadyError
from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import Line, Logged, Resolved
from selfheal_assets.serving.event_times import resolve_as_of
from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.recent import RecentAnswers, fingerprint
from selfheal_assets.serving.refusals import refusal
from selfheal_assets.serving.scoring import Choice, Scored, choose, score_arms

Row = dict[str, Any]
Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request gets back."""

    answers: list[Answer]
    kept: bool
    """False: the prediction log did not take it."""


class Answering:
    """Answers of one server process. For many threads."""

    def __init__(self, parts: Parts, metrics: ServerMetrics, recent: RecentAnswers | None = None) -> None:
        spec, types = parts.spec, parts.types
        self._parts, self._metrics = parts, metrics
        self._recent = recent if recent is not None else RecentAnswers()
        self._id, self._time = spec.data.event_id, spec.data.event_timestamp
        self._entities, self._request = tuple(types.entities), tuple(types.request)
        self._columns = (self._id, self._time, *self._entities, *self._request, *types.context)
        self._slow_s = spec.serving.max_latency_ms / 1000

    def answer(self, rows: Sequence[Row], arrived: float) -> Answered:
        """One answer a row, in order. `arrived`: when the request came, by `perf_counter`.

        Raises NotReadyError before the first model, ServingError when the model fails, a refusal for repeated ids.
        """
        line = self._parts.lines.line
        if line is None:
            raise NotReadyError("A model must stand ready before a row is scored; none does yet. Try again in a while.")
        known = self._known(rows)
        prints = [fingerprint(row) if self._id in row else None for row in rows]
        new = [place for place in range(len(rows)) if place not in known]
        if not new:
            return Answered([known[place] for place in range(len(rows))], True)
        whole = [self._whole(rows[place]) for place in new]
        answers, kept = self._answer_new(line, whole, [prints[place] for place in new], arrived)
        for place, answer in zip(new, answers, strict=True):
            known[place] = answer
        return Answered([known[place] for place in range(len(rows))], kept)

    def _known(self, rows: Sequence[Row]) -> dict[int, Answer]:
        """Earlier answers by place in the request; refuses an id that stands twice, here or for another row before."""
        known, met, now = dict[int, Answer](), set[Any](), monotonic()
        for place, row in enumerate(rows):
            event_id = row.get(self._id)
            if event_id is None:
                continue
            field = f"rows.{place}.{self._id}"
            if event_id in met:
                problem = {"field": field, "message": "must not repeat within a request"}
                raise refusal(422, "An event id must name one row. Give every row an id of its own.", [problem])
            met.add(event_id)
            earlier = self._recent.get(event_id, now)
            if earlier is not None:
                if earlier.row != fingerprint(row):
                    problem = {"field": field, "message": "was used before, for a row with other values"}
                    raise refusal(409, "An event id must name one row. Give another row another id.", [problem])
                known[place] = earlier.answer
        return known

    def _whole(self, row: Row) -> Row:
        """With every column of the landed row: the id made up, the time the present, context missing where left out."""
        whole = {name: row.get(name) for name in self._columns}
        if whole[self._id] is None:
            whole[self._id] = str(uuid4())
        if whole[self._time] is None:
            whole[self._time] = self._parts.clock.now()
        return whole

    def _answer_new(
        self, line: Line, rows: list[Row], prints: list[int | None], arrived: float
    ) -> tuple[list[Answer], bool]:
        resolved = self._resolve(rows)
        features_s = perf_counter() - arrived
        scored = score_arms(line, resolved.columns, len(rows))
        self._count_scored(line, scored, features_s)
        choices = choose(line, [self._key(row) for row in rows], scored)
        answers: list[Answer] = [
            {"event_id": row[self._id], "score": choice.score, "version": choice.version, "level": level}
            for row, choice, level in zip(rows, choices, resolved.levels, strict=True)
        ]
        first = self._remember(answers, prints)
        latency_ms = 1000 * (perf_counter() - arrived)
        logged = [
            self._logged(line, rows[place], resolved, place, choices[place], scored, latency_ms)
            for place in range(len(rows))
            if first[place] is answers[place]
        ]
        rollout = line.traffic.rollout or ""
        for row in logged:
            self._metrics.answered(row.version, row.arm, rollout, row.level)
        return first, self._keep(logged)

    def _key(self, row: Row) -> str:
        """By what the split between the versions is sticky."""
        return "\x1f".join(str(row[name]) for name in self._entities)

    def _resolve(self, rows: list[Row]) -> Resolved:
        times = [row[self._time] for row in rows]
        entities = {name: [row[name] for row in rows] for name in self._entities}
        request = {name: [row[name] for row in rows] for name in self._request}
        resolved = resolve_as_of(self._parts.features, entities, request, times)
        self._metrics.resolved(resolved.levels)
        return resolved

    def _count_scored(self, line: Line, scored: dict[Arm, Scored], features_s: float) -> None:
        for arm, said in scored.items():
            counted = self._metrics.arm(said.version, arm, line.traffic.rollout or "")
            counted.scored(said.scores, slow=features_s + said.seconds > self._slow_s)

    def _remember(self, answers: list[Answer], prints: list[int | None]) -> list[Answer]:
        """The answers that count: of two requests with the same id at the same time, those of the first."""
        now = monotonic()
        return [
            answer if row is None else self._recent.keep(answer["event_id"], row, answer, now).answer
            for answer, row in zip(answers, prints, strict=True)
        ]

    def _logged(
        self,
        line: Line,
        row: Row,
        resolved: Resolved,
        place: int,
        choice: Choice,
        scored: dict[Arm, Scored],
        latency_ms: float,
    ) -> Logged:
        given = {arm: said.scores[place] for arm, said in scored.items()}
        return Logged(
            event=row,
            features={name: values[place] for name, values in resolved.columns.items() if name not in row},
            version=choice.version,
            arm=choice.arm,
            score=choice.score,
            level=resolved.levels[place],
            latency_ms=latency_ms,
            scores={arm.value: score for arm, score in given.items() if score is not None},
            rollout=line.traffic.rollout,
        )

    def _keep(self, logged: list[Logged]) -> bool:
        """Whether the log took them. It degrades openly: the answer is given, and everyone can see that it is lost."""
        if not logged:
            return True
        try:
            self._parts.log.append(logged)
        except LogFullError:
            self._metrics.lost(len(logged))
            return False
        self._metrics.logged(len(logged))
        return True
