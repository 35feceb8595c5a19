"""What the reception is made of, part by part: passwords, throttling, rates, sessions, tokens, addresses, the set-up link."""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from pathlib import Path
from typing import Any

import argon2
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from web_people import PASSWORD, SECOND_NS, TOKEN_KEY, HandClock

from arbitrage.ops.problems import ConfigError
from arbitrage.web.access import passwords as rules
from arbitrage.web.access import sessions as kept
from arbitrage.web.access import throttle as slow
from arbitrage.web.access.origin import Origin, is_foreign, origin_of
from arbitrage.web.access.passwords import Passwords, TooManyWaiting, password_problem
from arbitrage.web.access.people import is_within, networks_of, role_of
from arbitrage.web.access.sessions import Sessions, SessionTimes
from arbitrage.web.access.set_up import VALID_S, SetUpLink
from arbitrage.web.access.throttle import Rates, SignInThrottle, network_of
from arbitrage.web.access.tokens import Tokens, token_key


def test_passwords_are_hashed_by_argon2id_with_the_parameters_that_are_named() -> None:
    found = argon2.extract_parameters(Passwords().hash_now(PASSWORD))
    assert (found.type, found.time_cost, found.memory_cost, found.parallelism) == (argon2.Type.ID, 2, 19_456, 1)
    assert (found.hash_len, found.salt_len) == (32, 16)


def test_a_password_is_itself_whatever_the_keyboard_composed() -> None:
    passwords = Passwords()
    kept_hash = passwords.hash_now("caf\u00e9 und kuchen")
    assert kept_hash != passwords.hash_now("caf\u00e9 und kuchen"), "salted"

    async def check() -> list[bool]:
        tries = ("cafe\u0301 und kuchen", "cafe und kuchen", "", "x" * 600)
        return [await passwords.verify(kept_hash, text) for text in tries] + [
            await passwords.verify("", "nobody has this password"), await passwords.verify("no hash", PASSWORD),
        ]  # fmt: skip

    assert asyncio.run(check()) == [True, False, False, False, False, False]


def test_nothing_is_hashed_on_the_loop_and_only_so_many_wait() -> None:
    seen = []

    class Watched(Passwords):
        def hash_now(self, password: str) -> str:
            seen.append(threading.current_thread().name)
            return "hash"

    passwords = Watched()

    async def storm() -> tuple[int, int]:
        answers = await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(50)), return_exceptions=True)
        return sum(answer == "hash" for answer in answers), sum(isinstance(answer, TooManyWaiting) for answer in answers)

    done, refused = asyncio.run(storm())
    assert (done, refused) == (rules.WAITING_MAX, 50 - rules.WAITING_MAX)
    assert {name.partition("_")[0] for name in seen} == {"passwords"}
    assert len(set(seen)) <= rules.THREADS
    assert passwords.waiting == 0


@pytest.mark.parametrize(
    ("password", "is_right"),
    [
        (PASSWORD, True), ("x" * 200, False), ("elevenchars", False), ("twelve chars", True), ("anna anna anna 1", False),
        ("anna has 12 more", True),
        ("anna1234567", False), ("anna12345678", False), ("a\nbcdefghijklmno", False), ("ä" * 100 + "bcd" + "ö" * 200, False),
        ("abcabcabcabcabc", False),
    ],
)  # fmt: skip
def test_what_may_be_a_password(password: str, *, is_right: bool) -> None:
    assert (password_problem("anna", password) == "") is is_right


def test_failures_delay_more_and_more_and_never_for_ever() -> None:
    clock = HandClock()
    throttle = SignInThrottle(clock, b"key")
    waits = []
    for _ in range(20):
        while wait_s := throttle.begin("anna", "10.0.0.1"):
            waits.append(wait_s)
            clock.move_s(wait_s)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300, 300]
    assert throttle.refused == len(waits)


