"""Say what the tables of the alarm report mean: constants of prose, for people. Never holds a measured figure."""

from alarms_scenarios import AFTER_BATCHES, PAST_BATCHES

INTRODUCTION = """\
Made by `{command}` in {minutes} minutes. Simulated clocks, the real statistics and the real core: each batch is
measured by the stages' own functions, written to an in-memory ledger, and followed by the core until it comes to rest.
Every threshold is the default. No daemon runs and nothing is trained: a fixed scoring function (AUC {metric}, share of
label 1 {prior}) is the champion. A batch has {rows} rows and {features} features, {categories} of them categories; the
numbers are skewed, heavy-tailed, discrete and rounded ones too, three groups are correlated, two features have holes.
All features count (none is too unimportant), and the two-sample tests are those of `drift.detector: {detector}`. A
batch comes each hour. Square brackets are 95 % intervals."""

STATIONARY = """\
A *heal* is a promoted version or a rollback. It is taken as carried out at once and perfect: the new version scores as
the one before, its reference is the newest four batches and its holdout the last of their rows; `reinstate` never finds
anything. An *incident with a cause* is what people are told of; a *doubt* is something that was raised, that no rule
explained and that went away (nobody is told). A baseline alarms on a batch; a team that wires it to a retraining job
retrains as often. The intervals of selfheal's counts are a Poisson count's; those of the baselines are over the
streams, whose batches share a reference and are not independent."""

RATES = """\
*Against it* is the relative distance for a test that promises the rate itself, and whether the lower end of the
interval stays within the rate where it only promises a limit.

- **Corrected p-values.** Under Benjamini-Hochberg, where nothing moved, the rate of any alarm is the configured rate
  exactly for independent continuous features; correlated, discrete and holed ones alarm at most as often. Each draw has
  a reference of its own; the streams above keep one reference for all their batches, so their rates spread more.
- **Drift RAISED** asks for a PSI of `drift.psi_threshold` besides. That is on purpose: it is rarer than the configured
  false discovery rate by orders, because a change too small to matter is not an alarm, however significant.
- **Performance.** The interval is two-sided, so half of 1 - `confidence` is the rate at which a champion that has lost
  exactly `max_drop` is called harmed by one batch. That holds against its true metric. In production the metric is
  measured on the holdout, whose own error the interval leaves out: a champion that was lucky there is called harmed
  more often, and one that was unlucky less. Of a champion that lost nothing the distance of `max_drop` absorbs it.
- **Risk** promises a limit over a champion's life and no rate: at the highest tolerated risk, from the first row on, it
  alarms at most so often. The bound of the holdout is wide, so in fact nearly never. It watches the newest 60 batches;
  over a longer life the window slides, and the limit holds for each window and not for all of them together.
- **Estimate.** Its interval is the sampling error of a batch and leaves out the error of the calibration on a small
  holdout, so it misses more often than configured. No rate is promised for it."""

CHANGES = f"""\
{PAST_BATCHES} batches as before, then the change; a stream ends with its first heal, or {AFTER_BATCHES} batches after
the change is whole. *Delay* is the number of changed (of gradual changes: harmful) batches whose labels had come when
the heal was decided, as median [least, greatest]; 0 and less means that it was decided before there were any. *Within
2* counts the streams with a delay of at most 2; *cause* is what the first heal was for. *Loss of AUC* is true, with the
labels averaged out. A covariate shift moves the feature `bend` to where the champion never learned that its effect
turns; the meaning of the features stays. A concept change takes away the meaning of four features; no distribution
moves, nor does the share of label 1.

A heal needs harm in 2 of the last 3 batches (`drift.persistence_k`), or two in a row that prove it by their pooled
interval, or the alarm of the risk test. So a heal within two batches of labels needs the first two batches to show the
harm, each or together, against a metric that was measured on a holdout. *Performance RAISED, a loss of 0.1* above is
the chance of one batch, averaged over champions; both batches meet the same lucky or unlucky champion. A loss nearer to
`max_drop` is found later, by the third or fourth batch: more rows a batch, or a larger holdout, find it sooner; so
would a smaller `max_drop`, at the price of more false heals."""

BASELINES = """\
The share of streams with a heal (selfheal, labels in time) or an alarm within the first two changed (harmful) batches;
for a gradual change an earlier alarm counts too. A rule that alarms on most batches of an unchanged world "finds" a
change as surely as it finds none: read these beside *Nothing changes*. KS and Evidently look at inputs alone, so what
they find of a concept change is chance."""

MISLEADS = """\
- **The world is made up.** Rows are independent, nothing is seasonal, and every stream is drawn from one recipe. Real
  streams have weeks and months in them; then every rule here alarms more.
- **The champion is not learned.** It is calibrated and was never chosen among many, so its holdout metric is lucky or
  unlucky by chance alone. A tuned champion is flattered by its holdout, which makes false alarms of harm likelier.
- **Heals are perfect.** What a heal does to the metric, and what a heal for nothing costs, is not measured here.
- **All features count.** By default those with less than 2 % of the champion's gain do not: fewer alarms, and none
  about them.
- **Two batches of labels are 2,000 rows.** Smaller batches show the same loss later, and a loss near `max_drop` may
  stay unproven for long: that is the price of not alarming at chance.
- **The baselines are as they come.** A report, a change detector and a policy are for different ends, and none was
  tuned. Evidently's preset alarms when half of the columns drifted, each by a distance of 0.1: it is quiet because no
  change here moves that many. It was asked about fewer streams and batches, as the tables say.
- **An absence is not a proof.** Where nothing was seen, the upper end of the interval is the statement."""
