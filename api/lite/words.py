"""Every word of ``/lite`` that the server's data does not bring, in both languages."""

from typing import Final

from api.shapes import CASE_STATES
from core.model import Text

TITLE: Final = Text("城市传感中枢", "City sensor hub")
ALARMS: Final = Text("告警", "Alarms")
CASES: Final = Text("案件", "Cases")
DEVICES: Final = Text("设备", "Devices")
SKIP: Final = Text("跳到正文", "Skip to content")
PAGES: Final = Text("页面", "Pages")
LOGOUT: Final = Text("退出", "Log out")
LOGIN: Final = Text("登录", "Log in")
LOGIN_HELP: Final = Text(
    "令牌由管理员在设置 api.token 中设定；姓名或席位写入操作记录。",
    "The token is what the administrator set as api.token; the name or seat goes into the log.",
)
WRONG_TOKEN: Final = Text("令牌不正确，请重试。", "That token is not right; try again.")
TOKEN: Final = Text("令牌", "Token")
NAME_OR_SEAT: Final = Text("姓名或席位", "Name or seat")
REFRESHING: Final = Text("每 10 秒刷新", "Refreshes every 10 s")
PAUSE: Final = Text("暂停刷新", "pause")
PAUSED: Final = Text("已暂停刷新", "Refreshing is paused")
RESUME: Final = Text("恢复刷新", "resume")
STILL: Final = Text("本页含表单，不自动刷新", "This page has forms and does not refresh itself")
OPEN: Final = Text("未结束", "Open")
UNACKED: Final = Text("未确认", "Unacknowledged")
ALL: Final = Text("全部", "All")
ALL_LEVELS: Final = Text("全部等级", "All levels")
CITY: Final = Text("城市事件", "City")
MAINTENANCE: Final = Text("设备运维", "Device care")
SYSTEM: Final = Text("平台", "Hub")
SHOW: Final = Text("显示", "Show")
OPEN_ALARMS: Final = Text("未结束告警", "Open alarms")
UNACKED_OF: Final = Text("其中未确认", "unacknowledged")
NO_ALARMS: Final = Text("没有符合条件的告警。", "No alarm matches.")
NO_ALARMS_HINT: Final = Text(
    "新告警会自动出现在这里，最需要处理的在最前。",
    "New alarms appear here by themselves, those that need work first.",
)
NO_CASES: Final = Text("没有符合条件的案件。", "No case matches.")
NO_CASES_HINT: Final = Text(
    "红色告警自动立案；其他告警可在告警页立案。",
    "Red alarms become cases by themselves; others are filed from their alarm's page.",
)
NO_DEVICES: Final = Text("没有符合条件的设备。", "No device matches.")
NO_DEVICES_HINT: Final = Text(
    "用 cityhub import devices 导入，或用 cityhub device add 登记。",
    "Bring them in with: cityhub import devices, or: cityhub device add.",
)
NO_READINGS: Final = Text("尚无读数。", "No reading yet.")
NO_EVENTS: Final = Text("尚无设备事件。", "No signal yet.")
NOTHING: Final = Text("无", "none")
MORE: Final = Text("下一页", "Next page")
SHOWN_FIRST: Final = Text("只显示最需要处理的 200 条。", "Only the 200 that need work first.")
ACKNOWLEDGE: Final = Text("确认", "Acknowledge")
UNDO: Final = Text("撤销确认", "Undo")
RESET: Final = Text("复位", "Reset")
FILE: Final = Text("立案", "File a case")
SHELVE: Final = Text("搁置", "Shelve")
SHELVE_MINUTES: Final = Text("分钟", "Minutes")
UNSHELVE: Final = Text("取消搁置", "Take off the shelf")
OUT_OF_SERVICE: Final = Text("设备停用检修", "Take the device out of service")
QUIET: Final = Text("抑制", "Kept quiet")
QUIET_UNTIL: Final = Text("至", "until")
REASON: Final = Text("理由", "Reason")
DISPATCH: Final = Text("派遣", "Dispatch")
DISPATCH_TO: Final = Text("派往单位", "To department")
SIGN: Final = Text("签收", "Sign for it")
FEEDBACK: Final = Text("反馈", "Report done")
FEEDBACK_NOTE: Final = Text("处置情况", "What was done")
RETURN: Final = Text("退办", "Return")
VERIFY: Final = Text("核查", "Verify")
VERIFY_NOTE: Final = Text("核查情况", "What you found")
PASSED: Final = Text("核查通过，结案", "Passed, close the case")
FAILED: Final = Text("不通过，返工", "Failed, rework")
ACTOR: Final = Text("经办人", "By")
ACTIONS: Final = Text("操作", "Actions")
NO_ACTIONS: Final = Text("当前环节没有可做的操作。", "Nothing to do at this stage.")
WHY: Final = Text("原因", "Why")
DEVICE: Final = Text("设备", "Device")
PLACE: Final = Text("位置", "Place")
STATE: Final = Text("状态", "State")
LEVEL: Final = Text("等级", "Level")
VALUE: Final = Text("数值", "Value")
LIMIT: Final = Text("阈值", "Limit")
CASE: Final = Text("案件", "Case")
STARTED: Final = Text("起始", "Started")
RAISED: Final = Text("产生", "Raised")
LAST_SEEN: Final = Text("最近触发", "Last seen")
ACKED_BY: Final = Text("确认人", "Acknowledged by")
REPEATS: Final = Text("重复", "Repeats")
HISTORY: Final = Text("经过", "History")
TIME: Final = Text("时间", "Time")
WHO: Final = Text("操作者", "Who")
WHAT: Final = Text("动作", "What")
NOTE: Final = Text("说明", "Note")
DEPARTMENT: Final = Text("处置单位", "Department")
REPORTED: Final = Text("上报", "Reported")
DUE: Final = Text("处置截止", "Due")
OVERDUE: Final = Text("已超期", "overdue")
WORK_ORDERS: Final = Text("任务单", "Work orders")
DELIVERIES: Final = Text("送达城管平台", "Sent to the city's platform")
ORDER: Final = Text("单号", "Number")
ISSUED: Final = Text("下发", "Issued")
MESSAGE: Final = Text("报文", "Message")
ATTEMPTS: Final = Text("次数", "Tries")
DELIVERED: Final = Text("送达", "Delivered")
KIND: Final = Text("类型", "Kind")
ID: Final = Text("编号", "Id")
GIVEN_NAME: Final = Text("名称", "Name")
LAST_CONTACT: Final = Text("最近联系", "Last heard")
NEVER: Final = Text("从未", "never")
FIND: Final = Text("查找编号或名称", "Find by id or name")
READINGS: Final = Text("最近读数", "Last readings")
METRICS: Final = Text("指标", "Metrics")
EVENTS: Final = Text("设备事件", "Signals")
SEQ: Final = Text("序号", "Seq")
QUALITY: Final = Text("质量", "Quality")
GOOD: Final = Text("正常", "good")
MASTER: Final = Text("归属", "Carried by")
BACK: Final = Text("返回", "Back")
GO_ON: Final = Text("回到告警", "Go to the alarms")
LOWEST: Final = Text("最低", "min")
HIGHEST: Final = Text("最高", "max")
STARTS: Final = Text("开始", "on")
ENDS: Final = Text("结束", "off")
FILED_AS: Final = Text("已立案", "case")
MAIN_PAGE_LATER: Final = Text(
    "完整的指挥页面将在后续版本提供；本页不需要脚本，始终可用。",
    "The full command-centre page comes in a later version; this one needs no scripts and always"
    " works.",
)

