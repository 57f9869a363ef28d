"""The console in a real browser: each page in both themes and with scripts off, by each role, with hostile text on it.

Usage: check.py SENDOFF AXE CHROMIUM [SCREENSHOTS]. A server of its own is started on loopback, in Relay Mode towards a host
whose replies try to break pages. Prints a line for each thing that holds, and ends with 1 where one does not.
"""

import asyncio
import json
import os
import pathlib
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from playwright.sync_api import sync_playwright

SENDOFF, AXE, CHROMIUM = sys.argv[1:4]
PICTURES = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
# What would change the title if it ran, in the forms that strangers can write.
EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
PASSWORD = "correct horse battery"
PAGES = [
    "/",
    "/queue",
    "/queue?q=domain:there.example",
    "/queue?q=nonsense(",
    "/finished",
    "/finished?q=outcome:failed",
    "/finished?q=nonsense(",
    "/sites",
    "/log",
    "/log?q=refused&since=2h",
    "/log?q=%22open",
    "/suppressions",
    "/answers",
    "/answers?text=421+4.7.28+unusual+rate&host=mx.google.com",
    "/tools",
    "/tools?domain=there.example",
    "/tools?server=localhost",
    "/tools?address=bob@there.example&probe=1",
    "/tools?text=550+no",
    "/webhooks",
    "/sources",
    "/help",
    "/help?q=dkim+key",
    "/help/configuration",
    "/reports",
    "/reports?range=year&by=domain&key=there.example",
    "/people",
    "/audit",
] + [path for path in os.environ.get("CONSOLE_PAGES", "").split() if path]

failures = []


def holds(what, is_so, why=""):
    print(("ok      " if is_so else "FAILED  ") + what + ("" if is_so else f": {why}"), flush=True)
    if not is_so:
        failures.append(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    """A relay that takes no mail for some, and answers everybody with markup."""

    def __init__(self):
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        serve = asyncio.start_server(self.talk, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(serve, self.loop).result(10)

    async def talk(self, reader, writer):
        def say(text):
            writer.write((text + "\r\n").encode())

        say(f"220 {EVIL} ESMTP")
        try:
            while line := (await reader.readline()).decode(errors="replace").strip():
                verb = line.split(" ")[0].upper()
                if verb == "EHLO":
                    say(f"250-{EVIL}\r\n250 SIZE 10000000")
                elif verb == "RCPT" and "refused" in line:
                    say(f"550 5.1.1 {EVIL}")
                elif verb == "RCPT" and "good" not in line:
                    say(f"451 4.7.1 {EVIL}\x1b[31m")
                elif verb == "DATA":
                    say("354 go on")
                    while (await reader.readline()).strip() != b".":
                        pass
                    say(f"250 2.0.0 {EVIL}")
                elif verb == "QUIT":
                    say("221 bye")
                    break
                else:
                    say("250 2.0.0 ok")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


class Server:
    def __init__(self, host):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sendoff-console-"))
        self.smtp, self.http = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.http}"
        self.config = self.dir / "sendoff.toml"
        self.config.write_text(
            f"""hostname = "mail.here.example"
data_dir = "{self.dir}/data"
[[listener]]
address = "127.0.0.1:{self.smtp}"
[outgoing]
mode = "relay"
refuse_networks = []
resend_wait = "10m"
relay.host = "127.0.0.1"
relay.port = {host.port}
relay.tls = "opportunistic"
[console]
address = "127.0.0.1:{self.http}"
[queue]
segment_size = "8MiB"
"""
        )
        log = open(self.dir / "output", "w")
        self.process = subprocess.Popen([SENDOFF, "serve", "--config", self.config], stdout=log, stderr=log)
        for _ in range(200):
            try:
                urllib.request.urlopen(self.base + "/readyz", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        sys.exit((self.dir / "output").read_text())

    def run(self, *args, text=None):
        command = [SENDOFF, "--config", self.config, *args]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    def send(self, count, to, subject):
        with smtplib.SMTP("127.0.0.1", self.smtp) as client:
            for n in range(count):
                mail = f"From: <a@here.example>\r\nTo: <{to}>\r\nSubject: {subject} {n}\r\n\r\nHello.\r\n"
                client.sendmail("a@here.example", [to.replace("#", str(n))], mail)

    def waiting(self, *args):
        listed = self.run("--json", "queue", "list", "--count", *(args or ["--all"]))
        return int(json.loads(listed))

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.dir)


def eventually(what, is_so):
    for _ in range(100):
        if is_so():
            return
        time.sleep(0.1)
    holds(what, False, "it never was so")


def log_in(context, base, name):
    page = context.new_page()
    page.goto(base + "/login")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(base + "/")
    return page


def each_page(browser, server, state):
    """Every page, in both themes and three widths, by the rules of WCAG and of the page's own policy."""
    axe = pathlib.Path(AXE).read_text()
    for theme in ("light", "dark"):
        for width in (1280, 800, 390):
            view = {"width": width, "height": 900}
            context = browser.new_context(storage_state=state, color_scheme=theme, viewport=view)
            judge = browser.new_context(
                storage_state=state, color_scheme=theme, viewport=view, bypass_csp=True
            )
            page, judged = context.new_page(), judge.new_page()
            said = []
            page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e: said.append(str(e)))
            for path in PAGES:
                answer = page.goto(server.base + path)
                page.wait_for_timeout(150)
                title = page.title()
                where = f"{path} {theme} {width}"
                holds(f"{where}: there, and nothing of others runs", answer.status == 200 and "broken" not in title, f"{answer.status} {title}")
                wide = page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
                holds(f"{where}: no wider than the window", not wide)
                if PICTURES and width != 800:
                    name = re.sub(r"\W+", "-", path).strip("-") or "overview"
                    page.screenshot(path=PICTURES / f"{name}-{theme}-{width}.png", full_page=True)
                if width == 800:
                    continue
                judged.goto(server.base + path)
                judged.evaluate(axe)
                found = judged.evaluate("axe.run().then((found) => found.violations)")
                bad = [
                    f"{v['id']} ({v['nodes'][0]['html'][:120]})"
                    for v in found
                    if v["impact"] in ("serious", "critical")
                ]
                holds(f"{where}: accessible", not bad, "; ".join(bad))
            holds(f"{theme} {width}: the policy was never broken, and no script failed", not said, str(said[:3]))
            context.close()
            judge.close()


