"""Clients that never give up: each message has an idempotency key and is retried until answered."""

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request

from tests.support.processes import Postalynk


class Submitters:
    """Some threads that submit ``messages`` single messages; `acknowledged` maps key to id."""

    def __init__(self, target: Postalynk, clients: int, messages: int, pause_s: float) -> None:
        self.target = target
        self.acknowledged: dict[str, str] = {}
        self.contradictions: list[str] = []
        self._pause_s = pause_s
        self._left = list(range(messages))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self, limit_s: float) -> None:
        """Wait until every message has an answer."""
        deadline = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"{len(self._left)} messages were never answered"

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._left:
                    return
                number = self._left.pop()
            key = f"key-{number}"
            while (answer := self._submit(number, key)) is None:
                time.sleep(0.1)
            self._note(key, answer)
            # Now and then the same request again: it must be the same message.
            if random.Random(number).random() < 0.05:
                again = self._submit(number, key)
                if again is not None:
                    self._note(key, again)
            time.sleep(self._pause_s)

    def _note(self, key: str, answer: str) -> None:
        known = self.acknowledged.setdefault(key, answer)
        if known != answer:
            self.contradictions.append(f"{key}: {known} and {answer}")

    def _submit(self, number: int, key: str) -> str | None:
        # Some receivers are slow, so that a kill finds transactions open.
        local_part = "slow" if number % 4 == 0 else "customer"
        message = {
            "from": "Shop <shop@example.com>",
            "to": [f"{local_part}{number}@rcpt.example"],
            "subject": f"Order {number}",
            "text": f"Order {number}\n" * 20,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.target.api_port}/emails",
            json.dumps(message).encode(),
            {
                "Authorization": f"Bearer {self.target.api_key}",
                "Content-Type": "application/json",
                "Idempotency-Key": key,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(json.load(answer)["id"])
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise AssertionError(f"{error.code}: {error.read()!r}") from error
            return None
        # A process that is killed may have sent the head of its answer and not the rest.
        except (OSError, http.client.HTTPException, ValueError):
            return None
