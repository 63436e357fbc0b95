"""A server writes no line a request, whatever is configured in which order."""

import logging

import uvicorn

from selfheal_assets.serving.logs import CONFIGURATION, configure_logs


def test_requests_are_not_logged() -> None:
    uvicorn.Config("unused:app", log_config=CONFIGURATION, access_log=False)
    configure_logs()
    assert not logging.getLogger("uvicorn.access").hasHandlers()
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.INFO)
