import hashlib
import io
import ipaddress
import socket
import time

import boto3
import pytest
from PIL import Image

from ni_platform.data.importers.download import (
    DownloadLimits,
    dataset_name,
    download_pictures,
    is_public,
)
from ni_platform.errors import DatasetError
from tests.data.importers.web_server import certificate_of, serving

HERE = ipaddress.ip_address("127.0.0.1")
LOCAL = DownloadLimits(allowed=lambda address: address == HERE)


def png(colour: str) -> bytes:
    """Return a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


RED, GREEN = png("red"), png("green")


@pytest.fixture
def web():
    """A server with two pictures."""
    with serving() as found:
        found.answers |= {"/red.png": RED, "/green": GREEN}
        yield found


def reason(url, cache, limits=LOCAL):
    """Return why a URL gives no picture, which it must not."""
    found = download_pictures([url], cache, limits=limits)
    assert found.files == {}
    assert list(cache.glob("*")) == []
    return found.failed[url]


def test_pictures_are_fetched_once_and_named_by_their_bytes(web, tmp_path):
    """Two URLs, one of them twice, are two requests, and none when they are asked for again."""
    urls = [web.url("/red.png"), web.url("/green"), web.url("/red.png")]
    told = []
    found = download_pictures(urls, tmp_path, limits=LOCAL, on_picture=lambda *n: told.append(n))

    assert found.failed == {}
    assert {url: file.read_bytes() for url, file in found.files.items()} == {
        urls[0]: RED,
        urls[1]: GREEN,
    }
    digest = hashlib.sha256(GREEN).hexdigest()
    assert dataset_name(found.files[urls[1]]) == f"{digest}.png"
    assert told == [(1, 2), (2, 2)]
    assert sorted(web.asked) == ["/green", "/red.png"]
    assert web.hosts == [f"127.0.0.1:{web.port}"] * 2

    again = download_pictures(urls, tmp_path, limits=LOCAL)
    assert again == found
    assert len(web.asked) == 2


def test_a_kept_picture_that_was_damaged_is_fetched_again(web, tmp_path):
    """What is kept must still have the hash in its name."""
    url = web.url("/red.png")
    download_pictures([url], tmp_path, limits=LOCAL).files[url].write_bytes(b"half")
    assert download_pictures([url], tmp_path, limits=LOCAL).files[url].read_bytes() == RED


def test_a_failure_is_tried_again(web, tmp_path):
    """A picture that appears between two calls is there in the second."""
    url = web.url("/late.png")
    assert "answers 404" in reason(url, tmp_path)
    web.answers["/late.png"] = RED
    assert download_pictures([url], tmp_path, limits=LOCAL).files[url].read_bytes() == RED


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001",
     "0177.0.0.1", "127.1", "0.0.0.0", "LOCALHOST.", "%6cocalhost"],
)  # fmt: skip
def test_this_machine_is_refused(host, web, tmp_path):
    """However its address is written, no request comes."""
    said = reason(web.url("/red.png", host), tmp_path, DownloadLimits(seconds=5))
    assert "public addresses only" in said or "has no address" in said
    assert web.asked == []


def test_credentials_of_a_cloud_are_refused(tmp_path):
    """The address that gives them is link-local."""
    said = reason("http://169.254.169.254/latest/meta-data/", tmp_path, DownloadLimits())
    assert "public addresses only, but 169.254.169.254 is 169.254.169.254" in said


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:93.184.215.14", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("127.8.8.8", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("::7f00:1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("ff0e::1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_public(address, public):
    """Private, shared, local, multicast, reserved and tunnelled ones are not."""
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://169.254.169.254/", "public addresses only, but 169.254.169.254"),
        ("http://127.0.0.2:{port}/red.png", "public addresses only, but 127.0.0.2"),
        ("//[::1]:{port}/red.png", "public addresses only, but ::1"),
        ("http://2130706434:{port}/red.png", "public addresses only, but 2130706434 is 127.0.0.2"),
        ("file:///etc/hostname", "must read http"),
        ("http://user:word@127.0.0.1:{port}/red.png", "without a user name"),
    ],
)
def test_a_redirect_is_checked_like_the_url(target, said, web, tmp_path):
    """Only the first of both requests comes."""
    web.answers["/moved"] = target.format(port=web.port)
    assert said in reason(web.url("/moved"), tmp_path)
    assert web.asked == ["/moved"]


def test_redirects_are_followed_up_to_a_number(web, tmp_path):
    """Two are within two, three are not; a relative one is too."""
    web.answers |= {"/3": "/2", "/2": web.url("/1"), "/1": "red.png"}
    limits = DownloadLimits(allowed=LOCAL.allowed, redirects=2)
    found = download_pictures([web.url("/2"), web.url("/3")], tmp_path, limits=limits)
    assert list(found.files) == [web.url("/2")]
    assert "At most 2 redirects" in found.failed[web.url("/3")]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_is_resolved_once(scheme, tmp_path, monkeypatch):
    """A name that changes its address after the check is still connected to at the checked one."""
    answered = []
    real = socket.getaddrinfo

    def changing(host, *rest, **options):
        if host != "pictures.test":
            return real(host, *rest, **options)
        answered.append(host)
        return real("127.0.0.1" if len(answered) == 1 else "127.0.0.2", *rest, **options)

    certificate = certificate_of("pictures.test", tmp_path / "pictures.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with serving(certificate if scheme == "https" else None) as web:
        web.answers["/red.png"] = RED
        url = web.url("/red.png", "pictures.test", scheme)
        found = download_pictures([url], tmp_path / "cache", limits=LOCAL)
        assert found.files[url].read_bytes() == RED
        assert answered == ["pictures.test"]
        assert web.hosts == [f"pictures.test:{web.port}"]


def test_a_name_with_one_address_that_is_not_allowed_is_refused(web, tmp_path, monkeypatch):
    """Not even its allowed address is connected to."""
    real = socket.getaddrinfo

    def both(host, *rest, **options):
        return real("127.0.0.1", *rest, **options) + real("127.0.0.2", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert "is 127.0.0.2" in reason(web.url("/red.png", "pictures.test"), tmp_path)
    assert web.asked == []


@pytest.mark.parametrize(
    "url",
    ["ftp://pictures.test/a.png", "file:///etc/hostname", "http://", "http:///a.png", "gopher://x/",
     "http://a:b@pictures.test/a.png", "https://[::1/a.png", "http://pictures.test:99999/"],
)  # fmt: skip
def test_other_urls_are_refused(url, tmp_path):
    """Only http and https, with a host and without a user's name."""
    said = reason(url, tmp_path, DownloadLimits())
    assert "must read http" in said or "cannot be fetched" in said