STAGES: Final = (
    Text("发现", "Found"),
    Text("立案", "Filed"),
    Text("派遣", "Dispatched"),
    Text("处置", "Handled"),
    Text("核查", "Verified"),
    Text("结案", "Closed"),
)

QUARANTINE: Final = Text("隔离台", "Quarantine")
NO_QUARANTINE: Final = Text("隔离区为空。", "Nothing is in quarantine.")
NO_QUARANTINE_HINT: Final = Text(
    "无法解析的报文会连同原因出现在这里。",
    "Messages that cannot be read appear here with the reason.",
)
BY_MAKER: Final = Text("按原因与厂商型号", "By reason and maker")
NEWEST: Final = Text("最近的报文", "The newest messages")
TOPIC: Final = Text("主题", "Topic")
BESIDE_MODEL: Final = Text("与物模型比对", "Beside the thing model")
RECORD: Final = Text("记录", "Record")
TRIAL: Final = Text("试映射结果", "What the mapping would give")
RENAME: Final = Text("改名", "Rename")
SCALE: Final = Text("系数", "Scale")
OFFSET: Final = Text("偏移", "Offset")
TRY: Final = Text("试一试", "Try")
REDRIVE: Final = Text("重新处理", "Take up again")
DISCARD: Final = Text("废弃", "Discard")
GROUP_HEADS: Final = (
    Text("原因", "Reason"), Text("编号前缀", "Id prefix"), Text("类型与固件", "Kind and firmware"),
    Text("设备数", "Devices"), Text("条数", "Records"), Text("最近", "Last"),
)  # fmt: skip
MESSAGE_HEADS: Final = (
    Text("编号", "Number"), Text("主题", "Topic"), Text("原因", "Reason"), Text("次数", "Times"),
    Text("最近", "Last"),
)  # fmt: skip
FIELD_HEADS: Final = (
    Text("字段", "Field"), Text("收到", "Sent"), Text("应为", "Expected"), Text("结论", "Verdict"),
    Text("说明", "Note"),
)  # fmt: skip
TRIAL_HEADS: Final = (
    Text("设备", "Device"), Text("写入", "Table"), Text("时间", "Time"), Text("内容", "Content"),
)  # fmt: skip
MARKED: Final = {
    "fine": Text("符合", "fine"),
    "warned": Text("注意", "differs"),
    "refused": Text("不符", "refused"),
}
"""What the decoder thinks of a field."""

