"""kafka-python, with its names as the tests use them; what imports it first does it here."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # on Python 3.11 and 3.12 it reads its schemas in a way that is deprecated there
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import (
        ACL,
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ConfigResource,
        MemberToRemove,
        NewPartitions,
        NewTopic,
        ResourcePattern,
        ResourcePatternFilter,
        ResourceType,
        UserScramCredentialUpsertion,
    )
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.errors import InvalidReplicationFactorError, KafkaError, KafkaTimeoutError
    from kafka.net.inet import KafkaNetSocket
    from kafka.producer.record_accumulator import RecordAccumulator
    from kafka.protocol.api_header import RequestHeader
    from kafka.protocol.consumer.group import SyncGroupResponse
    from kafka.record.memory_records import MemoryRecords

__all__ = [
    "ACL",
    "ACLFilter",
    "ACLOperation",
    "ACLPermissionType",
    "ACLResourcePatternType",
    "ConfigResource",
    "CooperativeStickyAssignor",
    "InvalidReplicationFactorError",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaError",
    "KafkaProducer",
    "KafkaTimeoutError",
    "MemberToRemove",
    "MemoryRecords",
    "NewPartitions",
    "NewTopic",
    "RecordAccumulator",
    "RequestHeader",
    "ResourcePattern",
    "ResourcePatternFilter",
    "ResourceType",
    "SyncGroupResponse",
    "TopicPartition",
    "UserScramCredentialUpsertion",
]

_connect = KafkaNetSocket.sock_connect


async def _connect_or_close(self: KafkaNetSocket, net: Any, sock: Any, *args: Any, **options: Any) -> Any:
    """It leaves sockets that did not connect to the garbage collector, whose warning about them is an error here."""
    try:
        return await _connect(self, net, sock, *args, **options)
    except BaseException:
        sock.close()
        raise


KafkaNetSocket.sock_connect = _connect_or_close
