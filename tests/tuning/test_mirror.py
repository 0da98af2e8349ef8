"""Sweeps in S3: what a machine has lost comes back, and two machines do not both write."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from ni_platform.data import storage
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.experiment_config import load_experiment
from ni_platform.tuning.config import SweepConfig, SweepFolder, list_sweeps
from ni_platform.tuning.engine.exchanged_weights import (
    drop_weights,
    encoders_at_hand,
    fetch_encoders,
    fetch_weights,
    send_encoders,
    sending_weights,
)
from ni_platform.tuning.engine.lane import TrialDone
from ni_platform.tuning.files import lease, mirror
from ni_platform.tuning.files.lease import Lease, driven_elsewhere, leased, read_lease
from ni_platform.tuning.files.log_file import LogFile
from ni_platform.tuning.files.mirror import Mirror, TakenOverError
from ni_platform.tuning.files.mirrored_folder import fetch, send
from ni_platform.tuning.files.validation_predictions import ValidationPredictions


@pytest.fixture
def on(place, monkeypatch, tmp_path):
    """Give the folder of the sweep `s` as the machine of a number has it."""

    def machine(number: int) -> SweepFolder:
        monkeypatch.setenv("NI_HOME", str(tmp_path / f"machine-{number}"))
        return SweepFolder.named("s", place)

    return machine


def created(folder: SweepFolder) -> SweepFolder:
    """The folder with a definition, there and in S3."""
    experiment = load_experiment("neural_insights.quickstart")
    config = SweepConfig(
        name="s", space="a.b", experiment=experiment, data="/d", trials=9, objective="rmse"
    )
    folder.create(config, "run")
    send(folder, folder.definition)
    return folder


def lines(folder: SweepFolder) -> list[str]:
    """The lines of the log."""
    return [str(part) for part in folder.log.read_text().splitlines()]


def append(folder: SweepFolder, *values: str) -> None:
    """Write lines that are told apart by a value."""
    log = LogFile(folder.log, writable=True)
    log.append_logs([{"value": value} for value in values])
    log.close()


def test_another_machine_gets_every_byte(on, place, monkeypatch):
    """In several objects, each written once it is full; later pushes send the end only."""
    monkeypatch.setattr(mirror, "SEGMENT_BYTES", 40)
    first = created(on(1))
    copier = Mirror(first)
    predictions = ValidationPredictions(path=first.predictions)
    for number in range(20):
        append(first, f"value {number}")
        predictions.append(number, np.full(7, number / 20))
        copier.push()
    sizes = [storage.size(f"{place}/s/study.log/{name}") for name in segments(place)]
    assert len(sizes) > 5
    assert all(40 <= size < 80 for size in sizes[:-1])
    assert copier.log_bytes == sum(sizes) == first.log.stat().st_size

    assert list_sweeps(place) == ["s"]
    second = on(2)
    assert second.path != first.path
    fetch(second)
    for path in (first.log, first.predictions, first.definition):
        assert (second.path / path.name).read_bytes() == path.read_bytes()
    assert second.read() == first.read()
    append(second, "more")
    Mirror(second).push()
    fetch(first)
    assert lines(first) == lines(second)


def segments(place: str) -> list[str]:
    """Names of the objects of the log."""
    return storage.list_files(f"{place}/s/study.log")


def test_what_a_crash_tore_is_never_copied(on):
    """Half a line and half a record stay behind, and what is written in their place comes."""
    folder = created(on(1))
    append(folder, "whole")
    predictions = ValidationPredictions(path=folder.predictions)
    predictions.append(0, np.zeros(3))
    kept = folder.log.read_bytes()
    with folder.log.open("ab") as log, folder.predictions.open("ab") as records:
        log.write(b'{"op_code": 4, "tri')
        records.write(b"torn")
    Mirror(folder).push()
    other = on(2)
    fetch(other)
    assert other.log.read_bytes() == kept
    assert ValidationPredictions(path=other.predictions).read()[0].tolist() == [0]

    append(folder, "after the crash")  # cuts the torn line off
    predictions.append(1, np.ones(3))
    Mirror(folder).push()
    fetch(other)
    assert lines(other) == lines(folder)
    assert ValidationPredictions(path=other.predictions).read()[0].tolist() == [0, 1]


def test_a_machine_whose_results_were_overtaken_takes_those_in_s3(on):
    """What it had beyond S3 stays while nobody else went on, and goes when somebody did."""
    first = created(on(1))
    append(first, "shared")
    Mirror(first).push()
    append(first, "not copied")
    fetch(first)
    assert len(lines(first)) == 2

    second = on(2)
    fetch(second)
    append(second, "of the second machine", "and another")
    Mirror(second).push()
    fetch(first)
    assert lines(first) == lines(second)


def test_mlflow_learns_only_what_survives(on, s3, monkeypatch):
    """The bytes that may be written there do not grow while S3 is away."""
    folder = created(on(1))
    append(folder, "one")
    copier = Mirror(folder)
    assert copier.log_bytes == 0
    copier.push()
    safe = copier.log_bytes
    append(folder, "two")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DatasetError, match="cannot be reached"):
        copier.push()
    assert copier.log_bytes == safe
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    copier.start()
    assert copier.finish(60)
    assert copier.log_bytes == folder.log.stat().st_size > safe


def test_a_missing_object_is_told(on, place, monkeypatch):
    """Rather than a log with a hole."""
    monkeypatch.setattr(mirror, "SEGMENT_BYTES", 1)
    folder = created(on(1))
    copier = Mirror(folder)
    for value in "abc":
        append(folder, value)
        copier.push()
    storage.delete(f"{place}/s/study.log/{segments(place)[1]}")
    with pytest.raises(DatasetError, match=r"study\.log .* continues at byte \d+, but"):
        fetch(on(2))


def test_a_driver_is_killed_three_times(on):
    """On whichever machine it is started again, it goes on: all that it told is there once."""
    created(on(1))
    told = -1
    for machine, more in ((1, 7), (2, 12), (1, 9)):
        process, pipe = start_driver(on(machine))
        told = [pipe.recv() for _ in range(more)][-1]
        process.kill()
        with suppress(EOFError):
            while True:
                told = pipe.recv()
        process.join()
    last = on(3)
    fetch(last)
    numbers = [json.loads(line)["x"] for line in lines(last)]
    assert numbers == list(range(len(numbers)))
    assert told + 1 <= len(numbers) <= told + 2  # copied, but not yet told


def drive(folder: SweepFolder, told: Connection) -> None:
    """Write a log, copy it at once and tell of it, until this process is killed."""
    lease.SECONDS_BETWEEN_RENEWALS = 0.1
    with leased(folder):
        fetch(folder)
        log = LogFile(folder.log, writable=True)
        copier = Mirror(folder)
        number = len(lines(folder))
        while True:
            log.append_logs([{"x": number}])
            copier.push()
            told.send(number)
            number += 1


def start_driver(folder: SweepFolder) -> tuple[BaseProcess, Connection]:
    """Run `drive` in a process of its own."""
    forking = multiprocessing.get_context("fork")  # or it would import for seconds
    told, tell = forking.Pipe(duplex=False)
    process = forking.Process(target=drive, args=(folder, tell))
    process.start()
    tell.close()
    return process, told


def test_a_sweep_has_one_driver(on, place):
    """A second one is refused while the first lives; afterwards it is let in at once."""
    folder = created(on(1))
    process, pipe = start_driver(folder)
    pipe.recv()
    words = rf"process {process.pid} of .* drives 's' in {place}/s: end it there by"
    with pytest.raises(ConfigError, match=words), leased(folder):
        pass
    process.kill()
    process.join()
    with leased(folder):
        assert read_lease(folder).pid != process.pid
    assert read_lease(folder) is None


def write_lease(folder: SweepFolder, held: Lease) -> None:
    """Write a lease, whatever stands there."""
    storage.write_bytes(f"{folder.place}/lease.json", json.dumps(asdict(held)).encode())


def test_of_drivers_that_start_at_the_same_moment_one_drives(on, monkeypatch):
    """Each sees that nobody drives before any of them has written its name."""
    folder = created(on(1))
    look, barrier, looks = storage.read_with_etag, threading.Barrier(4), threading.local()

    def all_have_seen(uri: str) -> tuple[bytes, str]:
        try:
            return look(uri)
        finally:
            looks.count = getattr(looks, "count", 0) + 1
            if looks.count <= 2:  # before a driver writes
                barrier.wait(60)

    monkeypatch.setattr(storage, "read_with_etag", all_have_seen)
    taken: list[str] = []

    def drive_once() -> None:
        with suppress(ConfigError), leased(folder):
            taken.append(read_lease(folder).owner)
            done.wait(60)

    done = threading.Event()
    drivers = [threading.Thread(target=drive_once) for _ in range(4)]
    for driver in drivers:
        driver.start()
    while sum(driver.is_alive() for driver in drivers) > 1:
        time.sleep(0.05)
    assert len(taken) == 1
    done.set()
    for driver in drivers:
        driver.join(60)


def test_a_store_that_ignores_conditions_is_told(on, monkeypatch):
    """It overwrites what it should not; whoever drives is warned, and drives."""
    folder = created(on(1))
    said: list[str] = []
    with leased(folder, said.append):
        assert said == []

    def whatever_is_there(uri: str, data: bytes, etag: str | None) -> str:
        storage.write_bytes(uri, data)
        return storage.read_with_etag(uri)[1]

    monkeypatch.setattr(storage, "write_if", whatever_is_there)
    with leased(folder, said.append):
        assert read_lease(folder).is_alive
    assert said == [lease.UNCONDITIONAL]
    assert storage.list_files(folder.place) == ["sweep.json"]


def test_a_lease_of_another_machine_expires(on, monkeypatch):
    """Nobody can ask there whether its process lives: it counts for a minute."""
    monkeypatch.setattr(lease, "SECONDS_TO_EXPIRE", 4.0)
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.2)
    folder = created(on(1))
    gone = Lease(owner="other", host="another-machine", pid=1, time=time.time())
    write_lease(folder, gone)
    assert driven_elsewhere(folder) == gone
    with leased(folder):
        assert time.time() > gone.time + 4
        renewed = read_lease(folder).time
        copier = Mirror(folder)
        copier.push()
        while read_lease(folder).time == renewed:
            time.sleep(0.05)
        # And a driver that was away for so long sees that it lost the sweep.
        write_lease(folder, gone)
        with pytest.raises(TakenOverError, match="another-machine"):
            copier.push()
    assert read_lease(folder) == gone  # not given back by who does not have it


def test_weights_and_encoders_travel(on, place, tmp_path):
    """From lanes to the driver, and from the driver to whoever encodes."""
    driver = created(on(1))
    lane = SweepFolder(path=Path("/not/there"), mirror=driver.mirror)

    def trained(overrides, on_epoch) -> TrialDone:
        def save(folder: Path) -> None:
            (folder / "state.safetensors").write_bytes(overrides["weights"])

        return TrialDone(value=0.0, predictions=None, save=save)

    train = sending_weights(lane, trained)
    for number in range(3):
        train({"weights": b"of %d" % number}, None).save(lane.weights(number))
    fetch_weights(driver, 2)
    assert (driver.weights(2) / "state.safetensors").read_bytes() == b"of 2"
    drop_weights(driver, {0, 2})
    assert storage.list_files(f"{place}/s/trials") == [
        "00000/state.safetensors",
        "00002/state.safetensors",
    ]
    fetch_weights(driver, 1)
    assert not driver.weights(1).exists()

    (driver.encoders / "stages" / "text").mkdir(parents=True)
    (driver.encoders / "stages" / "text" / "state").write_bytes(b"trained")
    send_encoders(driver)
    with encoders_at_hand(lane) as folder:
        assert (folder / "stages" / "text" / "state").read_bytes() == b"trained"
    other = on(2)
    fetch(other)
    (other.encoders / "half").mkdir(parents=True)
    fetch_encoders(other)
    assert (other.encoders / "stages" / "text" / "state").read_bytes() == b"trained"
    assert not (other.encoders / "half").exists()


def test_a_mirror_that_meets_the_unexpected_says_so_and_goes_on(on, place):
    """Whatever it is, the thread lives; whoever waits for it hears that not all is there."""
    folder = created(on(1))
    append(folder, "one")
    told: list[str] = []
    copier = Mirror(folder, on_trouble=told.append)
    folder.predictions.mkdir()  # an error where nothing but the store was thought to fail
    copier.start()
    assert not copier.finish(3)
    assert told == [
        f"results wait in {folder.path}: IsADirectoryError: " + told[0].split(": ", 2)[2]
    ]
    folder.predictions.rmdir()
    assert copier.finish(60)
    assert told[1:] == [f"{place}/s answers again"]
    assert copier.log_bytes == folder.log.stat().st_size


def test_a_lease_that_is_none_is_told(on, place):
    """Who reads it hears what is wrong with it, and it is renewed when it is gone."""
    folder = created(on(1))
    storage.write_bytes(f"{place}/s/lease.json", b"torn")
    with pytest.raises(DatasetError, match=r"lease.json says who drives .* is b'torn'; delete it"):
        driven_elsewhere(folder)


def test_a_lease_is_renewed_after_the_unexpected(on, place, monkeypatch):
    """A thread that ended would give the sweep away."""
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.1)
    folder = created(on(1))
    with leased(folder):
        mine = storage.read_bytes(f"{place}/s/lease.json")
        storage.write_bytes(f"{place}/s/lease.json", b"torn")
        time.sleep(0.5)
        storage.write_bytes(f"{place}/s/lease.json", mine)
        before = read_lease(folder).time
        deadline = time.monotonic() + 30
        while read_lease(folder).time == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