QUARANTINE_STATES: Final = {
    "open": Text("待处理", "open"),
    "redriven": Text("已重新处理", "taken up again"),
    "discarded": Text("已废弃", "discarded"),
}
"""States of a message in quarantine."""

REPORTS: Final = Text("月报", "Bulletin")
BULLETIN_OF: Final = Text("{city}{month}综合评价月报", "{city}: evaluation bulletin, {month}")
DRAFT: Final = Text("未发布", "Draft")
DRAFT_HINT: Final = Text(
    "数字仍随案件变化；月末后用 cityhub bulletin 月份 --publish 发布。",
    "The figures still move; once the month is over: cityhub bulletin MONTH --publish.",
)
PUBLISHED: Final = Text("已发布，数字冻结", "Published, the figures are frozen")
AS_SHEET: Final = Text("下载 CSV", "Download CSV")
WHOLE_CITY: Final = Text("全市指标", "The whole city")
BY_DEPARTMENT: Final = Text("按单位", "By department")
BY_CLASS: Final = Text("按小类", "By sub-class")
BY_GRID: Final = Text("按单元网格", "By grid cell")
BY_SOURCE: Final = Text("按来源", "By source")
BY_SHIFT: Final = Text("按班次", "By shift")
INDICATOR: Final = Text("指标", "Indicator")
NUMBER: Final = Text("分子", "Numerator")
OF: Final = Text("分母", "Denominator")
FIGURE: Final = Text("值", "Value")
FORMULA: Final = Text("公式", "Formula")
COUNTED: Final = Text(
    "上报 {reported} 件，立案 {filed} 件，处置 {handled} 件，结案 {closed} 件；告警 {alarms} 条；"
    "综合得分 {score}。",
    "{reported} reported, {filed} filed, {handled} handled, {closed} closed; {alarms} alarms; "
    "score {score}.",
)
WEIGHTS: Final = Text("得分权重：", "Weights of the score:")
NAME: Final = Text("名称", "Name")
FILED: Final = Text("立案", "Filed")
CLOSED: Final = Text("结案", "Closed")
SCORE: Final = Text("得分", "Score")
HEALTH: Final = Text("告警健康（ISA-18.2 / EEMUA 191）", "Alarm health (ISA-18.2 / EEMUA 191)")
SEATS: Final = Text("席位数 {seats}", "Seats: {seats}")
TARGET: Final = Text("目标", "Target")
MET: Final = Text("达标", "Met")
YES: Final = Text("是", "yes")
NO: Final = Text("否", "no")
BAD_ACTORS: Final = Text("告警最多的前10来源", "The ten that raise most")
RULE: Final = Text("规则", "Rule")
SHARE: Final = Text("占比", "Share")
CORRECTION: Final = Text("更正", "Correction")
WAS: Final = Text("原为", "Was")
IS_NOW: Final = Text("更正为", "Is")
SAID: Final = {
    "acknowledge": Text("已确认。", "Acknowledged."),
    "undo-acknowledge": Text("已撤销确认。", "Acknowledgement taken back."),
    "reset": Text("已复位。", "Reset."),
    "shelve": Text("已搁置。", "Shelved."),
    "unshelve": Text("已取消搁置。", "Off the shelf."),
    "out-of-service": Text("设备已停用检修。", "The device is out of service."),
    "file": Text("已立案。", "Filed."),
    "dispatch": Text("已派遣。", "Dispatched."),
    "sign": Text("已签收。", "Signed for."),
    "feedback": Text("已反馈，等待核查。", "Reported done; now to be verified."),
    "return": Text("已退办。", "Returned."),
    "verify": Text("核查结果已记录。", "The verdict is on record."),
    "redrive": Text("已重新处理，按原时间补入历史。", "Taken up again, at its own time."),
    "discard": Text("已废弃。", "Discarded."),
}
"""What to say after an action, by its name in the address."""

