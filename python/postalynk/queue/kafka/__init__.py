"""The queue on Apache Kafka: `KafkaQueue` behind the interface of `postalynk.queue.protocol`.

Producer (`producer`), readers (`reader`, `member`), local copies of compacted topics (`tables`),
and the topics themselves (`topics`, `growth`). How a cluster is reached is in `cluster`.
"""

from postalynk.queue.kafka.queue import KafkaQueue

__all__ = ["KafkaQueue"]
