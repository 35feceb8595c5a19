"""How Upbit says no: a status, a name and words, as JSON or as plain text (reference sheet, section 9). Decides nothing.

Names are those of docs 1.6.4. Upbit documents no name for an identifier that is spent; `duplicated_identifier` is a guess, so
a client must not depend on it.
"""

from __future__ import annotations

import json

from arbitrage.sim.server.http import Response

Headers = tuple[tuple[str, str], ...]
_MESSAGES = {
    "create_bid_error": "주문 요청 정보가 올바르지 않습니다.",
    "create_ask_error": "주문 요청 정보가 올바르지 않습니다.",
    "insufficient_funds_bid": "주문가능한 금액이 부족합니다.",
    "insufficient_funds_ask": "주문가능한 금액이 부족합니다.",
    "under_min_total_bid": "최소주문금액 이상으로 주문해주세요.",
    "under_min_total_ask": "최소주문금액 이상으로 주문해주세요.",
    "under_min_total_market_bid": "최소주문금액 이상으로 주문해주세요.",
    "under_min_total_market_ask": "최소주문금액 이상으로 주문해주세요.",
    "invalid_price_bid": "주문가격 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "invalid_price_ask": "주문가격 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
    "invalid_parameter": "잘못된 파라미터입니다.",
    "validation_error": "잘못된 API 요청입니다. 누락된 파라미터가 없는지 확인해주세요.",
    "market_offline": "현재 거래가 일시 중지된 마켓입니다.",
    "duplicated_identifier": "이미 사용된 identifier입니다.",
    "order_not_found": "주문을 찾지 못했습니다.",
    "withdraw_not_found": "출금 정보를 찾지 못했습니다.",
    "invalid_query_payload": "Jwt의 query를 검증하는데 실패하였습니다.",
    "jwt_verification": "Jwt 토큰 검증에 실패했습니다.",
    "nonce_used": "이미 사용된 nonce입니다.",
    "expired_access_key": "만료된 API 키입니다.",
    "invalid_access_key": "잘못된 엑세스 키입니다.",
    "no_authorization_ip": "This is not a verified IP.",
    "no_authorization_token": "인증 토큰이 필요합니다.",
    "out_of_scope": "권한이 부족합니다.",
}
_STATUSES = {"order_not_found": 404, "withdraw_not_found": 404} | dict.fromkeys(
    (
        "invalid_query_payload", "jwt_verification", "nonce_used", "expired_access_key", "invalid_access_key",
        "no_authorization_ip", "no_authorization_token", "out_of_scope",
    ),
    401,
)  # fmt: skip


class UpbitRefusal(Exception):
    """A request that the venue refuses. `name` is one of the sheet's; every other one is answered with 400."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.status = _STATUSES.get(name, 400)
        self.message = detail or _MESSAGES.get(name, name)

    def response(self, headers: Headers = ()) -> Response:
        """Write the answer."""
        return Response(self.status, encode({"error": {"name": self.name, "message": self.message}}), headers)


def stricken(status: int, body: str, *, is_html: bool) -> Response:
    """Answer as a fault says: its own body, or what the gateway in front of the venue says for the status."""
    if is_html:
        return Response(status, f"<html><body><h1>{status}</h1></body></html>".encode(), content_type="text/html")
    if body:
        kind = "application/json;charset=UTF-8" if body.startswith("{") else "text/plain;charset=UTF-8"
        return Response(status, body.encode(), content_type=kind)
    if status in (418, 429):
        return plain(status, "Too many API requests.")
    if status >= 500:
        return plain(status, "upstream connect error or disconnect/reset before headers")
    name = {401: "jwt_verification", 403: "out_of_scope", 404: "order_not_found"}.get(status, "invalid_parameter")
    return Response(status, encode({"error": {"name": name, "message": _MESSAGES[name]}}))


def plain(status: int, words: str) -> Response:
    """Answer in plain text, as the gateway in front of the venue does."""
    return Response(status, words.encode(), content_type="text/plain;charset=UTF-8")


def encode(body: object) -> bytes:
    """Write JSON without spaces."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