def test_another_address_is_held_by_the_account_and_another_account_by_the_address() -> None:
    clock = HandClock()
    throttle = SignInThrottle(clock, b"key")
    for _ in range(slow.FREE_TRIES):
        assert throttle.begin("anna", "10.0.0.1") == 0
    assert throttle.begin("anna", "10.0.0.2") == 1
    assert throttle.begin("berta", "10.0.0.1") == 0
    tries = [throttle.begin(f"user{number}", "10.0.0.3") for number in range(slow.FREE_TRIES * slow.ADDRESS_SHARE + 1)]
    assert tries[:-1] == [0] * (len(tries) - 1) and tries[-1] == 1


def test_a_right_password_clears_the_account_and_one_try_of_the_address() -> None:
    clock = HandClock()
    throttle = SignInThrottle(clock, b"key")
    for _ in range(slow.FREE_TRIES * slow.ADDRESS_SHARE - 1):
        throttle.begin(f"user{clock()}", "10.0.0.1")
        clock.move_s(1)
    assert throttle.begin("anna", "10.0.0.1") == 0
    assert throttle.begin("berta", "10.0.0.1") == 1
    throttle.succeed("anna", "10.0.0.1")
    assert throttle.begin("berta", "10.0.0.1") == 0
    assert throttle.begin("berta", "10.0.0.1") == 1, "its other failures are not forgotten"
    clock.move_s(slow.FORGET_S + 1)
    assert throttle.begin("berta", "10.0.0.1") == throttle.begin("berta", "10.0.0.1") == 0


def test_a_flood_of_names_takes_no_more_memory_and_forgets_no_failure() -> None:
    clock = HandClock()
    throttle = SignInThrottle(clock, b"key")
    for _ in range(slow.FREE_TRIES):
        throttle.begin("admin", "10.0.0.1")
    for number in range(30_000):
        throttle.begin(f"made up {number}", f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}")
    assert throttle.slots_used <= 2 * slow.SLOTS
    assert throttle.begin("admin", "192.0.2.1") > 0


def test_tries_at_once_do_not_all_pass_before_the_first_has_failed() -> None:
    throttle = SignInThrottle(HandClock(), b"key")
    assert [throttle.begin("anna", "10.0.0.1") for _ in range(8)] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_network_is_counted_as_one_client() -> None:
    assert network_of("2001:db8:1:2:aaaa::1") == network_of("2001:db8:1:2::2") != network_of("2001:db8:1:3::2")
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("nonsense") == "nonsense"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_a_bucket_never_gives_more_than_burst_and_rate(pauses: list[float]) -> None:
    clock = HandClock()
    rates, began_ns, passed = Rates(clock, per_client=(5, 10), everybody=(1_000, 1_000)), clock(), 0
    for pause in pauses:
        clock.move_s(pause)
        passed += rates.take("one") == 0
        assert passed <= 10 + 5 * (clock() - began_ns) / SECOND_NS + 1e-6


def test_rates_hold_one_client_and_everybody_and_keep_bounded_memory() -> None:
    clock = HandClock()
    rates = Rates(clock, per_client=(1 / 60, 2), everybody=(10, 5))
    assert [rates.take("one") for _ in range(3)] == [0, 0, 60]
    assert [rates.take(f"{number}") for number in range(4)] == [0, 0, 0, 1]
    assert rates.take("urgent", is_urgent=True) == 0, "what is urgent does not wait for the others"
    for number in range(slow.CLIENTS_MAX + 100):
        rates.take(f"client {number}")
    assert rates.clients == slow.CLIENTS_MAX
    assert rates.refused > 0


class Generations(dict[str, int]):
    """Whose session counts."""


def sessions_of(clock: HandClock, **generations: int) -> tuple[Sessions, Generations]:
    known = Generations(generations)
    return Sessions(clock, SessionTimes(600, 3_600), known.get), known


def opened(sessions: Sessions, user: str = "anna") -> tuple[str, kept.Session]:
    found = sessions.open(user, address="10.0.0.1", agent="test")
    assert found is not None
    return found


