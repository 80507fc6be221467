"""kafka-python, with its names as we use them; whoever imports it first in a process does it here."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # on Python 3.11 and 3.12 it reads its schemas in a way that is deprecated there
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka import errors as client
    from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
    from kafka.codec import has_lz4, has_snappy, has_zstd
    from kafka.consumer import subscription_state
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.future import Future
    from kafka.net.compat import KafkaNetClient
    from kafka.net.inet import KafkaNetSocket
    from kafka.net.manager import KafkaConnectionManager
    from kafka.net.sasl.oauth import AbstractTokenProvider
    from kafka.net.selector import NetworkSelector
    from kafka.producer.producer_batch import ProducerBatch
    from kafka.protocol.api_header import ResponseClassRegistry
    from kafka.protocol.consumer.offsets import IsolationLevel, OffsetSpec
    from kafka.record.memory_records import MemoryRecordsBuilder
    from kafka.structs import OffsetAndMetadata, TopicPartition

RebalanceListener: Any = vars(subscription_state)["AsyncConsumerRebalanceListener"]
"""Pyright takes the part of the file where it stands for unreachable."""
NOT_OURS: tuple[type[Exception], ...] = (client.IllegalStateError, KeyError, ValueError)
"""What a consumer raises for a partition that is not assigned any more. It may be taken away at any moment, by the
client's own thread.
"""

__all__ = [
    "NOT_OURS",
    "AbstractTokenProvider",
    "ConfigResource",
    "ConfigResourceType",
    "CooperativeStickyAssignor",
    "Future",
    "IsolationLevel",
    "KafkaAdminClient",
    "KafkaConnectionManager",
    "KafkaConsumer",
    "KafkaNetClient",
    "KafkaNetSocket",
    "KafkaProducer",
    "MemoryRecordsBuilder",
    "NetworkSelector",
    "NewPartitions",
    "NewTopic",
    "OffsetAndMetadata",
    "OffsetSpec",
    "ProducerBatch",
    "RebalanceListener",
    "ResponseClassRegistry",
    "TopicPartition",
    "client",
    "has_lz4",
    "has_snappy",
    "has_zstd",
]
