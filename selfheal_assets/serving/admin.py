"""Let operators steer a server: calls that carry the token in, the model's state out. Absent without a token."""

from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Depends, Header

from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.refusals import DOCUMENTED, refusal
from selfheal_assets.serving.schemas import Refusal
from selfheal_assets.serving.state import Readiness, readiness

REFUSED: dict[int | str, dict[str, object]] = {
    401: {"model": Refusal, "description": "The bearer token is missing or wrong."},
    422: DOCUMENTED[422],
}


def admin_router(parts: Parts, token: str) -> APIRouter:
    """`POST /admin/reload`, `/admin/pause` and `/admin/resume`, for whoever has the token."""
    expected = f"Bearer {token}".encode()

    async def authorized(authorization: Annotated[str, Header()] = "") -> None:
        # Bytes, as a header may be any Latin-1; compared in a time that tells nothing about the token.
        if not compare_digest(authorization.encode("latin-1", "replace"), expected):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise refusal(
                401, "An admin call must carry the bearer token. Send it in Authorization.", headers=challenge
            )

    router = APIRouter(prefix="/admin", dependencies=[Depends(authorized)], responses=REFUSED)

    @router.post("/reload")
    def reload() -> Readiness:
        """Look at the registry at once. Of several worker processes, only the one that answers does."""
        parts.lines.reload()
        return readiness(parts)

    @router.post("/pause")
    def pause() -> Readiness:
        """Keep the versions as they are, whatever the registry says."""
        parts.lines.pause()
        return readiness(parts)

    @router.post("/resume")
    def resume() -> Readiness:
        """Follow the registry again."""
        parts.lines.resume()
        return readiness(parts)

    return router
