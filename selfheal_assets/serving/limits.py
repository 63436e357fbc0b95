"""Read a request's body, bounded: a request in, at most so many bytes out. Never buffers more than the limit."""

from fastapi import Request

from selfheal_assets.serving.refusals import refusal

KIB = 1024


async def read_body(request: Request, max_kb: int) -> bytes:
    """The body. Raises 413 for a larger one, whether it tells its length or not, and 415 for one that is no JSON."""
    _require_json(request.headers.get("content-type", ""))
    limit, length = max_kb * KIB, request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        raise _too_large(max_kb)
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(max_kb)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require_json(content_type: str) -> None:
    """A browser's form cannot reach a server on 127.0.0.1 without asking when the type must be JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise refusal(
            415, f"The content type must be application/json; received {kind[:80]!r}. Set the header Content-Type."
        )


def _too_large(max_kb: int) -> Exception:
    # Closed: what else the client sends is not read.
    closing = {"Connection": "close"}
    return refusal(413, f"A body must be at most {max_kb} KiB. Send fewer rows a request.", headers=closing)