def test_a_session_ends_when_idle_and_after_its_whole_time() -> None:
    clock = HandClock()
    sessions, _ = sessions_of(clock, anna=1)
    token, _ = opened(sessions)
    for _ in range(6):
        clock.move_s(599)
        assert sessions.find(token) is not None, "used, it goes on"
    clock.move_s(10)
    assert sessions.find(token) is None, "an hour is an hour"
    token, session = opened(sessions)
    clock.move_s(599)
    assert sessions.counts(session.number) and sessions.expires_at_ns(session) - clock() == SECOND_NS
    clock.move_s(1)
    assert not sessions.counts(session.number) and sessions.find(token) is None and len(sessions) == 0


def test_a_session_ends_with_its_users_generation_and_by_its_number() -> None:
    sessions, known = sessions_of(HandClock(), anna=1, berta=1)
    first, second, other = opened(sessions)[0], opened(sessions), opened(sessions, "berta")[0]
    assert sessions.close(second[1].number) and not sessions.close(second[1].number)
    assert sessions.find(second[0]) is None and sessions.find(first) is not None
    known["anna"] = 2
    assert sessions.find(first) is None and sessions.find(other) is not None
    del known["berta"]
    assert sessions.of() == [] and sessions.find(other) is None


def test_sessions_are_bounded_by_user_and_in_all() -> None:
    clock = HandClock()
    sessions, known = sessions_of(clock, anna=1)
    tokens = []
    for _ in range(kept.SESSIONS_PER_USER_MAX + 2):
        tokens.append(opened(sessions)[0])
        clock.move_s(1)
    assert [sessions.find(token) is None for token in tokens].count(True) == 2
    assert sessions.find(tokens[-1]) is not None and sessions.find(tokens[0]) is None
    for number in range(kept.SESSIONS_MAX):
        known[f"u{number}"] = 1
        sessions.open(f"u{number}", address="10.0.0.1", agent="")
    assert len(sessions) == kept.SESSIONS_MAX and sessions.open("anna", address="", agent="") is not None
    assert len(sessions) == kept.SESSIONS_MAX and sessions.open("u1", address="", agent="") is None


def test_no_token_of_a_session_is_kept_or_shown() -> None:
    sessions, _ = sessions_of(HandClock(), anna=1)
    token, session = opened(sessions)
    assert len(token) >= 43 and token not in repr(vars(sessions)) and session.csrf_token not in repr(session)


def test_a_token_says_its_key_and_ends() -> None:
    clock = HandClock()
    tokens = Tokens(TOKEN_KEY, clock, seconds_max=300)
    text, claims = tokens.make("0123456789abcdef", scopes=("read",))
    assert tokens.read(text) == claims and claims.scopes == ("read",)
    assert jwt.get_unverified_header(text)["alg"] == "HS256"
    assert tokens.make("0123456789abcdef")[1].number != claims.number
    clock.move_s(299)
    assert tokens.read(text) == claims
    clock.move_s(1)
    assert tokens.read(text) is None
    assert "***" in repr(tokens)


