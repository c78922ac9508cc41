"""Accept: authenticate, validate, claim the idempotency key, append, answer.

**Problem.** A caller that is told 202 must never learn later that nothing was kept; a caller that
is refused must learn every reason at once; and one message may cost only some tens of microseconds.
**Model.** ``POST /emails`` and ``/emails/batch`` are a raw ASGI branch (`intake`): head, body,
typed decode, composition, one group-committed append (`acceptor`), answer. Whatever fails the typed
decode or a check is read again slowly and untyped (`inspection`), which lists every problem by
field. All else is Starlette (`app`).
**Invariants.** Nothing is answered before its append is durable. One idempotency key stands for one
set of message ids for ever, whatever crashes (`idempotency`). Buffers are bounded in bytes
(`body`).
**Not here.** Rendering, routing, suppression lists (decision 9), the HTTP server itself.
"""