ORDER_STATES: Final = {
    "issued": Text("已下发", "issued"),
    "signed": Text("已签收", "signed for"),
    "on_site": Text("到场", "on site"),
    "done": Text("已完成", "done"),
    "returned": Text("退办", "returned"),
    "cancelled": Text("撤销", "cancelled"),
}
"""States of a work order."""

DELIVERY_STATES: Final = {
    "queued": Text("待发", "queued"),
    "sending": Text("发送中", "being sent"),
    "delivered": Text("已达", "delivered"),
    "dead": Text("死信", "dead letter"),
}
"""States of a delivery."""

DONE: Final = {
    "raised": Text("产生", "raised"),
    "recorded": Text("追溯记录", "recorded in hindsight"),
    "confirmed": Text("证实", "confirmed"),
    "severity_raised": Text("升级", "level raised"),
    "severity_lowered": Text("降级", "level lowered"),
    "clearing": Text("开始恢复", "clearing"),
    "resumed": Text("再次触发", "came back"),
    "reopened": Text("重开", "reopened"),
    "cleared": Text("恢复", "cleared"),
    "shelved": Text("搁置", "shelved"),
    "unshelved": Text("取消搁置", "off the shelf"),
    "suppressed": Text("设计抑制", "suppressed by its cause"),
    "unsuppressed": Text("解除抑制", "no longer suppressed"),
    "out_of_service": Text("停用", "out of service"),
    "in_service": Text("恢复使用", "in service again"),
    "flapping": Text("抖动", "flapping"),
    "steady": Text("抖动结束", "steady again"),
    "stale": Text("滞留", "stale"),
    "data_stale": Text("设备失联，数据过期", "device silent: data is stale"),
    "data_fresh": Text("设备恢复通信", "device heard again"),
    "escalated": Text("升级通知", "escalated"),
    "retired": Text("停用规则或设备，自动结束", "ended with its rule or device"),
    "acknowledged": Text("确认", "acknowledged"),
    "ack_undone": Text("撤销确认", "acknowledgement undone"),
    "reset": Text("复位", "reset"),
    "reported": Text("上报", "reported"),
    "accepted": Text("受理", "accepted"),
    "filed": Text("立案", "filed"),
    "issued": Text("下发", "issued"),
    "dispatched": Text("派遣", "dispatched"),
    "signed": Text("签收", "signed for"),
    "arrived": Text("到场", "arrived"),
    "done": Text("完成", "done"),
    "feedback_given": Text("反馈", "reported done"),
    "returned": Text("退办", "returned"),
    "cancelled": Text("撤销", "cancelled"),
    "self_recovered": Text("自行恢复", "recovered by itself"),
    "verifying": Text("进入核查", "verification began"),
    "rework": Text("返工", "rework"),
    "closed": Text("结案", "closed"),
    "recurred": Text("复发", "recurred"),
    "delivered": Text("送达", "delivered"),
    "delivery_resent": Text("重发", "sent again"),
}
"""What happened, by its name in the event log; a name that is not here is shown as it is."""

AXES: Final = {
    "active": Text("告警中", "active"),
    "clearing": Text("恢复中", "clearing"),
    "cleared": Text("已恢复", "cleared"),
    "unacked": Text("未确认", "unacknowledged"),
    "acked": Text("已确认", "acknowledged"),
    "latched": Text("锁存", "latched"),
    **ORDER_STATES,
    **CASE_STATES,
}
"""States of alarms, work orders and cases in the event log."""

MARKS: Final = {
    "unconfirmed": Text("未证实", "unconfirmed"),
    "clock_suspect": Text("时钟存疑", "clock suspect"),
    "data_stale": Text("数据过期", "data stale"),
    "flapping": Text("抖动", "flapping"),
    "fleeting": Text("瞬时", "fleeting"),
    "stale": Text("滞留", "standing"),
    "retroactive": Text("追溯", "in hindsight"),
}
"""Flags of an alarm, by column."""

UNITS: Final = {
    "1": "", "deg": "°", "Cel": "°C", "m[g]": "mg", "dB{mW}": "dBm", "{count}": "", "%": "%",
    "km/h": "km/h", "m3/s": "m³/s", "m2": "m²",
}  # fmt: skip
"""UCUM codes that people write otherwise."""
