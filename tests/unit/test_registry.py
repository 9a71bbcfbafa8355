from devices.registry import Device, Registry


def test_limits_stay_the_same_object_and_follow_each_reload() -> None:
    registry = Registry([Device(1, "WG-1", "water_gauge", limits={"level": {"red": 3.0}})])
    limits = registry.limits
    assert limits == {1: {"level": {"red": 3.0}}}
    registry.replace([Device(2, "WG-2", "water_gauge", limits={"level": {"red": 4.0}})])
    assert registry.limits is limits
    assert limits == {2: {"level": {"red": 4.0}}}


def test_each_reload_raises_the_epoch_and_replaces_all_devices() -> None:
    registry = Registry([Device(1, "MH-1", "manhole_cover")])
    before = registry.epoch, registry.by_id
    registry.replace([Device(2, "MH-2", "manhole_cover")])
    assert registry.epoch == before[0] + 1
    assert set(before[1]) == {"MH-1"}, "a reader in another thread keeps a whole snapshot"
    assert set(registry.by_id) == {"MH-2"}
    assert set(registry.by_no) == {2}


def test_a_gateway_speaks_for_its_own_devices_only() -> None:
    registry = Registry(
        [
            Device(1, "GW-1", "gateway"),
            Device(2, "MH-1", "manhole_cover", gateway="GW-1"),
            Device(3, "MH-2", "manhole_cover", gateway="GW-2"),
        ]
    )
    assert registry.children("GW-1") == {"MH-1"}
    assert registry.children("MH-1") == frozenset()
