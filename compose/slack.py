"""A stand-in for Slack: takes what is posted to a webhook, and shows it.

    POST   /services/…   a message, as Slack's incoming webhooks take it
    GET    /             the messages on a page, newest first
    GET    /messages     the messages as JSON, oldest first: [{"at": …, "message": {"text": …, "blocks": …}}]
    DELETE /messages     forgets them
    GET    /health       200

Whoever can reach it can post. It takes what Slack takes: JSON with a text, and blocks within Slack's limits.
"""

import json
import re
import signal
import sys
from collections import deque
from datetime import datetime, timezone
from html import escape, unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
# The newest; older ones are forgotten.
messages = deque(maxlen=1000)

EMOJI = {":rotating_light:": "🚨", ":warning:": "⚠️", ":information_source:": "ℹ️"}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<title>Slack stand-in</title>
<style>
  body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1d1c1d; }}
  article {{ border: 1px solid #ddd; border-left: 4px solid #b3261e; border-radius: 6px; padding: .6rem 1rem; margin: 1rem 0; }}
  h2 {{ font-size: 1.05rem; margin: .2rem 0; }}
  .fields {{ display: grid; grid-template-columns: 1fr 1fr; gap: .5rem 1rem; }}
  .context, time {{ color: #616061; font-size: .85rem; }}
</style>
<h1>#security-alerts</h1>
<p>{count}. The same <a href="/messages">as JSON</a>.</p>
{articles}
</html>
"""


def mrkdwn(text):
    """Slack's markup as HTML: bold, links and line breaks. Slack escapes like HTML does, so that is undone first."""
    html = re.sub(r"<(https?://[^|>]+)\|([^>]+)>", "\0\\1\1\\2\2", text)
    html = escape(unescape(html)).replace("\n", "<br>")
    html = re.sub("\0(.*?)\1(.*?)\2", r'<a href="\1">\2</a>', html)
    return re.sub(r"\*([^*<>]+)\*", r"<b>\1</b>", html)


def render(block):
    """A block as HTML; of those there are, the ones that trailkeeper uses."""
    match block:
        case {"type": "header", "text": {"text": text}}:
            for code, emoji in EMOJI.items():
                text = text.replace(code, emoji)
            return f"<h2>{escape(text)}</h2>"
        case {"type": "section", "fields": fields}:
            cells = "".join(f"<div>{mrkdwn(field['text'])}</div>" for field in fields)
            return f'<div class="fields">{cells}</div>'
        case {"type": "section", "text": {"text": text}}:
            return f"<p>{mrkdwn(text)}</p>"
        case {"type": "context", "elements": elements}:
            return "".join(f'<p class="context">{mrkdwn(element["text"])}</p>' for element in elements)
        case _:
            return f"<pre>{escape(json.dumps(block))}</pre>"


def page():
    articles = []
    for entry in reversed(list(messages)):
        message = entry["message"]
        # Without blocks Slack shows the text; with them, only in notifications.
        body = "".join(map(render, message.get("blocks", []))) or f"<p>{mrkdwn(message['text'])}</p>"
        articles.append(f"<article><time>{entry['at']}</time>{body}</article>")
    count = f"{len(articles)} message{'' if len(articles) == 1 else 's'}"
    return PAGE.format(count=count, articles="\n".join(articles))


def refusal(message):
    """Why Slack would refuse this message, in its own word; None if it would not."""
    if not isinstance(message, dict) or not isinstance(message.get("text"), str) or not message["text"]:
        return "no_text"
    blocks = message.get("blocks", [])
    total = 0
    for block in blocks:
        text = len(block.get("text", {}).get("text", ""))
        fields = [len(field["text"]) for field in block.get("fields", [])]
        elements = [len(element["text"]) for element in block.get("elements", [])]
        longest = 150 if block["type"] == "header" else 3000
        if text > longest or len(fields) > 10 or max(fields, default=0) > 2000:
            return "invalid_blocks"
        if len(elements) > 10 or max(elements, default=0) > 3000:
            return "invalid_blocks"
        total += text + sum(fields) + sum(elements)
    if len(blocks) > 50:
        return "invalid_blocks"
    return "msg_blocks_too_long" if total > 13200 else None


class Slack(BaseHTTPRequestHandler):
    # Keeps connections open, as Slack does.
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, kind="text/plain"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            message = json.loads(body)
            refused = refusal(message)
        except (ValueError, TypeError, KeyError, AttributeError):
            refused = "invalid_payload"
        if refused:
            return self.answer(400, refused)
        messages.append({"at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "message": message})
        self.answer(200, "ok")

    def do_GET(self):
        match self.path:
            case "/":
                self.answer(200, page(), "text/html")
            case "/messages":
                self.answer(200, json.dumps(list(messages), indent=2), "application/json")
            case "/health":
                self.answer(200, "ok")
            case _:
                self.answer(404, "there are /, /messages and /health")

    def do_DELETE(self):
        messages.clear()
        self.answer(200, "ok")

    def log_request(self, code="-", size="-"):
        """Says nothing of health checks and of pages that refresh themselves."""
        if self.command != "GET":
            super().log_request(code, size)


# The first process of a container is deaf to signals that it does not ask for.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", PORT), Slack).serve_forever()
