"""Declare the streams of the alarm benchmark: what changes, how far and how often each is drawn. Never runs one."""

from dataclasses import dataclass, replace

from alarms_world import Regime, regime_of_drop, true_drop

HARMFUL_DROP = 0.10
"""A loss of AUC from which on a change is called harmful here: twice `performance.max_drop`, of which a batch of 1,000
rows, whose interval reaches 0.025 to both sides, can tell what is beyond from what is within."""
ROUNDING = 0.001
"""The sizes of changes are found to within this."""
PAST_BATCHES, AFTER_BATCHES = 6, 8
"""Batches before a change, and from the change on."""
LATE = (0, 2)
MOST_FADE, MOST_MOVE = 1.3, 3.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is run."""

    stationary_streams: int = 24
    stationary_batches: int = 120
    harmful_streams: int = 48
    gradual_streams: int = 24
    other_streams: int = 12
    benign_streams: int = 20
    evidently_streams: int = 3
    """Of each scenario: an answer of Evidently's takes longer than everything else of a batch."""
    evidently_batches: int = 10
    """Of each stationary stream."""
    calibration: float = 1.0
    """Draws for the configured rates, relative to the default."""

    def scaled(self, scale: float) -> "Size":
        """So many times the streams and draws, two at least; the length of a stream stays."""
        streams = {name: value for name, value in vars(self).items() if name.endswith("_streams")}
        return replace(
            self,
            **{name: max(round(value * scale), 2) for name, value in streams.items()},
            calibration=self.calibration * scale,
        )


QUICK = Size(
    stationary_streams=2,
    stationary_batches=6,
    harmful_streams=2,
    gradual_streams=2,
    other_streams=2,
    benign_streams=2,
    evidently_streams=1,
    evidently_batches=2,
    calibration=0.02,
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Streams of one kind, drawn alike but for the seed."""

    kind: str
    """covariate, concept, gradual or benign."""
    name: str
    regimes: tuple[Regime, ...]
    """Of the batches from the change on; the last one stays."""
    streams: int
    place: int
    """Part of the seed."""

    def regime(self, after: int) -> Regime:
        """Of the batch that is `after` batches after the first changed one; negative: before the change."""
        return self.regimes[min(after, len(self.regimes) - 1)] if after >= 0 else Regime()

    @property
    def drop(self) -> float:
        """The AUC that the champion loses in the end."""
        return true_drop(self.regimes[-1])

    @property
    def harmful(self) -> bool:
        return self.kind != "benign" and _harms(self.regimes[-1])

    @property
    def onset(self) -> int:
        """The changed batch from which delay is counted: the first that is harmful; the first of all where none is."""
        if not self.harmful:
            return 0
        return next(place for place, one in enumerate(self.regimes) if _harms(one))

    @property
    def batches(self) -> int:
        """From the change on."""
        return len(self.regimes) - 1 + AFTER_BATCHES


def scenarios(size: Size) -> tuple[Scenario, ...]:
    """All but the stationary ones, in the order of the tables."""
    found = [
        *(("covariate", f"{drop:.2f}", (_moved(drop),)) for drop in (0.02, 0.05, 0.08, 0.10, 0.12, 0.15)),
        *(("concept", f"{drop:.2f}", (_faded(drop),)) for drop in (0.02, 0.05, 0.08, 0.10, 0.12, 0.15)),
        *(("gradual", f"0.15 over {steps} batches", _ramp(0.15, steps)) for steps in (5, 10)),
        ("benign", "two features without effect, by 0.6 sd", (_shift(0.6, "student_t4", "two_peaks"),)),
        ("benign", "two features without effect, by 1.2 sd", (_shift(1.2, "student_t4", "two_peaks"),)),
        ("benign", "the mix of two categories, by 0.7 sd", (_shift(0.7, "eight_levels", "twelve_levels"),)),
        ("benign", "two features with an effect, by 0.8 sd", (_shift(0.8, "normal_a", "zero_inflated"),)),
    ]
    return tuple(
        Scenario(kind=kind, name=name, regimes=regimes, streams=_streams(size, kind, regimes), place=place)
        for place, (kind, name, regimes) in enumerate(found)
    )


def _streams(size: Size, kind: str, regimes: tuple[Regime, ...]) -> int:
    if kind in ("benign", "gradual"):
        return size.benign_streams if kind == "benign" else size.gradual_streams
    return size.harmful_streams if _harms(regimes[-1]) else size.other_streams


def _harms(regime: Regime) -> bool:
    return true_drop(regime) >= HARMFUL_DROP - ROUNDING


def _moved(drop: float) -> Regime:
    return regime_of_drop(lambda by: _shift(by, "bend"), drop, MOST_MOVE)


def _faded(drop: float) -> Regime:
    return regime_of_drop(lambda share: Regime(fade=share), drop, MOST_FADE)


def _ramp(drop: float, steps: int) -> tuple[Regime, ...]:
    """The concept fades by equal steps."""
    last = _faded(drop).fade
    return tuple(Regime(fade=last * step / steps) for step in range(1, steps + 1))


def _shift(by: float, *features: str) -> Regime:
    return Regime(moved=dict.fromkeys(features, by))
