"""Administration of Kafka's topics, on a real broker."""

from __future__ import annotations

import pytest

from .admin_contract import AdminContract
from .kafka_server import Kafka


class TestKafka(AdminContract):
    @pytest.fixture
    def url(self, kafka: Kafka) -> str:
        return kafka.url()
