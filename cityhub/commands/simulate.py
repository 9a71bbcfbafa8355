"""``cityhub simulate``: a city's devices over real MQTT, and scenes in it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityhub.commands import Commands, add_command, add_group, add_json, load

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "simulate",
        "simulated devices, and scenes that happen to them",
        "  cityhub simulate scenes\n"
        "  cityhub simulate start cover_stolen --target sim-MH-0007\n"
        "  cityhub simulate status\n"
        "  cityhub simulate stop T1795293497817-1\n"
        "  cityhub simulate load run.jsonl --rate 1000 && cityhub simulate score run.jsonl",
    )
    run = add_command(
        group, "run", _run, "be all devices of a city until Ctrl-C, or play a storm of alarms"
    )
    run.add_argument(
        "scenario", nargs="?", choices=["storm"], help="a drill on a hub of its own, judged"
    )
    run.add_argument("--abnormal", type=int, default=2_000, help="devices of the storm (2000)")
    run.add_argument("--causes", type=int, default=5, help="true causes of the storm (5)")
    add_json(run)
    run.add_argument("--devices", type=Path, metavar="FILE", help="devices.csv")
    run.add_argument("--seed", type=int, default=7, help="the same seed gives the same bytes (7)")
    run.add_argument("--speed", type=float, default=1.0, help="virtual seconds a second (1)")
    run.add_argument("--truth", type=Path, metavar="FILE", help="what really happened, a line each")
    run.add_argument("--control", type=Path, metavar="SOCKET", help="where it takes orders")
    run.add_argument("--life", action="store_true", help="scenes begin by themselves")
    run.add_argument(
        "--allow-remote", action="store_true", help="publish to another machine than this one"
    )
    scenes = add_command(group, "scenes", _scenes, "what can be made to happen")
    add_json(scenes)
    start = add_command(group, "start", _start, "begin a scene in the running simulator")
    start.add_argument("scene", help="its name, see 'cityhub simulate scenes'")
    start.add_argument("--target", default="", metavar="ID", help="where; else chosen by chance")
    start.add_argument("--for", dest="lasts_s", type=float, metavar="S", help="seconds it lasts")
    start.add_argument(
        "--with",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a parameter of the scene",
    )
    stop = add_command(group, "stop", _stop, "end a scene")
    stop.add_argument("id", help="as 'cityhub simulate status' shows it")
    repair = add_command(group, "repair", _repair, "end all scenes at a device, as a crew does")
    repair.add_argument("device_id")
    status = add_command(
        group, "status", _status, "which scenes are on, and how the fleet does", aliases=["list"]
    )
    load.add(group)
    for parser in (start, stop, repair, status):
        parser.add_argument("--control", type=Path, metavar="SOCKET", help="the simulator's socket")
        add_json(parser)


def _run(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.roles import simulate
    from core.errors import ConfigError

    if arguments.scenario == "storm":
        _storm(arguments)
        return
    if arguments.devices is None:
        raise ConfigError("name the city's devices with --devices, or the scenario 'storm'")
    simulate(
        settings,
        devices=arguments.devices,
        seed=arguments.seed,
        speed=arguments.speed,
        truth=arguments.truth,
        control=arguments.control,
        life=arguments.life,
        allow_remote=arguments.allow_remote,
    )


def _storm(arguments: argparse.Namespace) -> None:
    import asyncio
    import sys
    from dataclasses import asdict

    from cityhub.storm import drill_storm

    def say(words: str) -> None:
        print(words, file=sys.stderr)

    report = asyncio.run(drill_storm(abnormal=arguments.abnormal, causes=arguments.causes, say=say))
    if arguments.json:
        print(json.dumps(asdict(report), ensure_ascii=False))
    else:
        print(
            f"{report.abnormal} abnormal devices, {report.alarms} alarms: {report.rows} rows on"
            f" the operator's list, {report.lost} events lost"
        )
        for each in report.wrong:
            print(f"WRONG: {each}")
    if report.wrong or report.lost:
        sys.exit(1)


def _scenes(_: "Settings", arguments: argparse.Namespace) -> None:
    from simulators.control import list_scenes

    scenes = list_scenes()
    if arguments.json:
        print(json.dumps(scenes, ensure_ascii=False))
        return
    for scene in scenes:
        print(f"{scene['name']:<20} {scene['label']['zh']}  {scene['label']['en']}")
        print(f"{'':<20} {scene['about']['en']}")
        for name, value in scene["parameters"].items():
            print(f"{'':<20} --with {name}={value}")


def _start(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.errors import ConfigError
    from simulators.control import start_scene

    parameters = {}
    for text in arguments.parameters:
        name, _, number = text.partition("=")
        try:
            parameters[name] = float(number)
        except ValueError as error:
            raise ConfigError(f"--with {text}: write NAME=NUMBER") from error
    _tell(
        arguments,
        start_scene(
            _socket(settings, arguments),
            arguments.scene,
            target=arguments.target,
            lasts_s=arguments.lasts_s,
            parameters=parameters,
        ),
    )


def _stop(settings: "Settings", arguments: argparse.Namespace) -> None:
    from simulators.control import stop_scene

    _tell(arguments, stop_scene(_socket(settings, arguments), arguments.id))


def _repair(settings: "Settings", arguments: argparse.Namespace) -> None:
    from simulators.control import repair

    _tell(arguments, repair(_socket(settings, arguments), arguments.device_id))


def _status(settings: "Settings", arguments: argparse.Namespace) -> None:
    from simulators.control import status

    _tell(arguments, status(_socket(settings, arguments)))


def _socket(settings: "Settings", arguments: argparse.Namespace) -> Path:
    from cityhub.demo import control_socket

    chosen: Path | None = arguments.control
    return chosen or control_socket(settings.data_folder)


def _tell(arguments: argparse.Namespace, answer: Any) -> None:
    print(json.dumps(answer, ensure_ascii=False, indent=None if arguments.json else 2))