def test_a_picture_is_what_decodes(web, tmp_path):
    """A page is none, nor half a picture; a picture that is sent as text/plain is one."""
    web.answers |= {"/page.png": b"<html>Sign in</html>", "/half.png": RED[:-20]}
    found = download_pictures(
        [web.url(path) for path in ("/page.png", "/half.png", "/red.png")], tmp_path, limits=LOCAL
    )
    assert list(found.files) == [web.url("/red.png")]
    assert "unknown format" in found.failed[web.url("/page.png")]
    assert "corrupt" in found.failed[web.url("/half.png")]


def test_a_body_that_never_ends_is_left_at_the_limit(web, tmp_path):
    """At most the limit and what is on its way is taken of it."""
    sent = []

    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while len(sent) < 100_000:
            handler.wfile.write(bytes(1000))
            sent.append(1000)

    web.answers["/endless"] = endless
    limits = DownloadLimits(allowed=LOCAL.allowed, max_bytes=50_000)
    assert "may have 50,000 bytes" in reason(web.url("/endless"), tmp_path, limits)
    assert sum(sent) < 20_000_000


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_server_that_drips_is_left_in_time(start, web, tmp_path):
    """Each byte of a body, or of a header, comes within the time of a read; the whole does not."""

    def dripping(handler):
        handler.wfile.write(start)
        for _ in range(200):
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    web.answers["/drip"] = dripping
    limits = DownloadLimits(allowed=LOCAL.allowed, seconds=0.5)
    begun = time.monotonic()
    assert "may take 0.5 seconds" in reason(web.url("/drip"), tmp_path, limits)
    assert time.monotonic() - begun < 5


def test_a_certificate_must_be_that_of_the_name(tmp_path, monkeypatch):
    """By a checked address, a trusted certificate of the host's name is taken, no other."""
    cache = tmp_path / "cache"
    for name, said in {"localhost": None, "elsewhere.test": "certificate"}.items():
        place = certificate_of(name, tmp_path / f"{name}.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        with serving(place) as web:
            web.answers["/red.png"] = RED
            url = web.url("/red.png", "localhost", "https")
            limits = DownloadLimits(allowed=lambda address: address.is_loopback)
            found = download_pictures([url], cache, limits=limits)
            if said is None:
                assert found.files[url].read_bytes() == RED
                # The server goes on, and nobody vouches for its certificate any more.
                monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
                again = download_pictures([url], tmp_path / "other", limits=limits)
                assert "certificate" in again.failed[url].lower()
            else:
                assert said in found.failed[url].lower()
                assert web.asked == []


def test_objects_of_s3_are_fetched_the_same_way(bucket, tmp_path):
    """One that is missing is a failure with its reason."""
    boto3.client("s3").put_object(Bucket=bucket[5:], Key="a/red.png", Body=RED)
    found = download_pictures([f"{bucket}/a/red.png", f"{bucket}/none.png"], tmp_path)
    assert found.files[f"{bucket}/a/red.png"].read_bytes() == RED
    assert "does not exist" in found.failed[f"{bucket}/none.png"]


def test_a_cache_that_cannot_be_written_is_an_error(web, tmp_path):
    """It is no failure of the URL."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be read or written"):
        download_pictures([web.url("/red.png")], tmp_path / "file/cache", limits=LOCAL)
