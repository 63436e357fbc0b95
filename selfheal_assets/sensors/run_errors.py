"""Read from Dagster's event log what ended a run: a run in, the errors from the outermost to the cause out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster._core.errors import DagsterExecutionStepExecutionError

from selfheal_assets.core.failures import ErrorChain
from selfheal_assets.sensors.step_pods import pod_words

OF_INTEREST = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE, DagsterEventType.ENGINE_EVENT}
EVENTS_READ = 40
"""The last of a run that are of interest; what ended it is among them."""
LONGEST_MESSAGE = 1_000
LONGEST_CHAIN = 20
_DIED = re.compile(r"terminated by signal|unexpectedly exited|exit code|OOMKilled|worker status")
"""What Dagster's engine says of a process that died: it has no error of its own."""
WRAPPER = DagsterExecutionStepExecutionError.__name__


@dataclass(frozen=True, kw_only=True)
class RunError:
    """What a run failed of."""

    step: str | None
    chain: ErrorChain

    @property
    def error_class(self) -> str:
        """Of the error that the step raised; "" for a run that ended without one."""
        return next((name for name, _ in self.chain if name not in ("", WRAPPER)), "")

    @property
    def message(self) -> str:
        raised = next((words for name, words in self.chain if name not in ("", WRAPPER)), "")
        return raised or next((words for _, words in self.chain if words), "nothing is known of its end")


def run_error(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunError:
    """The error of a run that has ended."""
    if run.status is dg.DagsterRunStatus.CANCELED:
        return RunError(step=None, chain=[("", "a person ended the run")])
    if run.status is dg.DagsterRunStatus.SUCCESS:
        return RunError(step=None, chain=[("", "the run ended well and left undone what it was for")])
    read = instance.get_records_for_run(run.run_id, of_type=OF_INTEREST, limit=EVENTS_READ, ascending=False)
    logged = [record.event_log_entry.dagster_event for record in read.records]
    events = [event for event in reversed(logged) if event is not None]
    failed = [event for event in events if event.is_step_failure]
    # The steps' own errors come first: a run's error repeats the first of them.
    ordered = [*failed, *(event for event in events if not event.is_step_failure)]
    chain = list(dict.fromkeys(link for event in ordered for link in _links(event)))
    pods = [pod_words(instance, message) for _, message in chain]
    chain = [*(("", words[:LONGEST_MESSAGE]) for words in dict.fromkeys(pods) if words), *chain]
    return RunError(step=failed[0].step_key if failed else None, chain=chain[:LONGEST_CHAIN])


def _links(event: DagsterEvent) -> Iterator[tuple[str, str]]:
    error, words = getattr(event.event_specific_data, "error", None), event.message or ""
    while error is not None:
        name = error.cls_name or ""
        # Dagster puts the qualified name of the class in front.
        message = re.sub(rf"^[\w.]*{re.escape(name)}:? ?", "", error.message.strip()) if name else error.message
        yield name, message[:LONGEST_MESSAGE]
        error = error.cause or error.context
    if event.event_type is not DagsterEventType.ENGINE_EVENT or _DIED.search(words):
        yield "", words[:LONGEST_MESSAGE]
