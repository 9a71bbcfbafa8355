"""Video endpoints (视频终端), fixed, on vehicles, on drones and in hands: can the eye still see?

What is here is the health of the picture, as the endpoint or the hub computes it once a minute:
figures from 0 to 1, displacement in pixels at full width. An eye that sees nothing is the
maintainers' business and no city event; what it sees of the city comes as candidates for a person.

Sources:
    A displacement of 5 to 10 px at 1280 is detectable (measured). Health figures have their own
    baseline by light at each place, so the limits here are wide, and ours.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.position import position
from devices.unusual import UNUSUAL, Unusual


def _share(name: str, zh: str, en: str, rest: float, noise: float) -> Metric:
    """Return a figure of picture health, from 0 to 1."""
    return Metric(name, "1", Text(zh, en), low=0, high=1, rest=rest, noise=noise, decimals=3)


def _view(rule_id: str, zh: str, en: str) -> AlarmRule:
    """Return a rule on an eye that does not see."""
    return AlarmRule(
        rule_id,
        Text(zh, en),
        Severity.BLUE,
        audience=Audience.MAINTENANCE,
        on_delay_s=900,
        off_delay_s=900,
        verify="sensor",
    )


VIDEO_ENDPOINT: Final = DeviceKind(
    name="video_endpoint",
    label=Text("视频终端", "Video endpoint"),
    id_prefix="VE",
    class_code="",
    interval_s=60,
    metrics=(
        _share("sharp", "清晰度", "Sharpness", 0.6, 0.02),
        _share("bright", "亮度", "Brightness", 0.5, 0.03),
        _share("contrast", "对比度", "Contrast", 0.4, 0.02),
        _share("noise", "噪点", "Noise", 0.05, 0.01),
        _share("cast", "偏色", "Colour cast", 0.05, 0.01),
        Metric(
            "shift_x",
            "{px}",
            Text("水平偏移", "Shift x"),
            low=-4000,
            high=4000,
            rest=0,
            noise=0.3,
            decimals=1,
        ),
        Metric(
            "shift_y",
            "{px}",
            Text("垂直偏移", "Shift y"),
            low=-4000,
            high=4000,
            rest=0,
            noise=0.3,
            decimals=1,
        ),
        Metric("rot", "deg", Text("旋转", "Rotation"), low=-180, high=180, rest=0, noise=0.05),
        Metric(
            "cover_share",
            "%",
            Text("画面丢失比例", "Edges lost"),
            low=0,
            high=100,
            rest=1,
            noise=0.5,
            decimals=1,
        ),
        Metric(
            "frozen",
            "{count}",
            Text("重复画面数", "Equal pictures"),
            low=0,
            high=1e6,
            rest=0,
            decimals=0,
        ),
        *position(3e-5),
        Metric(
            "alt", "m", Text("高度", "Altitude"), low=-500, high=9000, rest=750, noise=3, decimals=1
        ),
        Metric(
            "heading",
            "deg",
            Text("朝向", "Heading"),
            low=0,
            high=360,
            rest=180,
            noise=0.5,
            decimals=1,
        ),
        Metric(
            "kbytes",
            "kBy",
            Text("图片大小", "Picture size"),
            low=0,
            high=1024,
            rest=120,
            noise=8,
            decimals=0,
        ),
        Metric(
            "vlevel",
            "m",
            Text("视频水位", "Level read"),
            low=-10,
            high=9000,
            rest=2.1,
            noise=0.005,
            decimals=3,
        ),
    ),
    events=(
        *CARE_EVENTS,
        Event("motion", Text("移动侦测", "motion")),
        Event("object", Text("目标识别", "object seen")),
        Event("offline", Text("视频信号丢失", "no video signal"), rule_id="view_offline"),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("snapshot", Text("抓拍", "snapshot")),
        Command("preset", Text("转到预置位", "go to preset"), (("id", "1"),)),
    ),
    watches=(
        Limit("cover_share", "view_lost", blue=60, hold=3, clear_margin=20, clear_hold=3),
        Limit("frozen", "view_frozen", blue=10, clear_margin=8),
        Limit("sharp", "view_blurred", blue=0.1, below=True, hold=3, clear_margin=0.1),
        Unusual(full=("bright",), lite=("sharp",)),
    ),
    rules=(
        *CARE_RULES,
        UNUSUAL,
        _view("view_lost", "画面遮挡或移位", "View covered or moved"),
        _view("view_frozen", "画面冻结", "Picture frozen"),
        _view("view_blurred", "画面模糊", "Picture blurred"),
        _view("view_offline", "视频信号丢失", "No video signal"),
    ),
)
