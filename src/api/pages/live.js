// Shows calls and events as they happen. The token comes from the fragment (#token=…) or the form, stays in this tab,
// and goes into the Authorization header of every request: EventSource cannot send one, so the stream is read by fetch.
"use strict";

const SHOWN_CALLS = 50;
const SHOWN_EVENTS = 200;

const calls = new Map();
let token = "";
let lastEvent = "";
let running = null;
let selected = "";

const at = (id) => document.getElementById(id);

function start() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (fragment.has("token")) {
    sessionStorage.setItem("token", fragment.get("token"));
    // Out of the address bar, so that it is not copied along.
    history.replaceState(null, "", location.pathname);
  }
  at("login").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    connect(at("token").value.trim());
  });
  const known = sessionStorage.getItem("token");
  if (known) {
    at("token").value = known;
    connect(known);
  }
  setInterval(showLengths, 1000);
}

async function connect(given) {
  token = given;
  sessionStorage.setItem("token", token);
  lastEvent = "";
  calls.clear();
  at("events").replaceChildren();
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  let pause = 500;
  while (!mine.signal.aborted) {
    try {
      const stream = await open(mine.signal);
      // What is listed now and what the stream tells from now on leave no gap between them.
      const listed = await ask(`/api/calls?limit=${SHOWN_CALLS}`, mine.signal);
      for (const call of listed.calls) calls.set(call.call_id, call);
      showCalls();
      say("connected", "on");
      pause = 500;
      await read(stream, mine.signal);
      say("connection lost, trying again", "off");
    } catch (error) {
      if (mine.signal.aborted) return;
      say(error.message, "off");
      if (error.status === 401 || error.status === 403) return;
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, 10000);
  }
}

async function open(signal) {
  const headers = { Authorization: `Bearer ${token}` };
  if (lastEvent) headers["Last-Event-ID"] = lastEvent;
  const response = await fetch("/api/events", { headers, signal });
  if (!response.ok) throw await refusal(response);
  return response.body.pipeThrough(new TextDecoderStream()).getReader();
}

async function ask(path, signal) {
  const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, signal });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return Object.assign(new Error(problem.detail || `HTTP ${response.status}`), { status: response.status });
}

async function read(reader, signal) {
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done || signal.aborted) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      handle(text.slice(0, end));
      text = text.slice(end + 2);
    }
  }
}

function handle(message) {
  const fields = {};
  for (const line of message.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  if (!fields.id) return;
  lastEvent = fields.id;
  const event = JSON.parse(fields.data);
  showEvent(event);
  refresh(event.provider, event.call_id);
  if (event.call_id === selected) showTimeline(selected, false);
}

async function refresh(provider, id) {
  try {
    const path = `/api/integrations/providers/${encodeURIComponent(provider)}/calls/${id}`;
    calls.set(id, await ask(path, running.signal));
    showCalls();
  } catch (error) {
    // The next event of the call asks again.
    if (!running.signal.aborted) console.warn(error);
  }
}

function showEvent(event) {
  const item = document.createElement("li");
  const when = element("span", time(event.occurred_at), "when mono");
  const kind = element("span", event.kind, `badge ${event.kind}`);
  const reason = event.edge && event.edge.end_reason ? ` · ${event.edge.end_reason}` : "";
  item.append(when, kind, ` ${event.from} → ${event.to}${reason}`);
  const list = at("events");
  list.prepend(item);
  while (list.children.length > SHOWN_EVENTS) list.lastChild.remove();
}

function showCalls() {
  const sorted = [...calls.values()].sort((one, other) => (one.call_id < other.call_id ? 1 : -1));
  for (const call of sorted.slice(SHOWN_CALLS)) calls.delete(call.call_id);
  at("running").textContent = sorted.filter((call) => call.status !== "ended").length;
  const rows = sorted.slice(0, SHOWN_CALLS).map((call) => {
    const row = document.createElement("tr");
    row.dataset.call = call.call_id;
    row.setAttribute("aria-selected", String(call.call_id === selected));
    const status = document.createElement("td");
    status.append(element("span", call.status, `badge ${call.status}`));
    const open = document.createElement("td");
    const button = element("button", "show");
    button.type = "button";
    button.setAttribute("aria-label", `Timeline of the call from ${call.from} to ${call.to}`);
    button.addEventListener("click", () => showTimeline(call.call_id, true));
    open.append(button);
    row.append(
      status,
      element("td", call.direction),
      element("td", call.from),
      element("td", call.to),
      element("td", call.provider),
      element("td", call.engine || "–"),
      element("td", time(call.started_at)),
      element("td", length(call), "length"),
      element("td", call.end_reason || "–"),
      open,
    );
    return row;
  });
  const body = document.querySelector("#calls tbody");
  const focused = document.activeElement.closest && document.activeElement.closest("tr[data-call]");
  body.replaceChildren(...rows);
  if (focused) {
    const again = rows.find((row) => row.dataset.call === focused.dataset.call);
    if (again) again.querySelector("button").focus();
  }
}

function showLengths() {
  for (const row of document.querySelectorAll("#calls tbody tr")) {
    const call = calls.get(row.dataset.call);
    if (call) row.querySelector(".length").textContent = length(call);
  }
}

async function showTimeline(id, move) {
  selected = id;
  try {
    const timeline = await ask(`/api/calls/${id}/timeline`, running.signal);
    const rows = timeline.milestones.map((milestone) => {
      const row = document.createElement("tr");
      row.append(
        element("td", `${(milestone.since_start_ms / 1000).toFixed(3)} s`, "mono"),
        element("td", milestone.layer),
        element("td", milestone.what),
        element("td", milestone.detail || "", "wide mono"),
      );
      return row;
    });
    document.querySelector("#timeline tbody").replaceChildren(...rows);
    at("timeline-call").textContent = id;
    for (const row of document.querySelectorAll("#calls tbody tr")) {
      row.setAttribute("aria-selected", String(row.dataset.call === id));
    }
    if (move) at("timeline-heading").focus();
  } catch (error) {
    if (!running.signal.aborted) say(error.message, "off");
  }
}

function element(name, text, classes) {
  const made = document.createElement(name);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function time(text) {
  return new Date(text).toLocaleTimeString([], { hour12: false });
}

function length(call) {
  if (!call.answered_at) return "–";
  const until = call.ended_at ? Date.parse(call.ended_at) : Date.now();
  const seconds = Math.max(0, Math.floor((until - Date.parse(call.answered_at)) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function say(text, state) {
  at("state").textContent = text;
  at("state").className = `state ${state}`;
}

start();
