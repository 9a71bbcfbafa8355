"""A publisher that is not ours: paho, so that a misreading of the standard cannot cancel out."""

import asyncio
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


@dataclass(frozen=True, slots=True)
class Message:
    """What a device publishes.

    Attributes:
        topic: Where.
        payload: What.
        retain: The broker keeps it for later subscribers.
        qos: 0 or 1.
        content_type: MQTT 5 only.
    """

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1
    content_type: str | None = None


async def publish(
    port: int,
    user: str,
    password: str,
    *messages: Message,
    client_id: str = "publisher",
    v5: bool = False,
) -> None:
    """Publish in order, each acknowledged by the broker before this returns."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
    )
    client.max_inflight_messages_set(500)
    client.username_pw_set(user, password)
    await asyncio.to_thread(_publish, client, port, messages)


def _publish(client: paho.Client, port: int, messages: tuple[Message, ...]) -> None:
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        sent = [
            client.publish(m.topic, m.payload, m.qos, m.retain, _properties(m)) for m in messages
        ]
        for info in sent:
            info.wait_for_publish(20)
            assert info.is_published()
    finally:
        client.disconnect()
        client.loop_stop()


def _properties(message: Message) -> Any:
    if message.content_type is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has none
    properties.ContentType = message.content_type
    return properties
