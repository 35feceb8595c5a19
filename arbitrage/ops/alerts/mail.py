"""E-mail over SMTP: one message, in a thread of its own that a time limit ends. Keeps no connection and shows no password."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import format_datetime

import msgspec

from arbitrage.ops.alerts.channel import ChannelFault
from arbitrage.ops.alerts.wording import Message, utc

TEXT_LENGTH_MAX = 20_000


class Post(msgspec.Struct, frozen=True):
    """A mail server and who writes to whom."""

    host: str
    port: int
    security: str
    user: str
    password: str
    sender: str
    recipients: tuple[str, ...]
    timeout_s: float

    def __repr__(self) -> str:
        return f"Post({self.host}:{self.port})"


class _PlainLine(smtplib.SMTP):
    """A line that tells of itself before it connects."""

    def __init__(self, note: Callable[[smtplib.SMTP], None], host: str, port: int, *, timeout: float) -> None:
        note(self)
        super().__init__(host, port, timeout=timeout)


class _SecretLine(smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""

    def __init__(
        self, note: Callable[[smtplib.SMTP], None], host: str, port: int, *, timeout: float, context: ssl.SSLContext
    ) -> None:
        note(self)
        super().__init__(host, port, timeout=timeout, context=context)


class Mail:
    """One mailbox, or several, told at once."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._thread: threading.Thread | None = None
        self._line: smtplib.SMTP | None = None

    async def send(self, message: Message) -> str:
        """Send one mail within the time limit, whatever the server does. Raises ChannelFault."""
        if self._thread is not None and self._thread.is_alive():
            raise ChannelFault("the mail before has not ended")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()

        def tell(words: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile: nobody asks any more
                loop.call_soon_threadsafe(_settle, done, words)

        mail = mail_of(message, self._post)
        self._thread = threading.Thread(target=lambda: tell(self._deliver(mail)), name="alert mail", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._post.timeout_s):
                fault = await done
        except TimeoutError:
            fault = "no answer in time"
        finally:
            self._hang_up()
        if fault:
            raise ChannelFault(fault)
        return f"taken for {len(self._post.recipients)}"

    async def close(self) -> None:
        """Cut what is under way."""
        self._hang_up()

    def _deliver(self, mail: EmailMessage) -> str:
        """Talk to the server, in the thread; return what went wrong, in words without what was said to it."""
        post = self._post
        try:
            context = ssl.create_default_context()
            with self._open(context) as line:
                if post.security == "starttls":
                    line.starttls(context=context)
                if post.user:
                    line.login(post.user, post.password)
                refused = line.send_message(mail)
        except smtplib.SMTPAuthenticationError:
            return "the password is not taken"
        except smtplib.SMTPResponseException as error:
            return f"refused with status {error.smtp_code}"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return f"not reached ({type(error).__name__})"
        return f"{len(refused)} recipients were refused" if refused else ""

    def _open(self, context: ssl.SSLContext) -> smtplib.SMTP:
        """Connect and be greeted; the line is known from its first byte on, so that a server that only drips is hung up on."""
        post = self._post
        if post.security == "tls":
            return _SecretLine(self._note, post.host, post.port, timeout=post.timeout_s, context=context)
        return _PlainLine(self._note, post.host, post.port, timeout=post.timeout_s)

    def _note(self, line: smtplib.SMTP) -> None:
        self._line = line

    def _hang_up(self) -> None:
        """Shut the socket: a thread that waits on it ends, however slowly the server talks."""
        line, self._line = self._line, None
        held = getattr(line, "sock", None)
        if isinstance(held, socket.socket):
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)


def mail_of(message: Message, post: Post) -> EmailMessage:
    """Lay a message out as a mail; a line break in a header has no way in."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.headline.split())[:200]
    mail["From"] = post.sender
    mail["To"] = ", ".join(post.recipients)
    mail["Date"] = format_datetime(utc(message.at_ns))
    mail["Message-ID"] = f"<{message.id}@{message.house.session}.arbitrage>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text(TEXT_LENGTH_MAX))
    return mail


def _settle(done: asyncio.Future[str], words: str) -> None:
    if not done.done():
        done.set_result(words)
