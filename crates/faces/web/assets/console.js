"use strict";
// Everything here is a convenience: each page can be read and used without it.
(() => {
  const $ = (s, of = document) => of.querySelector(s);
  const all = (s, of = document) => [...of.querySelectorAll(s)];
  const root = document.documentElement;
  const kept = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch { return null; }
  };
  const say = (text) => { const said = $("#said"); if (said) said.textContent = text; };

  // The theme: that of the system, until somebody chooses.
  const theme = kept("theme");
  if (theme) root.dataset.theme = theme;
  const turn = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept("theme", root.dataset.theme);
    say(root.dataset.theme + " theme");
  };
  const button = $("#theme");
  if (button) { button.hidden = false; button.textContent = "◐"; button.title = "Light or dark (t)"; button.onclick = turn; }

  // Ticking all rows of a page.
  const tick = $("#tick-all");
  if (tick) {
    tick.hidden = false;
    const label = tick.parentElement.querySelector(".ticked");
    label.hidden = false;
    const boxes = all("tbody input[type=checkbox]");
    const told = () => {
      const n = boxes.filter((box) => box.checked).length;
      label.textContent = n ? n + " ticked" : "all of this page";
      tick.indeterminate = n > 0 && n < boxes.length;
      tick.checked = n === boxes.length;
    };
    tick.onchange = () => { boxes.forEach((box) => { box.checked = tick.checked; }); told(); };
    boxes.forEach((box) => box.addEventListener("change", told));
    told();
  }

  // Copying.
  all("[data-copy]").forEach((b) => {
    b.hidden = false;
    b.addEventListener("click", () => navigator.clipboard.writeText($(b.dataset.copy).textContent).then(() => say("copied")));
  });

  // Figures that change in place. Lists do not: a button says that they have changed.
  const url = document.body.dataset.live;
  let source, paused = false, changes = null, lost = null;
  const notlive = $("#notlive");
  const stale = (why) => {
    all("[data-figure]").forEach((e) => e.classList.toggle("stale", !!why));
    notlive.hidden = !why;
    notlive.textContent = why || "";
  };
  const show = (figures) => {
    all("[data-figure]").forEach((e) => {
      const value = figures[e.dataset.figure];
      if (value === undefined) return;
      const text = String(value);
      if (e.textContent !== text) e.textContent = text;
      if (e.dataset.class) e.className = "state " + figures[e.dataset.class];
    });
    const pill = $("#changed");
    if (pill && $("[data-list]")) {
      if (changes === null) changes = figures.changes;
      const n = figures.changes - changes;
      if (n > 0) {
        pill.hidden = false;
        pill.firstElementChild.textContent = n + " changed: show";
        pill.firstElementChild.onclick = () => location.reload();
      }
    }
  };
  const open = () => {
    if (source || paused || document.hidden || !url || !window.EventSource) return;
    source = new EventSource(url);
    source.onmessage = (event) => { lost = null; stale(""); show(JSON.parse(event.data)); };
    source.onerror = () => {
      lost = lost || new Date().toLocaleTimeString();
      stale("Not live since " + lost + ": reconnecting. What is shown is as it was then.");
    };
  };
  const close = () => { if (source) source.close(); source = null; };
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
  window.addEventListener("pagehide", close);
  open();

  // The log as it is written.
  const tail = $("[data-tail]");
  if (tail && window.EventSource) {
    const lines = new EventSource(tail.dataset.tail);
    let held = false;
    const hold = $("#hold");
    if (hold) {
      hold.hidden = false;
      hold.onclick = () => { held = !held; hold.textContent = held ? "Go on" : "Pause"; };
    }
    lines.onmessage = (event) => {
      if (held) return;
      const line = document.createElement("div");
      line.textContent = event.data;
      tail.append(line);
      while (tail.childElementCount > 500) tail.firstElementChild.remove();
      line.scrollIntoView({ block: "nearest" });
    };
    window.addEventListener("pagehide", () => lines.close());
  }

  // Keys. None of them changes mail.
  const pages = { o: "/", q: "/queue", f: "/finished", s: "/sites", r: "/reports", l: "/log", t: "/tools", h: "/help" };
  let go = false, at = -1;
  const rows = () => all("table.rows tbody tr");
  const move = (by) => {
    const list = rows();
    if (!list.length) return;
    if (list[at]) list[at].classList.remove("on");
    at = Math.max(0, Math.min(list.length - 1, at + by));
    list[at].classList.add("on");
    list[at].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const e = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(e.tagName) && e.type !== "checkbox") return;
    const key = event.key;
    if (go) {
      go = false;
      if (pages[key]) location.href = pages[key];
      return;
    }
    const row = rows()[at];
    if (key === "g") go = true;
    else if (key === "/") { event.preventDefault(); ($("#q") || $("#find")).focus(); }
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "x" && row) { const box = $("input[type=checkbox]", row); if (box) box.click(); }
    else if (key === "Enter" && row && e === document.body) { const link = $("a", row); if (link) link.click(); }
    else if (key === "t") turn();
    else if (key === "p") { paused = !paused; if (paused) { close(); stale("Paused (p). What is shown does not change."); } else { stale(""); open(); } }
    else if (key === "?") location.href = "/help#keys";
  });
})();
