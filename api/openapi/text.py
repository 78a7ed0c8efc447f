"""What the document says before its operations."""

from __future__ import annotations

INTRODUCTION = """\
The same objects as in YAML, over HTTP. A write is a commit in the desired-state repository; the daemon
makes it so, and an object's `status` says how far it is.

**Who asks.** Send a token of `reconciler token create` as `Authorization: Bearer TOKEN`, or as the
password of HTTP Basic. Browsers make a session with `POST /api/v1/session`.

**Forms.** JSON and YAML, chosen by `Content-Type` and `Accept`. A misspelt query parameter is refused.
What is wrong comes as `application/problem+json`, with every mistake of a body at once and a `requestId`
that is in the server's log.

**Concurrency.** A GET has an `ETag`. Send it as `If-Match` with PUT, PATCH or DELETE, and nobody's
change is overwritten: 412 if there was one. `If-None-Match: *` with PUT makes only what is not there
yet. With `If-None-Match: ETAG` a GET answers 304 while nothing changed. `Idempotency-Key` makes the
repetition of a write harmless: the first answer comes again.

**Before and after.** `?dryRun=true` answers with the plan, and changes nothing. `?wait=30s` answers when
the object is ready, or the time is over.

**Acts** (start, restart, snapshots) answer 202 with an operation, and its place in `Location`. It can be
watched, waited for and, until it is begun, taken back.

**Events** are a stream (`Accept: text/event-stream`) that goes on after the `Last-Event-ID` that you
send.
"""
"""In the small part of Markdown that `api.openapi.page` reads: paragraphs, bold, code."""
