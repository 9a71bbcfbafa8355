"""Payloads that no hub should take, by the reason it must give."""

from typing import Final

_DEEP = b'{"x":' * 17 + b"1" + b"}" * 17

BROKEN_RECORDS: Final[dict[str, list[bytes]]] = {
    "empty": [b"", b"  \n", b"[]", b"{}", b'{"t":1777636800000,"seq":1}', b'{"c":[],"r":[]}'],
    "not_utf8": [b'{"tilt":1,"x":"\xff"}', b"\xc3\x28", b'{"\xed\xa0\x80":1}'],
    "nul": [b'{"tilt":1}\0', b'{"tilt":1,"x":"a\\u0000b"}', b'{"a\\u0000":1}'],
    "not_json": [
        b"tilt=5",
        b'{"tilt":1',
        b'{"tilt":1}}',
        b'{"tilt":01}',
        b"{'tilt':1}",
        b'{"tilt":1,}',
        b'\xef\xbb\xbf{"tilt":1}',
        b'{"tilt":+1}',
        b'{"tilt":"a\nb"}',
    ],
    "not_object": [b"5", b'"text"', b"null", b"true", b"[1]", b"[[]]"],
    "duplicate_key": [
        b'{"tilt":1,"tilt":2}',
        b'{"tilt":1,"\\u0074ilt":1}',
        b'{"t":1,"t":2,"tilt":3}',
        b'{"x":{"a":1,"a":2},"tilt":1}',
        b'{"c":["t","t"],"r":[[1,2]]}',
    ],
    "lone_surrogate": [b'{"tilt":1,"x":"\\ud800"}', b'{"\\udfff":1}'],
    "not_finite": [b'{"tilt":NaN}', b'{"tilt":Infinity}', b'{"tilt":-Infinity}'],
    "number_too_big": [
        b'{"tilt":1e400}',
        b'{"tilt":-1e400}',
        b'{"tilt":1e39}',
        b'{"tilt":1%b}' % (b"0" * 400),
        b'{"tilt":1%b}' % (b"0" * 5000),
        b'{"seq":1%b,"tilt":1}' % (b"0" * 5000),
    ],
    "deep_nesting": [
        _DEEP,
        b'{"tilt":1,"x":%b%b}' % (b"[" * 17, b"]" * 17),
        b"[" * 20_000 + b"]" * 20_000,
    ],
    "wrong_type": [
        b'{"tilt":"1"}',
        b'{"tilt":[1]}',
        b'{"tilt":{}}',
        b'{"tilt":true}',
        b'{"tilt":1,"h":1}',
        b'{"tilt":1,"q":"x"}',
        b'{"tilt":1,"d":5}',
    ],
    "two_times": [b'{"t":1777636800000,"ts":"2026-05-01T12:00:00Z","tilt":1}'],
    "bad_time": [
        b'{"t":"1777636800000","tilt":1}',
        b'{"t":1.5,"tilt":1}',
        b'{"t":true,"tilt":1}',
        b'{"t":null,"tilt":1}',
        b'{"ts":1777636800000,"tilt":1}',
        b'{"ts":"2026-05-01 12:00","tilt":1}',
        b'{"ts":"2026-05-01T12:00:00","tilt":1}',
        b'{"ts":"2026-13-01T12:00:00Z","tilt":1}',
        b'{"ts":"yesterday","tilt":1}',
    ],
    "bad_seq": [
        b'{"seq":-1,"tilt":1}',
        b'{"seq":1.5,"tilt":1}',
        b'{"seq":9007199254740993.0,"tilt":1}',
        b'{"seq":"1","tilt":1}',
        b'{"seq":9223372036854775808,"tilt":1}',
        b'{"seq":true,"tilt":1}',
    ],
    "bad_columns": [b'{"c":["tilt"]}', b'{"c":"tilt","r":[]}', b'{"c":[1],"r":[[1]]}'],
    "too_many_unknown_keys": [
        b"{%b}" % b",".join(b'"x%d":1' % i for i in range(17)),
        b'{"tilt":1,"x":"%b","y":"%b","z":"%b"}' % (b"a" * 800, b"b" * 800, b"c" * 800),
    ],
    "text_too_long": [b'{"tilt":1,"x":"%b"}' % (b"a" * 1025)],
    "too_many_records": [b"[%b]" % b",".join([b'{"tilt":1}'] * 501)],
}
"""Bodies of telemetry by reason code."""
