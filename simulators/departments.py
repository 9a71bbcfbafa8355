"""Who is there in the schematic city: the 35 member departments (成员单位) and what they own.

The number is the real city's; the list is ours, made of what such a network usually has (police,
emergency, environment, market supervision, the pipe owners …) and of six street offices. Owners
follow the sub-classes of components; where no sub-class is named, the class decides.
"""

from typing import Final

STREETS: Final = (
    ("street-wenfeng", "文峰街道办事处", "Wenfeng street office"),
    ("street-taiheqiao", "太和桥街道办事处", "Taiheqiao street office"),
    ("street-xihe", "西河街道办事处", "Xihe street office"),
    ("street-chenbei", "辰北街道办事处", "Chenbei street office"),
    ("street-nanxun", "南薰街道办事处", "Nanxun street office"),
    ("street-xinghuacun", "杏花村镇人民政府", "Xinghuacun town"),
)
"""Street offices, owners by territory (属地): code, Chinese and English name."""

MEMBERS: Final = (
    ("city-management", "城市管理局", "Urban management bureau"),
    ("lighting", "路灯管理所", "Street lighting office"),
    ("drainage", "排水管理所", "Drainage office"),
    ("road-works", "市政养护中心", "Municipal maintenance centre"),
    ("sanitation", "环境卫生中心", "Environmental sanitation centre"),
    ("parks", "园林绿化中心", "Parks and greenery centre"),
    ("enforcement", "综合行政执法大队", "Law-enforcement brigade"),
    ("police", "公安局", "Public security bureau"),
    ("traffic-police", "交警大队", "Traffic police"),
    ("fire", "消防救援大队", "Fire and rescue brigade"),
    ("emergency", "应急管理局", "Emergency management bureau"),
    ("environment", "生态环境局", "Ecology and environment bureau"),
    ("market", "市场监督管理局", "Market supervision bureau"),
    ("water", "水利局", "Water resources bureau"),
    ("housing", "住房和城乡建设局", "Housing and construction bureau"),
    ("land", "自然资源局", "Natural resources bureau"),
    ("transport", "交通运输局", "Transport bureau"),
    ("health", "卫生健康局", "Health bureau"),
    ("civil-affairs", "民政局", "Civil affairs bureau"),
    ("education", "教育科技局", "Education bureau"),
    ("culture", "文化和旅游局", "Culture and tourism bureau"),
    ("agriculture", "农业农村局", "Agriculture bureau"),
    ("water-supply", "自来水公司", "Water supply company"),
    ("heating", "集中供热公司", "District heating company"),
    ("gas", "燃气公司", "Gas company"),
    ("power", "供电公司", "Power supply company"),
    ("telecom", "通信运营企业联络组", "Telecom operators' liaison"),
    ("broadcast", "广电网络公司", "Cable network company"),
    ("post", "邮政公司", "Post"),
)
"""Member departments, owners by trade (属主): code, Chinese and English name."""

OWNERS: Final = {
    "01": "road-works",
    "0101": "water-supply",
    "0102": "drainage",
    "0103": "drainage",
    "0104": "drainage",
    "0105": "power",
    "0106": "lighting",
    "0107": "telecom",
    "0108": "broadcast",
    "0109": "telecom",
    "0110": "heating",
    "0111": "gas",
    "0112": "police",
    "0113": "fire",
    "0115": "telecom",
    "0116": "power",
    "0117": "power",
    "0118": "lighting",
    "0119": "lighting",
    "0120": "lighting",
    "0123": "post",
    "0127": "drainage",
    "0129": "parks",
    "0130": "sanitation",
    "0131": "sanitation",
    "0132": "environment",
    "0133": "gas",
    "0134": "broadcast",
    "0135": "gas",
    "0136": "water-supply",
    "02": "transport",
    "0213": "civil-affairs",
    "0214": "traffic-police",
    "0218": "environment",
    "0219": "traffic-police",
    "03": "sanitation",
    "0306": "city-management",
    "0307": "city-management",
    "0308": "environment",
    "04": "parks",
    "05": "housing",
    "0502": "emergency",
}
"""Owner by class or sub-class of component; the longer code wins. A cover of unknown make (0114
不明井盖) has a default keeper too."""

EVENT_OWNERS: Final = {
    "01": "sanitation",
    "0105": "water",
    "0111": "drainage",
    "02": "city-management",
    "03": "enforcement",
    "04": "road-works",
    "0403": "gas",
    "0404": "drainage",
    "0491": "sanitation",
    "0492": "water",
    "0493": "water",
    "0494": "water",
    "05": "city-management",
}
"""Owner by class or sub-class of event, asked after the street office (先属地、后属主)."""


def owner(class_code: str) -> str:
    """Return the owner of a sub-class, 4 digits.

    >>> owner("0102"), owner("0114")
    ('drainage', 'road-works')
    """
    return OWNERS.get(class_code) or OWNERS.get(class_code[:2], "city-management")
