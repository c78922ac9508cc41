"""``postalynk topics``: the topics on Kafka."""

import msgspec
from cyclopts import App

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.errors import ControlError
from postalynk.settings import Settings

topics = App(name="topics", help="The topics on Kafka: as they should be, and how many partitions.")
app.command(topics)


@topics.command
def apply(*, dry_run: bool = False, common: Common = COMMON) -> int:
    """Create the topics that are missing and set what differs; explain what is not ours to mend.

    Parameters
    ----------
    dry_run
        Only say what differs.
    """
    from postalynk.queue.kafka.cluster import Cluster
    from postalynk.queue.kafka.topics import apply as apply_plan

    queue = _kafka(common).queue
    report = apply_plan(Cluster.of(queue), queue, is_dry_run=dry_run)
    if common.json:
        emit_json(msgspec.to_builtins(report))
    else:
        done = {"create": "would be created", "set": "would be set", "refuse": "left as it is"}
        if not dry_run:
            done |= {"create": "created", "set": "set"}
        table(
            [
                {
                    "topic": f.topic,
                    "what": f.key,
                    "is": f.is_,
                    "should be": f.should,
                    "done": f"{done[f.action]}: {f.reason}" if f.reason else done[f.action],
                }
                for f in report.findings
            ],
            ["topic", "what", "is", "should be", "done"],
            empty=f"All {report.topics} topics are as they should be.",
        )
    return 1 if report.is_refused else 0


@topics.command
def grow(to: int, *, dry_run: bool = False, common: Common = COMMON) -> None:
    """Give every topic more partitions, once everything is drained and the workers are stopped.

    Parameters
    ----------
    to
        A power of two, 1024 at most.
    dry_run
        Only say whether it could be done.
    """
    from postalynk.queue.kafka.cluster import Cluster
    from postalynk.queue.kafka.growth import grow as grow_to

    settings = _kafka(common)
    directory = settings.path(settings.queue.directory)
    growth = grow_to(Cluster.of(settings.queue), directory, to, is_dry_run=dry_run)
    if common.json:
        emit_json(msgspec.to_builtins(growth))
        return
    verb = "would grow" if dry_run else "grown"
    out.print(f"{verb} from {growth.before} to {growth.after} partitions, {growth.claims} "
              f"idempotency claims copied; now set queue.partitions = {growth.after}")  # fmt: skip


def _kafka(common: Common) -> Settings:
    settings = common.settings()
    if not settings.queue.is_kafka:
        raise ControlError(
            f"queue.url = {settings.queue.url!r} has no topics to look after",
            fix="write kafka://host:9092",
        )
    return settings