def without_script(browser, server, state):
    context = browser.new_context(storage_state=state, java_script_enabled=False)
    page = context.new_page()
    for path in PAGES:
        page.goto(server.base + path)
        heading = page.locator("h1").first.inner_text()
        holds(f"{path}: read without script", heading != "" and page.locator("nav a").count() > 5)
    # And what a page does is done without script as well.
    server.send(3, "noscript#@there.example", "Without script")
    eventually("mail waits", lambda: server.waiting("--filter", "to:noscript") == 3)
    page.goto(server.base + "/queue?q=to:noscript")
    page.locator("tbody input[type=checkbox]").nth(0).check()
    page.locator("tbody input[type=checkbox]").nth(1).check()
    page.click("button[value=hold]")
    text = page.locator(".notice").inner_text()
    holds("two ticked rows are held without script", "2 changed" in text, text)
    holds("and no other", server.waiting("--filter", "to:noscript state:held") == 2)
    context.close()


def acting(browser, server, state):
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    server.send(60, "many#@many.example", "Many")
    eventually("mail waits", lambda: server.waiting("--filter", "domain:many.example") == 60)
    page.goto(server.base + "/queue?q=domain:many.example")
    page.locator("input[name=all]").check()
    page.click("button[value=remove]")
    asked = page.locator("h1").inner_text()
    holds("all of a filter are asked about, with their number", "60" in asked, asked)
    holds("nothing was done yet", server.waiting("--filter", "domain:many.example") == 60)
    server.send(5, "more#@many.example", "More")
    eventually("more waits", lambda: server.waiting("--filter", "domain:many.example") == 65)
    page.click("main form button")
    why = page.locator("[role=alert]").inner_text()
    holds("more than were shown are asked about again", "60" in why and "65" in why, why)
    holds("and nothing was done", server.waiting("--filter", "domain:many.example") == 65)
    page.click("main form button")
    text = page.locator(".notice").first.inner_text()
    held = server.waiting("--filter", "domain:many.example state:held")
    holds("then all are held, with an exact count", "65 recipients" in text and held == 65, f"{text} {held}")
    page.click("form[action='/queue/undo'] button")
    text = page.locator(".notice").first.inner_text()
    held = server.waiting("--filter", "domain:many.example state:held")
    all = server.waiting("--filter", "domain:many.example")
    holds("and undone, with an exact count", "65" in text and (held, all) == (0, 65), f"{text} {held} {all}")
    page.goto(server.base + "/audit")
    rows = [page.locator("tbody tr").nth(n).inner_text() for n in (0, 1)]
    told = "undo" in rows[0] and "remove" in rows[1] and "console=anna" in rows[1] and "65" in rows[1]
    holds("and both stand in the audit", told, str(rows))
    # A list does not move below the hand.
    server.send(20, "still#@still.example", "Still")
    eventually("mail waits", lambda: server.waiting("--filter", "domain:still.example") == 20)
    page.goto(server.base + "/queue?q=domain:still.example")
    page.locator("tbody input[type=checkbox]").nth(3).check()
    page.locator("tbody input[type=checkbox]").nth(3).focus()
    before = page.locator("tbody").inner_text().split()
    figure = page.locator("header [data-figure=waiting]")
    page.wait_for_timeout(1500)
    shown = figure.inner_text()
    server.send(200, "busy#@busy.example", "Busy")
    page.wait_for_function("(shown) => document.querySelector('header [data-figure=waiting]').textContent !== shown", arg=shown)
    is_ticked = page.locator("tbody input[type=checkbox]").nth(3).is_checked()
    is_focused = page.evaluate("document.activeElement.name === 'id'")
    after = page.locator("tbody").inner_text().split()
    holds("figures change while ticks, focus and rows stay", is_ticked and is_focused and before == after)
    holds("and the page says that there is news", page.locator("#changed").is_visible())
    context.close()


