"""Signing in and out, set-up, sessions, tokens, users and keys through the real application: answers, and what they leave."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from web_people import DAY_NS, HOME_ADDRESS, PASSWORD, Lab, Told, ask

from arbitrage.web.access.guard import SIGN_IN_PAGE
from arbitrage.web.access.sessions import COOKIE
from arbitrage.web.api import people_endpoints, signing_endpoints
from arbitrage.web.api.signing_endpoints import SENTENCES, local_path
from arbitrage.web.application import Application
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.problems import Problem

OTHER_PASSWORD = "another long password"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def app(lab: Lab) -> Application:
    return lab.application([*signing_endpoints.ENDPOINTS, *people_endpoints.ENDPOINTS])


def link_of(lab: Lab) -> str:
    """Run the reception until it has announced the set-up link; return its token."""

    async def announced() -> str:
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        running = asyncio.ensure_future(lab.reception.run(said.set_result))
        await asyncio.wait((said, running), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return said.result()

    return asyncio.run(announced()).partition("?token=")[2]


def founded(lab: Lab, app: Application) -> dict[str, str]:
    """Make the first admin, anna; return the headers of her browser."""
    told = ask(app, "POST", "/api/v1/setup", json={"token": link_of(lab), "name": "anna", "password": PASSWORD})
    assert told.status == 200, told.body
    return browser(told)


def browser(told: Told) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={told.cookie}", "x-csrf-token": told.json["csrf_token"]}


def sign_in(app: Application, name: str, password: str = PASSWORD, **more: Any) -> Told:
    return ask(app, "POST", "/api/v1/login", json={"name": name, "password": password}, **more)


def add(app: Application, admin: dict[str, str], name: str, role: str) -> Told:
    return ask(app, "POST", "/api/v1/users", admin, json={"name": name, "role": role, "password": PASSWORD})


def form(app: Application, path: str, headers: dict[str, str] | None = None, **fields: str) -> Told:
    return ask(app, "POST", path, {**FORM, **(headers or {})}, body=urlencode(fields).encode())


def goal(told: Told) -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(told.headers["location"])
    return parts.path, parse_qs(parts.query)


def test_a_new_house_takes_no_credential_at_all(lab: Lab, app: Application) -> None:
    lab.refresh()
    for name, password in (("admin", "admin"), ("admin", ""), ("admin", "password"), ("root", "root"), ("", "")):
        assert sign_in(app, name, password).status == 401
    assert lab.reception.people.list_users() == [] and len(lab.reception.sessions) == 0


def test_before_anything_is_known_of_users_nobody_is_turned_away_for_good(lab: Lab, app: Application) -> None:
    lab.store.is_away = True
    assert sign_in(app, "anna").status == 503
    assert sign_in(app, "anna").headers["retry-after"] == "5"


def test_the_link_makes_one_admin_who_is_signed_in(lab: Lab, app: Application) -> None:
    token = link_of(lab)
    wrong = ask(app, "POST", "/api/v1/setup", json={"token": token[:-1] + "~", "name": "anna", "password": PASSWORD})
    short = ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "anna", "password": "short"})
    assert (wrong.status, wrong.json["code"], short.status, short.json["code"]) == (403, "link_ended", 422, "not_possible")
    told = ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "anna", "password": PASSWORD})
    assert told.status == 200 and told.json["role"] == "admin"
    assert ask(app, "GET", "/api/v1/me", browser(told)).json["name"] == "anna"
    again = ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "berta", "password": PASSWORD})
    assert (again.status, again.json["code"]) == (403, "link_ended")
    assert [user.name for user in lab.reception.people.list_users()] == ["anna"]
    lines = [(line.actor, line.subject, line.status, line.after) for line in lab.lines]
    assert lines == [("anna", "anna", 200, {"role": "admin"})]


def test_a_link_that_found_the_database_away_still_counts(lab: Lab, app: Application) -> None:
    token = link_of(lab)
    lab.store.is_away = True
    assert ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "anna", "password": PASSWORD}).status == 503
    lab.store.is_away = False
    assert ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "anna", "password": PASSWORD}).status == 200


def test_without_a_list_of_addresses_only_loopback_makes_the_first_admin(lab: Lab) -> None:
    lab = Lab(allowed_addresses=())
    app = lab.application(signing_endpoints.ENDPOINTS)
    wish = {"token": link_of(lab), "name": "anna", "password": PASSWORD}
    away = ask(app, "POST", "/api/v1/setup", json=wish, address="203.0.113.7")
    assert (away.status, away.json["code"]) == (403, "address_not_allowed")
    assert ask(app, "POST", "/api/v1/setup", json=wish, address="::ffff:127.0.0.1").status == 200


def test_the_link_is_taken_back_once_there_is_an_admin(lab: Lab) -> None:
    said: list[str] = []

    async def live() -> None:
        running = asyncio.ensure_future(lab.reception.run(said.append))
        await lab.reception.people.known.wait()
        await lab.reception.changes.add_user("anna", "admin", PASSWORD)
        await lab.reception.refresh()
        await lab.reception.link.ended.wait()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(live())
    assert len(said) == 2 and said[0].startswith("/setup?token=") and said[1] == ""


def test_two_who_use_the_link_at_once_do_not_both_become_admin(lab: Lab, app: Application) -> None:
    token = link_of(lab)

    async def both() -> list[Any]:
        tries = (lab.reception.set_up(token, name, PASSWORD, address="10.0.0.1", agent="") for name in ("anna", "berta"))
        return await asyncio.gather(*tries)

    answers = asyncio.run(both())
    assert [isinstance(answer, Problem) for answer in answers].count(False) == 1
    assert len(lab.store.users) == 1


def test_no_link_is_made_where_there_is_an_admin_and_an_open_one_ends_with_her(lab: Lab, app: Application) -> None:
    token = link_of(lab)
    asyncio.run(lab.reception.changes.add_user("anna", "admin", PASSWORD))
    lab.refresh()
    assert not lab.reception.link.is_open
    assert ask(app, "POST", "/api/v1/setup", json={"token": token, "name": "berta", "password": PASSWORD}).status == 403


def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(lab: Lab, app: Application) -> None:
    founded(lab, app)
    words = sign_in(app, "anna").headers["set-cookie"].split("; ")
    assert words[0].startswith("__Host-arbitrage=")
    assert {word.lower() for word in words[1:]} == {"httponly", "max-age=43200", "path=/", "samesite=strict", "secure"}


def test_signing_in_tells_nothing_about_names_and_writes_no_unknown_one_down(lab: Lab, app: Application) -> None:
    founded(lab, app)
    wrong, unknown = sign_in(app, "anna", "wrong password"), sign_in(app, "my secret password")
    assert (wrong.status, wrong.json["detail"]) == (unknown.status, unknown.json["detail"])
    assert [(line.actor, line.status) for line in lab.lines[-2:]] == [("anna", 401), ("unknown", 401)]
    assert "secret" not in repr(lab.lines)


def test_guessing_is_slowed_down_and_not_written_down(lab: Lab, app: Application) -> None:
    founded(lab, app)
    before = len(lab.lines)
    tries = [sign_in(app, "anna", f"wrong password {number}") for number in range(8)]
    assert [told.status for told in tries] == [401] * 5 + [429] * 3
    assert tries[-1].headers["retry-after"] == "1" and len(lab.lines) == before + 5
    assert sign_in(app, "anna").status == 429, "the right one waits, too"
    assert (lab.reception.access().sign_ins_held, lab.reception.access().sign_ins_hurried) == (4, 0)
    lab.clock.move_s(1)
    assert sign_in(app, "anna").status == 200
    assert sign_in(app, "anna", "wrong password").status == 401, "and then all is as before"


def test_many_tries_a_minute_wait_even_when_they_are_right(app: Application) -> None:
    lab = Lab(logins_per_minute_max=3)
    app = lab.application(signing_endpoints.ENDPOINTS)
    founded(lab, app)
    lab.clock.move_s(600)
    assert [sign_in(app, "anna").status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert (lab.reception.access().sign_ins_held, lab.reception.access().sign_ins_hurried) == (0, 2)
    assert sign_in(app, "anna", address="10.7.7.7").status == 200


def test_signing_out_ends_the_session_and_takes_the_cookie(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    told = ask(app, "POST", "/api/v1/logout", admin)
    assert told.status == 200 and "max-age=0" in told.headers["set-cookie"].lower()
    assert ask(app, "GET", "/api/v1/me", admin).status == 401


def test_forms_sign_in_set_up_and_out_and_go_on_within_the_house(lab: Lab, app: Application) -> None:
    token = link_of(lab)
    differing = form(app, "/setup", token=token, name="anna", password=PASSWORD, password_again="x")
    assert goal(differing)[1]["error"] == ["passwords_differ"]
    wrong = goal(form(app, "/setup", token=token, name="anna", password="x"))
    assert wrong == ("/setup", {"token": [token], "error": ["not_possible"]})
    made = form(app, "/setup", token=token, name="anna", password=PASSWORD, password_again=PASSWORD)
    assert (made.status, goal(made)[0]) == (303, "/") and made.cookie
    failed = form(app, SIGN_IN_PAGE, name="anna", password="x", next="/orders")
    assert goal(failed) == ("/login", {"error": ["wrong_password"], "next": ["/orders"]}) and not failed.cookie
    done = form(app, SIGN_IN_PAGE, name="anna", password=PASSWORD, next="/orders?page=2")
    assert done.headers["location"] == "/orders?page=2"
    assert form(app, SIGN_IN_PAGE, name="anna", password=PASSWORD, next="//evil.example").headers["location"] == "/"
    cookie = {"cookie": f"{COOKIE}={done.cookie}"}
    csrf = ask(app, "GET", "/api/v1/me", cookie).json["csrf_token"]
    refused = form(app, "/logout", cookie)
    assert (refused.status, refused.headers["content-type"]) == (403, "text/plain; charset=utf-8"), "a form without its token"
    assert b"Nothing was done" in refused.body
    assert form(app, "/logout", cookie, csrf_token="wrong").status == 403
    assert ask(app, "POST", "/logout", {**FORM, **cookie}, body=f"csrf_token={csrf}&csrf_token={csrf}".encode()).status == 403
    assert ask(app, "GET", "/api/v1/me", cookie).status == 200
    out = form(app, "/logout", cookie, csrf_token=csrf)
    assert goal(out) == ("/login", {"error": ["signed_out"]}) and ask(app, "GET", "/api/v1/me", cookie).status == 401
    assert form(app, "/logout").status == 303, "who is signed out already is just sent on"


def test_a_form_of_another_site_signs_nobody_in(lab: Lab, app: Application) -> None:
    founded(lab, app)
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        told = form(app, SIGN_IN_PAGE, headers, name="anna", password=PASSWORD)
        assert told.status == 403 and b"another site" in told.body


@pytest.mark.parametrize("text", ["", "//a", "/\\a", "https://a", "/a\\b", "/a\nb", "javascript:1", "/" + "a" * 600])
def test_nobody_is_sent_to_another_host(text: str) -> None:
    assert local_path(text) == "/"
    assert local_path("/orders/1?x=2") == "/orders/1?x=2"


def test_every_code_of_a_form_has_its_sentence(lab: Lab, app: Application) -> None:
    codes = {"wrong_password", "too_many_tries", "too_many_sessions", "people_away", "link_ended", "not_possible"}
    assert codes | {"address_not_allowed"} <= SENTENCES.keys()


def test_a_changed_role_or_password_or_standing_signs_out_at_once(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    assert add(app, admin, "berta", "viewer").status == 200
    for change, status in (({"role": "operator"}, 200), ({"password": OTHER_PASSWORD}, 401), ({"is_disabled": True}, 401)):
        theirs = browser(sign_in(app, "berta", PASSWORD if change != {"is_disabled": True} else OTHER_PASSWORD))
        assert ask(app, "GET", "/api/v1/me", theirs).status == 200
        assert ask(app, "PUT", "/api/v1/users/berta", admin, json=change).status == 200
        assert ask(app, "GET", "/api/v1/me", theirs).status == 401
        assert sign_in(app, "berta").status == status
        lab.clock.move_s(3_600)
        admin = browser(sign_in(app, "anna"))
    assert sign_in(app, "berta", OTHER_PASSWORD).status == 401, "disabled"
    changes = [(line.subject, line.before, line.after) for line in lab.lines if line.action == "PUT /api/v1/users/{name}"]
    assert changes[0] == ("berta", {"role": "viewer", "is_disabled": False}, {"role": "operator"})
    assert changes[1][2] == {"password": "changed"}
    assert PASSWORD not in repr(lab.lines) and OTHER_PASSWORD not in repr(lab.lines)


def test_the_last_admin_stays_and_what_is_not_there_is_not_changed(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    for change in ({"role": "viewer"}, {"is_disabled": True}):
        told = ask(app, "PUT", "/api/v1/users/anna", admin, json=change)
        assert (told.status, told.json["code"]) == (422, "not_possible")
    assert ask(app, "PUT", "/api/v1/users/nobody", admin, json={"role": "viewer"}).status == 404
    assert ask(app, "PUT", "/api/v1/users/anna", admin, json={"role": "root"}).status == 422
    assert add(app, admin, "Anna!", "viewer").status == add(app, admin, "anna", "viewer").status == 422
    users = ask(app, "GET", "/api/v1/users", admin)
    assert [(user["name"], user["role"], user["sessions"]) for user in users.json["users"]] == [("anna", "admin", 1)]
    assert "argon2" not in users.body.decode()


def test_with_the_database_away_nothing_is_changed_and_who_is_known_still_comes_in(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    lab.store.is_away = True
    assert add(app, admin, "berta", "viewer").status == 503
    assert ask(app, "PUT", "/api/v1/users/anna", admin, json={"password": OTHER_PASSWORD}).status == 503
    assert ask(app, "POST", "/api/v1/keys", admin, json={"role": "viewer", "scopes": ["read"]}).status == 503
    assert ask(app, "DELETE", "/api/v1/keys/0", admin).status == 503
    assert sign_in(app, "anna").status == 200


def test_a_key_is_shown_once_and_ends_with_its_revocation(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    wish = {"role": "operator", "scopes": ["read", "trade"], "label": "bot", "days": 30}
    told = ask(app, "POST", "/api/v1/keys", admin, json=wish)
    text, entry = told.json["text"], told.json["key"]
    assert told.status == 200 and entry["owner"] == "anna" and text.startswith(f"ak_{entry['key']}_")
    bot = {"authorization": f"Bearer {text}"}
    assert ask(app, "GET", "/api/v1/me", bot).json == {
        "name": f"anna/{entry['key']}", "role": "operator", "how": "key", "scopes": ["read", "trade"],
        "expires_at": entry["expires_at"], "csrf_token": "",
    }  # fmt: skip
    listed = ask(app, "GET", "/api/v1/keys", admin)
    assert text not in listed.body.decode() and listed.json["keys"][0]["last_used_at"] != ""
    token = ask(app, "POST", "/api/v1/tokens", bot, json={"scopes": ["read"], "seconds": 60}).json
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 60)
    short = {"authorization": f"Bearer {token['access_token']}"}
    assert ask(app, "GET", "/api/v1/me", short).json["how"] == "token"
    assert ask(app, "POST", "/api/v1/tokens", short, json={}).status == 403, "a token makes no token"
    assert ask(app, "POST", "/api/v1/tokens", admin, json={}).status == 403
    assert ask(app, "POST", "/api/v1/tokens", bot, json={"scopes": ["people"]}).status == 422
    assert ask(app, "POST", "/api/v1/tokens", bot, json={"seconds": 80_000}).status == 422
    change = {"password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert ask(app, "POST", "/api/v1/me/password", bot, json=change).status == 403
    assert ask(app, "DELETE", f"/api/v1/keys/{entry['key']}", admin).status == 200
    assert ask(app, "GET", "/api/v1/me", bot).status == ask(app, "GET", "/api/v1/me", short).status == 401
    assert ask(app, "DELETE", "/api/v1/keys/0123456789abcdef", admin).status == 422
    assert text not in repr(lab.lines) and text.rpartition("_")[2] not in repr(lab.store.keys[entry["key"]])


@pytest.mark.parametrize(
    "wish",
    [
        {"role": "viewer", "scopes": []}, {"role": "viewer", "scopes": ["all"]}, {"role": "root", "scopes": ["read"]},
        {"role": "viewer", "scopes": ["read"], "addresses": ["ten"]}, {"role": "viewer", "scopes": ["read"], "owner": "nobody"},
        {"role": "viewer", "scopes": ["read"], "label": "a\nb"},
        {"role": "viewer", "scopes": ["read"], "addresses": ["::1"] * 40},
    ],
)  # fmt: skip
def test_a_key_that_breaks_a_rule_is_not_made(lab: Lab, app: Application, wish: dict[str, Any]) -> None:
    admin = founded(lab, app)
    assert ask(app, "POST", "/api/v1/keys", admin, json=wish).status == 422
    assert ask(app, "POST", "/api/v1/keys", admin, json={"role": "viewer", "scopes": ["read"], "days": 9_999}).status == 400
    assert lab.store.keys == {}


def test_when_a_key_was_used_is_written_at_times(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    made = ask(app, "POST", "/api/v1/keys", admin, json={"role": "viewer", "scopes": ["read"]}).json
    ask(app, "GET", "/api/v1/me", {"authorization": f"Bearer {made['text']}"})
    asyncio.run(lab.reception.close())
    assert lab.store.used == {made["key"]["key"]: lab.clock()}


def test_a_password_is_changed_by_who_knows_it(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    other = browser(sign_in(app, "anna"))
    change = {"password": "wrong password", "new_password": OTHER_PASSWORD}
    assert ask(app, "POST", "/api/v1/me/password", admin, json=change).status == 403
    short = ask(app, "POST", "/api/v1/me/password", admin, json={"password": PASSWORD, "new_password": "short"})
    assert short.status == 422 and len(lab.reception.sessions) == 2
    told = ask(app, "POST", "/api/v1/me/password", admin, json={"password": PASSWORD, "new_password": OTHER_PASSWORD})
    assert told.status == 200 and ask(app, "GET", "/api/v1/me", browser(told)).status == 200
    assert ask(app, "GET", "/api/v1/me", admin).status == ask(app, "GET", "/api/v1/me", other).status == 401
    assert sign_in(app, "anna", OTHER_PASSWORD).status == 200


def test_sessions_are_listed_and_ended_by_their_owner_or_an_admin(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    add(app, admin, "berta", "viewer")
    first, second = browser(sign_in(app, "berta")), browser(sign_in(app, "berta"))
    own = ask(app, "GET", "/api/v1/sessions", first).json["sessions"]
    assert [(entry["user"], entry["address"]) for entry in own] == [("berta", HOME_ADDRESS)] * 2
    assert [entry["is_own"] for entry in own].count(True) == 1
    assert ask(app, "GET", "/api/v1/sessions?everybody=true", first).status == 403
    everybody = ask(app, "GET", "/api/v1/sessions?everybody=true", admin).json["sessions"]
    annas = next(entry["session"] for entry in everybody if entry["user"] == "anna")
    assert len(everybody) == 3 and ask(app, "DELETE", f"/api/v1/sessions/{annas}", first).status == 404
    other = next(entry["session"] for entry in own if not entry["is_own"])
    assert ask(app, "DELETE", f"/api/v1/sessions/{other}", first).status == 200
    assert ask(app, "GET", "/api/v1/me", second).status == 401
    mine = next(entry["session"] for entry in own if entry["is_own"])
    assert ask(app, "DELETE", f"/api/v1/sessions/{mine}", admin).status == 200
    assert ask(app, "GET", "/api/v1/me", first).status == 401


def test_too_many_requests_wait_but_a_kill_does_not_wait_for_others(lab: Lab) -> None:
    slow = Lab(client_requests_per_s_max=2)
    slow.populate()
    app = slow.application(signing_endpoints.ENDPOINTS)
    answers = [ask(app, "GET", "/api/v1/me", slow.sign_in("admin") | {"x": "y"}) for _ in range(4)]
    assert [told.status for told in answers] == [200] * 4, "each browser for itself"
    same = slow.sign_in("admin")
    assert [ask(app, "GET", "/api/v1/me", same).status for _ in range(6)] == [200] * 4 + [429] * 2
    told = ask(app, "GET", "/api/v1/me", same)
    assert told.headers["retry-after"] == "1" and slow.reception.guard.refused["too_many_requests"] == 3
    seen = slow.reception.access()
    assert (seen.sessions, seen.requests_hurried, seen.refused["not_signed_in"], seen.sign_ins_held) == (5, 3, 0, 0)


def test_streams_can_ask_whether_their_caller_still_counts(lab: Lab, app: Application) -> None:
    admin = founded(lab, app)
    guard, numbers = lab.reception.guard, lab.reception.sessions.of("anna")
    browser_of_anna = Caller("anna", Role.ADMIN, How.SESSION, HOME_ADDRESS, numbers[0].number)
    key = lab.key("anna", Role.VIEWER)
    bot = Caller("anna/k", Role.VIEWER, How.KEY, HOME_ADDRESS, key[3:19])
    assert guard.still_counts(browser_of_anna) and guard.still_counts(bot)
    assert guard.still_counts(Caller("", None, How.NOBODY, HOME_ADDRESS))
    ask(app, "POST", "/api/v1/logout", admin)
    lab.clock.now_ns += 2 * DAY_NS
    assert not guard.still_counts(browser_of_anna) and not guard.still_counts(bot)
