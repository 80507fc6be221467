"""The errors of Kafka and its client in our words."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

from ._kafka_client import client
from ._kafka_connect import causes_of, wants_certificate
from ._kafka_options import Brokers
from .errors import ConfigurationError, CorruptMessage, NotificationError, QueueError, QueueUnavailable, escape

ERRORS = (client.KafkaError, OSError, ValueError, RuntimeError, AssertionError)
"""What the client raises; the last three where it lost its way."""


class Unreadable(Exception):
    """A partition has something that its cause says can't be read; what it is called is told by `str`."""


_Known = tuple[tuple[type[Exception], str], ...]
_BAD_EVENT: _Known = (
    (client.MessageSizeTooLargeError, "takes no event of this size; its topic's max.message.bytes says how large"),
    (client.RecordListTooLargeError, "takes no batch of this size; its topic's segment.bytes says how large"),
    (client.InvalidRecordError, "refuses this event"),
    (client.InvalidTimestampError, "refuses the time of this event: the clocks of this machine and Kafka differ"),
    (client.PolicyViolationError, "has a policy against this event"),
)
_NEVER_HEALS: _Known = (
    (client.SaslAuthenticationFailedError, "refuses the user name, password or token"),
    (client.UnsupportedSaslMechanismError, "does not log in this way; ?sasl= names another one"),
    (client.IllegalSaslStateError, "wants no login at this port; leave ?sasl= out, or name the port where it does"),
    (client.TopicAuthorizationFailedError, "does not allow this user the topic"),
    (client.GroupAuthorizationFailedError, "does not allow this user the group"),
    (client.ClusterAuthorizationFailedError, "does not allow this user to write so that repeats are refused; the "
                                             "operation is IdempotentWrite on the cluster"),
    (client.InvalidReceiveError, "answers with something that is not Kafka's protocol; with TLS it is ?tls=true"),
    (client.IncompatibleBrokerVersion, "is too old, or no broker but a controller"),
    (client.UnsupportedVersionError, "is too old"),
    (client.UnsupportedCompressionTypeError, "does not take this ?compression="),
    (client.UnsupportedCodecError, "has events that others compressed in a way that needs a package here: "
                                   "pip install 'notification-dispatcher[lz4,snappy,zstd]'"),
    (client.CommitFailedError, "does not accept what is finished: others have the partitions now; with ?partitions=, "
                               "the group has members, so choose another ?group="),
    (client.CorruptRecordError, "has events whose checksum is wrong: its disk or the network is broken"),
    (client.InvalidTopicError, "takes no topic of this name"),
    (client.InconsistentGroupProtocolError, "has consumers in this group that share out partitions in another way; "
                                            "choose another ?group="),
    (client.InvalidSessionTimeoutError, "takes no ?session_timeout= like this; its group.min.session.timeout.ms and "
                                        "group.max.session.timeout.ms say which"),
)  # fmt: skip
_HEALS: _Known = (
    (Unreadable, "has something that can't be read"),
    (client.UnknownTopicOrPartitionError, "has no such topic or partition now"),
    (client.NotEnoughReplicasError, "has too few replicas in sync to accept a write"),
    (client.NotEnoughReplicasAfterAppendError, "has too few replicas in sync to accept a write"),
    (client.KafkaStorageError, "can't write to its disk"),
    (client.ThrottlingQuotaExceededError, "has a quota that is used up"),
    (client.LeaderNotAvailableError, "has no leader for a partition now"),
    (client.IllegalStateError, "was left before it answered"),
    (ssl.SSLEOFError, "hangs up where TLS begins; perhaps it speaks none at this port: leave ?tls= out"),
)


def meaning(error: BaseException, brokers: Brokers, *, unknown: bool, opening: bool = False) -> NotificationError:
    """The error to raise in place of the client's. unknown: what was asked for may have been done.

    What no waiting heals is a ConfigurationError while `opening`, and later, because a running worker outlives what an
    administrator mends, QueueUnavailable like everything else. An event that is refused is a CorruptMessage.
    """
    if isinstance(error, NotificationError):
        return error
    causes = [*causes_of(error)]
    last = _last(causes)
    why = escape(str(last) or type(last).__name__, 300)
    if bad := _known(causes[:1], _BAD_EVENT):
        return CorruptMessage(f"{brokers.name} {bad} ({why})")
    trust = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    forever = _distrust(trust) if trust else _known(causes, _NEVER_HEALS)
    if forever and opening:
        return ConfigurationError(f"{brokers.name} {forever} ({why})")
    text = forever or _known(causes, _HEALS) or _unnamed(last)
    return QueueUnavailable(f"{brokers.name} {text} ({why})", may_have_been_stored=unknown)


def trouble_with(topic: str, error: BaseException, brokers: Brokers) -> str:
    """Why nothing comes of what is sent to a topic."""
    if isinstance(error, client.UnknownTopicOrPartitionError):
        return no_topic(brokers, topic)
    causes = [*causes_of(error)]
    text = _known(causes, _NEVER_HEALS + _HEALS) or _unnamed(_last(causes))
    return f"for the topic {escape(topic)!r} it {text}"


def queue_error(error: BaseException, brokers: Brokers, *, unknown: bool) -> QueueError:
    """The same for one event of many."""
    found = meaning(error, brokers, unknown=unknown)
    return found if isinstance(found, QueueError) else QueueUnavailable(str(found), may_have_been_stored=unknown)


def blames_events(error: BaseException) -> bool:
    """Whether it says of an event, or of one in the same batch, that it can't be stored."""
    return _known([error], _BAD_EVENT) is not None or type(error) is client.KafkaError


@contextlib.contextmanager
def translated(brokers: Brokers, *, unknown: bool = False, opening: bool = False) -> Iterator[None]:
    """Calls into the client go in here: what they raise comes out as `meaning` has it."""
    try:
        yield
    except ERRORS as error:
        raise meaning(error, brokers, unknown=unknown, opening=opening) from error


def no_topic(brokers: Brokers, topic: str) -> str:
    """What to say where a topic is missing."""
    return f"{brokers.name} has no topic {escape(topic)!r}; `{brokers.create}` makes it"


def _last(causes: list[BaseException]) -> BaseException:
    """The last word of the client, and where it only says that it gave up, why."""
    return causes[1] if isinstance(causes[0], client.KafkaTimeoutError) and len(causes) > 1 else causes[0]


def _known(causes: list[BaseException], table: _Known) -> str | None:
    for cause in causes:
        for known, text in table:
            if isinstance(cause, known):
                return text
    return None


def _unnamed(error: BaseException) -> str:
    if "socket disconnected" in str(error):
        return "hangs up on us; it may want ?tls=true, or ?sasl="
    if isinstance(error, client.KafkaTimeoutError | client.RequestTimedOutError):
        return "gave no answer in time"
    return "refused what was asked" if isinstance(error, client.BrokerResponseError) else "can't be reached"


def _distrust(error: ssl.SSLError) -> str | None:
    said = str(error).upper().replace(" ", "_")
    if isinstance(error, ssl.SSLCertVerificationError):
        return "can't be trusted; ?ca_file= names the authority that signed its certificate"
    if wants_certificate(error):
        return "wants a certificate of ours: ?cert_file= and ?key_file="
    if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said:
        return "speaks no TLS at this port; leave ?tls= out, or name the port where it does"
    return None