def finding(browser, server, state):
    """Lists, the log and the search line, all of it without script but the log that is followed."""
    context = browser.new_context(storage_state=state, java_script_enabled=False)
    page = context.new_page()
    page.goto(server.base + "/suppressions")
    page.fill(".card input[name=recipient]", "gone@there.example")
    page.fill(".card input[name=reason]", EVIL)
    page.click("button[value=add]")
    page.goto(server.base + "/suppressions?q=gone@there")
    holds("a recipient is suppressed", page.locator("tbody tr").count() == 1 and EVIL in page.locator("tbody").inner_text())
    page.fill("tbody input[name=reason]", "back again")
    page.click("tbody button[value=remove]")
    holds("and taken off the list", page.locator("tbody tr").count() == 0 and "accepted again" in page.locator(".notice").inner_text())
    page.goto(server.base + "/audit")
    row = page.locator("tbody tr").nth(0).inner_text()
    holds("for a reason that the audit has", "unsuppress" in row and "back again" in row, row)
    page.goto(server.base + "/finished?q=outcome:failed")
    links = page.locator("tbody td a")
    holds("what has failed is found", links.count() >= 2 and "refused" in page.locator("tbody").inner_text())
    id = links.first.get_attribute("href").rsplit("/", 1)[1]
    for words, end in (
        (id, f"/messages/{id}"),
        ("bob@there.example", "/queue?q=to%3Abob%40there.example"),
        ("there.example", "/queue?q=domain%3Athere.example"),
        ("dns.servers", "/help?q=dns.servers"),
    ):
        page.goto(server.base + "/")
        page.fill("#find", words)
        page.press("#find", "Enter")
        page.wait_for_load_state()
        holds(f"the search line leads from {words}", page.url == server.base + end, page.url)
    page.goto(server.base + f"/log?q=failed+{id}")
    link = page.locator("ol.log a").first.get_attribute("href")
    holds("a line of the log leads to its message", link == f"/messages/{id}", link)
    page.goto(server.base + "/tools?server=127.0.0.1:2525")
    why = page.locator("[role=alert]").inner_text()
    holds("this computer is not asked what it is", "only servers that the configuration names" in why, why)
    context.close()
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    # The place from which the log is followed is taken before the stream is answered.
    with page.expect_response(lambda response: "/log/tail" in response.url):
        page.goto(server.base + "/log?follow=1&q=followed")
    server.send(1, "followed#@there.example", "Followed")
    page.wait_for_selector("[data-tail] div")
    line = page.locator("[data-tail]").inner_text()
    holds("a line appears as it is written", "accepted" in line and "followed0@there.example" in line, line)
    context.close()


