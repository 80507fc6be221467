"""A topic that is written to, as its brokers describe it."""

from __future__ import annotations

from typing import Any

from ._kafka_client import ConfigResource, ConfigResourceType, KafkaAdminClient, client
from ._kafka_connect import connected
from ._kafka_errors import no_topic
from ._kafka_options import DEFAULT_LIMIT, Brokers
from ._kafka_topics import described
from .errors import ConfigurationError

_LIMIT, _POLICY = "max.message.bytes", "cleanup.policy"


def limit_of(brokers: Brokers, topic: str) -> int:
    """The most bytes that a topic takes in a batch, and so in a record. Blocks.

    Raises ConfigurationError when it is missing, or would lose events, and what the client raises.
    """
    admin: Any = connected(KafkaAdminClient, brokers.admin())
    try:
        [found] = described(admin, [topic])
        error = client.for_code(found["error_code"])
        if error is client.UnknownTopicOrPartitionError:
            raise ConfigurationError(no_topic(brokers, topic))
        if error in {client.TopicAuthorizationFailedError, client.InvalidTopicError}:
            raise error(topic)
        settings = _settings(admin, topic)
    finally:
        admin.close()
    if "compact" in settings.get(_POLICY, ""):
        raise ConfigurationError(
            f"{brokers.name}: the topic {topic!r} is compacted, which removes all events of a key but the last; a "
            f"queue wants {_POLICY}=delete"
        )
    return int(settings.get(_LIMIT, DEFAULT_LIMIT))


def _settings(admin: Any, topic: str) -> dict[str, str]:
    """Those of its settings that matter here; none when this user may not see them."""
    wanted: Any = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys([_LIMIT, _POLICY], ""))
    try:
        found = admin.describe_configs([wanted], config_filter="all")
    except client.KafkaError:
        return {}
    settings = found.get("topic", {}).get(topic, {})
    return {name: setting["value"] for name, setting in settings.items()}