@pytest.mark.parametrize("text", ["", "a.b.c", "x" * 3_000, "eyJhbGciOiJub25lIn0.e30.", "é"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert Tokens(TOKEN_KEY, HandClock(), seconds_max=300).read(text) is None


@pytest.mark.parametrize(
    "change", [{"sub": 5}, {"aud": ["arbitrage"]}, {"exp": "soon"}, {"exp": 1e30}, {"scopes": "read"}, {"jti": None}]
)
def test_a_token_of_another_shape_is_none_even_when_it_is_signed(change: dict[str, Any]) -> None:
    clock = HandClock()
    now_s = clock() // SECOND_NS
    body = {"aud": "arbitrage", "sub": "0" * 16, "jti": "1", "iat": now_s, "exp": now_s + 60}
    assert Tokens(TOKEN_KEY, clock, seconds_max=300).read(jwt.encode(body, TOKEN_KEY, "HS256")) is not None
    assert Tokens(TOKEN_KEY, clock, seconds_max=300).read(jwt.encode({**body, **change}, TOKEN_KEY, "HS256")) is None


def test_the_key_of_tokens_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    key = token_key(tmp_path)
    assert len(key) == 32 and token_key(tmp_path) == key
    path = tmp_path / "web" / "token-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="0644"):
        token_key(tmp_path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(ConfigError, match="no key for tokens"):
        token_key(tmp_path)


def seen(peer: str, *forwarded: str, proto: str = "", host: str = "127.0.0.1:8320") -> Origin:
    raw = [(b"host", host.encode()), *((b"x-forwarded-for", line.encode()) for line in forwarded)]
    raw += [(b"x-forwarded-proto", proto.encode())] if proto else []
    return origin_of({"client": (peer, 1), "scheme": "http"}, Headers(raw=raw), networks_of(("10.0.0.0/8",)))


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        (seen("203.0.113.7", "10.1.1.1"), "203.0.113.7"),
        (seen("10.0.0.1"), "10.0.0.1"),
        (seen("10.0.0.1", "198.51.100.9"), "198.51.100.9"),
        (seen("10.0.0.1", "127.0.0.1, 198.51.100.9"), "198.51.100.9"),
        (seen("10.0.0.1", "127.0.0.1", "198.51.100.9, 10.0.0.2"), "198.51.100.9"),
        (seen("10.0.0.1", "nonsense"), "nonsense"),
        (seen("10.0.0.1", *["10.0.0.2"] * 50), "10.0.0.2"),
    ],
)
def test_only_a_trusted_proxy_tells_where_somebody_comes_from(origin: Origin, address: str) -> None:
    assert origin.address == address


def test_only_a_trusted_proxy_tells_the_scheme() -> None:
    assert seen("10.0.0.1", proto="https").scheme == "https"
    assert seen("203.0.113.7", proto="https").scheme == "http"
    assert seen("10.0.0.1", proto="javascript").scheme == "http"


@pytest.mark.parametrize(
    ("host", "name"), [("LocalHost:1", "localhost"), ("[::1]:8", "[::1]"), ("[::1]", "[::1]"), ("a.b", "a.b"), ("", "")]
)
def test_the_name_that_was_asked_for_is_without_its_port(host: str, name: str) -> None:
    assert seen("10.0.0.1", host=host).name == name


@pytest.mark.parametrize(
    ("headers", "is_it"),
    [
        ({}, False), ({"origin": "http://127.0.0.1:8320"}, False), ({"origin": "http://127.0.0.1:9"}, True),
        ({"origin": "null"}, True), ({"origin": "https://127.0.0.1:8320"}, True), ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "none"}, False),
    ],
)  # fmt: skip
def test_another_site_is_told_by_what_browsers_send(headers: dict[str, str], *, is_it: bool) -> None:
    assert is_foreign(seen("10.0.0.1"), Headers(headers)) is is_it


def test_addresses_and_roles_are_read_strictly() -> None:
    home = networks_of(("10.0.0.0/8", "::1"))
    assert [is_within(text, home) for text in ("10.1.1.1", "::ffff:10.1.1.1", "::1", "11.1.1.1", "nonsense", "")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="ten"):
        networks_of(("ten",))
    assert [role_of(word) for word in ("Admin", "ADMIN", "root", "")] == [None] * 4
    assert role_of("operator") is not None


def test_a_set_up_link_counts_once_and_for_an_hour() -> None:
    clock = HandClock()
    link = SetUpLink(clock)
    assert not link.fits("") and link.take("") is None
    token = link.make().partition("token=")[2]
    assert len(token) >= 43 and token not in repr(vars(link))
    assert link.fits(token) and not link.fits(token[:-1])
    give_back = link.take(token)
    assert give_back is not None and link.take(token) is None
    give_back()
    assert link.fits(token)
    clock.move_s(VALID_S)
    assert not link.fits(token)
    again = link.make().partition("token=")[2]
    link.end()
    assert not link.fits(again) and not link.is_open


def test_hashing_takes_a_while_and_that_is_the_point() -> None:
    began = time.perf_counter()
    Passwords().hash_now(PASSWORD)
    assert time.perf_counter() - began > 0.002
