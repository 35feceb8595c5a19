"""Each channel against a real server on loopback: what it sends, how it hears refusals, and that no fault shows its secret."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import re
from pathlib import Path

import pytest
from alert_servers import HttpServer, certificate, http_server, mail_server

from arbitrage.model.settings import ChannelSettings
from arbitrage.ops.alerts.channel import Channel, ChannelFault
from arbitrage.ops.alerts.nouns import Note
from arbitrage.ops.alerts.routes import channel_of
from arbitrage.ops.alerts.wording import House, Message

pytestmark = pytest.mark.integration
S = 1_000_000_000
CANARY = "c4n4ry-S3CR3T-0123456789"
HOUSE = House("production", "live", "main", "trader1")
NOTE = Note("feed_down/upbit", "feed_down", "critical", "firing", "a feed is down", "upbit: <b>@everyone</b> & co", 0, 5 * S)
MESSAGE = Message("m1", "alert", HOUSE, 1_750_000_000 * S, "critical", (NOTE,))


def channel(kind: str, server: HttpServer, *, timeout_ms: int = 2_000) -> Channel:
    """Build a channel of a kind that talks to the server, with the canary for its secret."""
    section = ChannelSettings(kind, url=server.url + "/hook", chat="-100", timeout_ms=timeout_ms)  # type: ignore[arg-type]  # one of the kinds
    address = f"{server.url}/services/{CANARY}"
    return channel_of(section, address if kind in ("slack", "discord") else CANARY)


def fault_of(kind: str, answer: tuple[int, dict[str, str], bytes]) -> ChannelFault:
    """Return what a channel says when it is answered so."""

    async def send() -> ChannelFault:
        async with http_server() as server:
            server.ok = answer
            it = channel(kind, server)
            with pytest.raises(ChannelFault) as caught:
                await it.send(MESSAGE)
            await it.close()
            return caught.value

    return asyncio.run(send())


def sent(kind: str, answer: tuple[int, dict[str, str], bytes] = (200, {}, b'{"ok":true}')) -> HttpServer:
    """Return the server after one message."""

    async def send() -> HttpServer:
        async with http_server() as server:
            server.ok = answer
            it = channel(kind, server)
            assert await it.send(MESSAGE)
            await it.close()
            return server

    return asyncio.run(send())


def test_a_webhook_gets_json_whose_signature_proves_who_sent_it_and_when() -> None:
    (taken,) = sent("webhook", (204, {}, b"")).taken
    found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", taken.headers["x-arbitrage-signature"])
    assert found is not None and int(found[1]) == 1_750_000_000
    signed = hmac.new(CANARY.encode(), f"{found[1]}.".encode() + taken.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(signed, found[2]) and taken.headers["idempotency-key"] == "m1"
    assert taken.json["alerts"][0]["key"] == "feed_down/upbit" and taken.path == "/hook"


def test_telegram_gets_the_text_as_it_is() -> None:
    (taken,) = sent("telegram").taken
    assert taken.path == f"/hook/bot{CANARY}/sendMessage" and taken.json["chat_id"] == "-100"
    assert "<b>@everyone</b> & co" in taken.json["text"] and "parse_mode" not in taken.json


def test_telegram_that_answers_without_taking_it_has_not_taken_it() -> None:
    assert str(fault_of("telegram", (200, {}, b'{"ok":false}'))) == "answered without saying that it took it"
    assert "without saying" in str(fault_of("telegram", (200, {}, b"<html>")))


def test_slack_gets_no_tag_and_discord_mentions_nobody() -> None:
    (slack,) = sent("slack", (200, {}, b"ok")).taken
    assert "&lt;b&gt;@everyone&lt;/b&gt; &amp; co" in slack.json["text"] and slack.path == f"/services/{CANARY}"
    (discord,) = sent("discord", (204, {}, b"")).taken
    assert discord.json["allowed_mentions"] == {"parse": []} and "@everyone" in discord.json["content"]


@pytest.mark.parametrize("kind", ["webhook", "telegram", "slack", "discord"])
def test_a_refusal_is_told_by_its_status_and_without_the_secret(kind: str) -> None:
    for status in (400, 401, 403, 404, 500, 302):
        fault = fault_of(kind, (status, {"location": "http://127.0.0.1:1/"}, f"you sent {CANARY}".encode()))
        assert f"status {status}" in str(fault) and CANARY not in repr(fault) and fault.wait_s == 0


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"Retry-After": "7"}, b"", 7.0), ({}, b'{"parameters":{"retry_after":12}}', 12.0),
        ({}, b'{"retry_after": 0.65}', 0.65), ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", 0.0),
        ({"Retry-After": "-1"}, b'{"retry_after": "x"}', 0.0),
    ],
)  # fmt: skip
def test_patience_that_is_asked_for_is_heard(headers: dict[str, str], body: bytes, wait_s: float) -> None:
    assert fault_of("discord", (429, headers, body)).wait_s == wait_s


def test_an_answer_without_end_is_cut_off() -> None:
    assert len(sent("webhook", (200, {}, b"x" * 3_000_000)).taken) == 1


@pytest.mark.parametrize("kind", ["webhook", "telegram", "slack", "discord"])
def test_a_server_that_hangs_or_is_gone_is_told_in_time_and_without_the_secret(kind: str) -> None:
    async def send() -> list[str]:
        words = []
        async with http_server() as server:
            server.hangs = True
            it = channel(kind, server, timeout_ms=300)
            with pytest.raises(ChannelFault) as hung:
                await it.send(MESSAGE)
            words.append(repr(hung.value))
        with pytest.raises(ChannelFault) as gone:
            await it.send(MESSAGE)
        await it.close()
        return [*words, repr(gone.value)]

    hung, gone = asyncio.run(send())
    assert "no answer in time" in hung and "not reached" in gone and CANARY not in hung + gone


def mail_settings(port: int, security: str, **more: object) -> ChannelSettings:
    fields = {"smtp_host": "localhost", "smtp_port": port, "smtp_security": security, "sender": "bot@example.org"}
    return ChannelSettings("email", recipients=("a@example.org", "b@example.org"), **{**fields, **more})  # type: ignore[arg-type]  # of a test


def test_a_mail_goes_over_tls_with_the_password_to_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, trusted = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    async def send() -> tuple[list[str], list[str], list[bool], list[str]]:
        async with mail_server(context, CANARY) as server:
            it = channel_of(mail_settings(server.port, "starttls", smtp_user="bot"), CANARY)
            assert await it.send(MESSAGE) == "taken for 2"
            await it.close()
            return server.mails, server.tried, server.was_secret, server.recipients

    (mail,), tried, was_secret, recipients = asyncio.run(send())
    read = email.message_from_string(mail, policy=email.policy.default)
    assert tried == [CANARY] and was_secret == [True] and len(recipients) == 2 and CANARY not in mail
    assert read["Subject"] == "[CRITICAL] arbitrage production live main on trader1: a feed is down (feed_down/upbit)"
    assert read["Auto-Submitted"] == "auto-generated" and "upbit: <b>@everyone</b> & co" in read.get_content()


def test_a_mail_server_whose_certificate_nobody_trusts_gets_no_password(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)

    async def send() -> list[str]:
        async with mail_server(context, CANARY) as server:
            it = channel_of(mail_settings(server.port, "starttls", smtp_user="bot"), CANARY)
            with pytest.raises(ChannelFault, match="not reached"):
                await it.send(MESSAGE)
            return server.tried

    assert asyncio.run(send()) == []


def mail_fault(*, password: str = "", refuses: str = "", drips: bool = False) -> tuple[str, float]:
    """Return what a mail channel says, and after how long."""

    async def send() -> tuple[str, float]:
        async with mail_server(None, CANARY) as server:
            server.refuses, server.drips = refuses, drips
            user = {"smtp_user": "bot"} if password else {}
            it = channel_of(mail_settings(server.port, "none", timeout_ms=600, **user), password)
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(ChannelFault) as caught:
                await it.send(MESSAGE)
            took_s = loop.time() - began
            if drips:  # the thread of the mail before ends by itself: its line was hung up
                for _ in range(100):
                    with pytest.raises(ChannelFault) as again:
                        await it.send(MESSAGE)
                    if "has not ended" not in str(again.value):
                        break
                    await asyncio.sleep(0.05)
                assert "has not ended" not in str(again.value)
            await it.close()
            return repr(caught.value), took_s

    return asyncio.run(send())


def test_a_mail_that_is_refused_says_why_without_the_password() -> None:
    words = [mail_fault(password=f"wrong-{CANARY}")[0], mail_fault(refuses="MAIL")[0], mail_fault(refuses="DATA")[0]]
    assert "the password is not taken" in words[0] and "554" in words[1] and "554" in words[2]
    assert CANARY not in "".join(words)


def test_a_mail_server_that_drips_is_hung_up_on_in_time() -> None:
    words, took_s = mail_fault(drips=True)
    assert "no answer in time" in words and took_s < 1.5