def roles(browser, server):
    """Each role and each thing that changes something."""
    acts = [
        ("/queue/act", {"verb": "hold", "all": "1", "expect": "999999", "q": "domain:none.example"}),
        ("/sites/act", {"verb": "pause", "domain": "paused.example"}),
        ("/sites/act", {"verb": "resume", "domain": "paused.example"}),
        ("/suppressions/act", {"verb": "add", "recipient": "off@there.example"}),
        ("/suppressions/act", {"verb": "remove", "recipient": "off@there.example"}),
        ("/webhooks/act", {"verb": "pause", "name": "none"}),
        ("/log/detailed", {"verb": "on", "only": "there.example"}),
        ("/people/act", {"verb": "end", "session": "none"}),
        ("/people/act", {"verb": "set", "name": "alice", "role": "auditor", "own_password": PASSWORD}),
    ]
    allowed = {
        "anna": [303, 303, 303, 303, 303, 404, 303, 404, 303],
        "otto": [303, 303, 303, 303, 303, 404, 303, 403, 403],
        "alice": [403] * 9,
    }
    for name, expected in allowed.items():
        context = browser.new_context()
        page = log_in(context, server.base, name)
        token = page.locator("input[name=form_token]").first.get_attribute("value")
        for (path, form), status in zip(acts, expected):
            answer = context.request.post(
                server.base + path, form={**form, "form_token": token}, max_redirects=0
            )
            holds(f"{name}: {path} {form['verb']}", answer.status == status, f"{answer.status}, not {status}")
        content = page.goto(server.base + "/queue") and page.locator("tbody a").first
        id = content.get_attribute("href")
        answer = context.request.get(server.base + id + "/content")
        holds(f"{name}: content", answer.status == (403 if name == "alice" else 200), str(answer.status))
        without = context.request.post(server.base + "/sites/act", form={"verb": "pause", "domain": "x.example"})
        holds(f"{name}: no form without its token", without.status == 403, str(without.status))
        context.close()


def doors(browser, server):
    """Who is not let in."""

    def status(path, **headers):
        request = urllib.request.Request(server.base + path, headers=headers)
        try:
            opener = urllib.request.build_opener(NoRedirect)
            return opener.open(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    for path in PAGES:
        holds(f"{path}: nothing without a session", status(path) == 303)
    holds("no live figures without a session", status("/live") == 303)
    holds("a foreign name is not answered", status("/login", Host="evil.example") == 421)
    holds("a cookie that is none", status("/", Cookie="sendoff=guessed") == 303)
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.base + "/login?next=//evil.example/")
    page.fill("input[name=name]", "anna")
    page.fill("input[name=password]", "wrong wrong wrong")
    page.click("button.main")
    holds("a wrong password", "wrong" in page.locator("[role=alert]").inner_text())
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_load_state()
    holds("and nobody is led elsewhere", page.url == server.base + "/", page.url)
    answer = context.request.post(
        server.base + "/logout",
        form={"form_token": page.locator("input[name=form_token]").first.get_attribute("value")},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    holds("a form of another site is not obeyed", answer.status == 403, str(answer.status))
    other = context.new_page()
    other.goto(server.base + "/")
    other.wait_for_function("document.querySelector('header [data-figure=state]').textContent !== ''")
    page.locator("header form[method=post] button").click()
    other.wait_for_selector("#notlive:not([hidden])", timeout=20000)
    holds("an open page gets no more numbers after the session has ended", True)
    page.goto(server.base + "/queue")
    holds("who has logged out is out", "/login" in page.url, page.url)
    context.close()


def main():
    server = Server(Host())
    try:
        for name, role in (("anna", "administrator"), ("otto", "operator"), ("alice", "auditor")):
            server.run("console", "set", name, "--role", role, text=PASSWORD + "\n")
        server.send(12, "evil#@there.example", EVIL)
        server.send(2, "refused#@there.example", EVIL)
        server.send(3, "good#@there.example", "Good")
        eventually("mail waits", lambda: server.waiting("--filter", "kind:greylisted") + server.waiting("--filter", "attempts>0") >= 12)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            doors(browser, server)
            context = browser.new_context()
            page = log_in(context, server.base, "anna")
            page.goto(server.base + "/queue")
            PAGES.append(page.locator("tbody a").first.get_attribute("href"))
            state = context.storage_state()
            without_script(browser, server, state)
            # In front of the pages: tools answer a person six times a minute.
            finding(browser, server, state)
            each_page(browser, server, state)
            acting(browser, server, state)
            roles(browser, server)
            browser.close()
    finally:
        server.stop()
    print(f"{len(failures)} failed" if failures else "all hold")
    return 1 if failures else 0


sys.exit(main())
