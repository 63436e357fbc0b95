"""The one error tree. A message says the rule, then the value received, then what to do."""


class SelfhealError(Exception):
    """Base of every error that selfheal raises on purpose."""


class SpecError(SelfhealError, ValueError):
    """A declaration (defs.yaml, checks file, Feast file) breaks a rule."""


class BatchError(SelfhealError):
    """A batch cannot be found, read or written."""


class UnreadableFileError(BatchError):
    """A landed file's bytes are not a table."""


class UnusableLabelsError(BatchError):
    """A label file is a table, and not one of labels."""


class FileWithdrawnError(BatchError):
    """A registered file was removed or replaced by its sender before it was read."""


class FeatureError(SelfhealError):
    """The feature store lost rows, or cannot answer."""


class DetectorError(SelfhealError):
    """A drift detector cannot run at all (not: too little data, which is UNKNOWN)."""


class TrainingError(SelfhealError):
    """A model cannot be tuned or trained on the rows given."""


class RegistryError(SelfhealError):
    """The model registry refused or lost something."""


class AliasConflictError(RegistryError):
    """Compare-and-swap found another version under the alias than expected."""


class ChecksError(SelfhealError):
    """The quality checks could not be evaluated at all."""


class HomeError(SelfhealError):
    """SELFHEAL_HOME is missing, or was made by another version."""


class LedgerError(SelfhealError):
    """The ledger cannot take a record, lost one, or holds what it did not write."""


class BusyError(SelfhealError):
    """Another process holds what only one may hold, and did not let go in time."""


class ServiceError(SelfhealError):
    """A configured service cannot be reached, or refuses what is asked of it."""


class IncidentError(SelfhealError):
    """An incident, or the approval that it waits for, cannot be found or is not in the state that is asked for."""


class ServingError(SelfhealError):
    """The model server cannot start, answer or be steered."""


class NotReadyError(ServingError):
    """No model stands ready to answer."""


class RefusedRequestError(ServingError):
    """The model server refused a request because of what is in it: sending it again does not help."""


class OverloadedError(ServingError):
    """The model server had no room for a request, and the deadline passed."""


class DeadlineError(ServingError):
    """No answer came from the model server before the deadline."""


class LogFullError(ServingError):
    """The prediction log cannot take an answer: its disk is full, or too slow."""


class RolloutError(SelfhealError):
    """A rollout cannot be found, or is not in the state that is asked for."""
