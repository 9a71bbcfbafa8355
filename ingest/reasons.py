"""Why a message or a record stands in quarantine (隔离原因): code, stage, and a sentence for staff.

Codes are stable: staff filter by them, and tests count them in SQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from core.model import Text

Stage = Literal["route", "limit", "envelope", "codec", "identity", "mapping", "store"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was put in quarantine.

    Attributes:
        stage: Where on its way it was stopped.
        text: One sentence that says what is wrong and what to do.
    """

    stage: Stage
    text: Text


def _reason(stage: Stage, zh: str, en: str) -> Reason:
    return Reason(stage, Text(zh, en))


REASONS: Final[Mapping[str, Reason]] = {
    # who says it, and where
    "wrong_topic": _reason(
        "route",
        "主题不是 hub/<设备编号>/<消息类型> 的形式。",
        "The topic is not of the form hub/<device id>/<message>.",
    ),
    "unknown_message": _reason(
        "route",
        "主题末级不是中枢接收的消息类型。",
        "The last level of the topic is no message that the hub takes.",
    ),
    "snapshot_unsupported": _reason(
        "route", "本版本尚不接收图片。", "This version does not take pictures yet."
    ),
    "bad_device_id": _reason(
        "route",
        "设备编号只能由 1 至 64 个字母、数字、下划线或连字符组成。",
        "A device id is 1 to 64 letters, digits, underscores or hyphens.",
    ),
    "unknown_device": _reason(
        "identity",
        "设备未登记；请先登记，再重新处理。",
        "Nobody registered this device; register it, then take the message up again.",
    ),
    "device_retired": _reason(
        "identity",
        "设备已退役，其数据不再入库。",
        "The device is retired; its readings are not stored any more.",
    ),
    "identity": _reason(
        "identity",
        "报文中的设备编号不属于发布该主题的设备。",
        "The device id in the body does not belong to the owner of the topic.",
    ),
    "no_readings": _reason(
        "identity",
        "这类设备本身没有测量值；网关须用 d 指明子设备。",
        "A device of this kind measures nothing itself; a gateway names the child device in d.",
    ),
    # how much of it
    "too_large": _reason("limit", "报文超过长度上限。", "The message is longer than allowed."),
    "too_many_records": _reason(
        "limit", "一条报文中的记录过多。", "The message has more records than allowed."
    ),
    "too_many_unknown_keys": _reason(
        "limit",
        "记录中未知字段过多或过长。",
        "The record has too many unknown keys, or too long ones.",
    ),
    "text_too_long": _reason(
        "limit", "文本超过 1 KiB。", "A text in the message is longer than 1 KiB."
    ),
    "deep_nesting": _reason(
        "limit", "嵌套超过 16 层。", "The message is nested deeper than 16 levels."
    ),
    # what it is written in
    "empty": _reason("envelope", "报文或记录没有内容。", "The message or record is empty."),
    "not_utf8": _reason("envelope", "报文不是 UTF-8 编码。", "The message is not UTF-8."),
    "nul": _reason("envelope", "报文含有空字符 NUL。", "The message has a NUL character."),
    "not_json": _reason("envelope", "报文不是合法的 JSON。", "The message is not valid JSON."),
    "not_object": _reason("envelope", "记录不是 JSON 对象。", "The record is not a JSON object."),
    "duplicate_key": _reason(
        "envelope", "同一字段出现两次。", "One key stands twice in an object."
    ),
    "lone_surrogate": _reason(
        "envelope", "文本含有不成对的代理字符。", "A text has half of a surrogate pair."
    ),
    "not_finite": _reason(
        "envelope", "含有 NaN 或 Infinity，不是数字。", "NaN and Infinity are no numbers."
    ),
    "number_too_big": _reason(
        "envelope", "数字超出可存储的范围。", "A number is beyond what can be stored."
    ),
    # what it means
    "bad_columns": _reason(
        "mapping",
        "列式报文的列名与各行不符。",
        "The columns of the message and its rows do not fit.",
    ),
    "wrong_type": _reason(
        "mapping",
        "字段的类型不对；数值不能写成文本。",
        "A value has the wrong type; a number must not be text.",
    ),
    "two_times": _reason(
        "mapping", "t 与 ts 不能同时出现。", "A record gives its time as t or as ts, never both."
    ),
    "bad_time": _reason(
        "mapping",
        "时间须为整数毫秒 t，或带时区的 RFC 3339 文本 ts。",
        "The time must be whole milliseconds in t, or RFC 3339 text with a zone in ts.",
    ),
    "bad_seq": _reason(
        "mapping",
        "seq 须为 0 至 2^63-1 的整数。",
        "The counter seq must be a whole number from 0 to 2^63-1.",
    ),
    "two_places": _reason(
        "mapping",
        "g 与 lon、lat 不能同时出现。",
        "A record gives its place as g or as lon and lat, never both.",
    ),
    "no_event_name": _reason(
        "mapping",
        "设备事件缺少名称 e。",
        "A device event needs its name in e, 1 to 64 characters.",
    ),
    # what the database says
    "too_many_days": _reason(
        "store",
        "一批数据涉及的新日期过多，较早的记录暂未入库；可重新处理。",
        "One batch brought readings of too many new days; those of the older ones are not stored"
        " yet and can be taken up again.",
    ),
    "store_rejected": _reason("store", "数据库拒绝了该记录。", "The database refused the record."),
}
"""All reasons by code."""
