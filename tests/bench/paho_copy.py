"""A careful paho-mqtt consumer, as Python hubs are built: json, COPY a batch, acknowledge.

``python paho_copy.py PORT USER PASSWORD RECEIVE_MAXIMUM MESSAGES BATCH DATABASE_URL`` drains a
queued MQTT 5 session with manual acknowledgement. BATCH 1 inserts and commits each message by
itself. It judges nothing and believes every time; what it cannot read it drops. Shares no line with
``ingest``. Prints one JSON object.
"""

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from psycopg import sql

HEAD = ("ts", "seq", "device_no")
KEYS = {"t", "seq"}


class Consumer:
    """Gathers rows by kind and writes them when a batch is full or the stream goes quiet."""

    def __init__(self, client: mqtt.Client, url: str, messages: int, batch: int) -> None:
        self.client = client
        self.left = messages
        self.batch = batch
        self.first_at = self.last_at = 0.0
        self.conn = psycopg.connect(url)
        devices = self.conn.execute("SELECT device_id, device_no, kind FROM hub.device")
        self.devices = {device_id: (number, kind) for device_id, number, kind in devices}
        self.conn.commit()
        self.rows: dict[tuple[str, ...], list[list[Any]]] = {}
        self.taken: list[mqtt.MQTTMessage] = []

    def take(self, message: mqtt.MQTTMessage) -> None:
        self.first_at = self.first_at or time.perf_counter()
        self.taken.append(message)
        number, kind = self.devices[message.topic.split("/")[1]]
        try:
            values = json.loads(message.payload)
            at = datetime.fromtimestamp(values["t"] / 1000, UTC)
            measured = {k: v for k, v in values.items() if k not in KEYS}
            if message.topic.endswith("telemetry"):
                row = [at, values["seq"], number, *map(float, measured.values())]
                self.rows.setdefault((kind, *measured), []).append(row)
        except (ValueError, KeyError, TypeError):
            pass
        if len(self.taken) >= min(self.batch, self.left):
            self.flush()

    def flush(self) -> None:
        for (kind, *names), rows in self.rows.items():
            table = sql.Identifier("hub", f"reading_{kind}")
            columns = sql.SQL(", ").join(map(sql.Identifier, [*HEAD, *names]))
            if self.batch == 1:
                marks = sql.SQL(", ").join([sql.Placeholder()] * len(rows[0]))
                insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table, columns, marks)
                self.conn.execute(insert, rows[0])
                continue
            copying = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)
            with self.conn.cursor() as cursor, cursor.copy(copying) as copy:
                for row in rows:
                    copy.write_row(row)
        self.conn.commit()
        self.last_at = time.perf_counter()
        for message in self.taken:
            self.client.ack(message.mid, message.qos)
        self.left -= len(self.taken)
        self.rows.clear()
        self.taken.clear()


def main(words: list[str]) -> None:
    port, user, password, window, messages, batch, url = words
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=user, protocol=mqtt.MQTTv5, manual_ack=True
    )
    consumer = Consumer(client, url, int(messages), int(batch))
    client.username_pw_set(user, password)
    client.on_message = lambda _client, _data, message: consumer.take(message)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = int(window)
    before = time.process_time()
    client.connect("127.0.0.1", int(port), clean_start=False, properties=properties)
    while consumer.left:
        client.loop(timeout=0.02)
    cpu = time.process_time() - before
    client.loop(timeout=0.02)
    print(
        json.dumps(
            {
                "messages": int(messages),
                "wall_s": consumer.last_at - consumer.first_at,
                "cpu_s": cpu,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
