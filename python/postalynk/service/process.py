"""One process from first socket to last commit.

**Order.** Opening goes bottom up: queue, control state, PostgreSQL, engine, worker (which restores
before it fetches), recorder, listeners; only then ``ready`` is printed. Closing is the reverse, so
nothing is accepted that nobody would work on, and what a worker has recorded is projected before
PostgreSQL stops. PostgreSQL may be absent at any time: it is a projection.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from postalynk.control.directory import Directory
from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.engine import Engine, open_engine
from postalynk.errors import PostalynkError
from postalynk.ingest.app import build_app
from postalynk.observability.logs import log
from postalynk.policy.load import load as load_policies
from postalynk.queue import open_queue
from postalynk.queue.protocol import Queue
from postalynk.recorder.projection import Recorder
from postalynk.service.client import SOCKET_NAME, control_directory
from postalynk.service.control_app import control_app
from postalynk.service.listener import Listener, bind, bind_unix
from postalynk.service.operations import LiveOperations, master_key_path
from postalynk.settings import Settings
from postalynk.storage.hot.embedded import EmbeddedPostgres
from postalynk.worker.pipeline import Worker

DRAIN_S = 30.0
RETENTION_EVERY_S = 60.0

Progress = Callable[[str], None]
