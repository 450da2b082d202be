// What a page can do beyond being read: charts, news as it comes, a spec that is checked while it is written.
"use strict";

const style = () => getComputedStyle(document.documentElement);
const colour = (name) => style().getPropertyValue(name).trim();
const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];
const DASHES = ["solid", "dot", "dash", "longdash", "dashdot"];
const read = (id) => JSON.parse(document.getElementById(id).textContent);

function layout(more) {
  const line = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 48, r: 12, t: 24, b: 40 }, height: 260,
    font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 }, hovermode: "closest",
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, xaxis: { ...line, title: { text: "step" } }, yaxis: line, ...more,
  };
}
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };

// A running mean over a twentieth of the points; the raw ones stay visible below it.
function smooth(y) {
  const half = Math.floor(y.length / 40);
  if (half < 1) return y;
  return y.map((_, i) => {
    const part = y.slice(Math.max(0, i - half), i + half + 1);
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
}

function curves(chart) {
  const traces = [];
  chart.lines.forEach((line, i) => {
    const look = { color: colour(COLOURS[i % COLOURS.length]), dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length] };
    if (line.y.length > 40) traces.push({ x: line.x, y: line.y, mode: "lines", line: { ...look, width: 1 }, opacity: 0.3, hoverinfo: "skip", showlegend: false });
    traces.push({ x: line.x, y: smooth(line.y), mode: line.y.length > 1 ? "lines" : "markers", line: { ...look, width: 2 }, name: line.name });
  });
  return traces;
}

function draw(element) {
  const chart = read(element.dataset.chart), traces = curves(chart), { xaxis, yaxis } = layout();
  const x = chart.lines.flatMap((line) => line.x), y = chart.lines.flatMap((line) => line.y);
  if (chart.teacher !== null && x.length) {
    const ends = [x.reduce((a, b) => Math.min(a, b)), x.reduce((a, b) => Math.max(a, b))];
    traces.push({ x: ends, y: [chart.teacher, chart.teacher], mode: "lines", line: { color: colour("--muted"), dash: "dash", width: 1.5 }, name: "teacher, on the test rows" });
  }
  const low = y.reduce((a, b) => Math.min(a, b), Infinity), high = y.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low > 0 && high - low < 1e-9 * high) yaxis.range = [0, 2 * high]; // a line that never moves would be shown between −1 and 1
  element.chart = chart;
  Plotly.react(element, traces, layout({ xaxis, yaxis, showlegend: traces.filter((one) => one.showlegend !== false).length > 1 }), CONFIG);
}

function scatter(element) {
  const points = read(element.dataset.scatter);
  const front = points.filter((p) => p.front).sort((a, b) => a.x - b.x);
  const named = (p) => p.name || `trial ${p.number}`, shown = (p) => p.name || p.front;
  const sizes = points.map((p) => Math.log10(p.x)), from = Math.min(...sizes), to = Math.max(...sizes), middle = (from + to) / 2;
  const ticks = [...Array(14).keys()].flatMap((e) => [1, 2, 5].map((d) => d * 10 ** e)).filter((t) => Math.log10(t) > from - 0.4 && Math.log10(t) < to + 0.4);
  const traces = [{
    x: points.map((p) => p.x), y: points.map((p) => p.y), text: points.map((p) => points.length > 12 || !shown(p) ? "" : named(p)), hovertext: points.map(named), mode: "markers+text", cliponaxis: false,
    textposition: points.map((p) => Math.log10(p.x) > middle ? "top left" : "top right"), marker: { size: 9, color: colour("--c1") }, name: "all",
  }];
  if (front.length > 1) traces.push({ x: front.map((p) => p.x), y: front.map((p) => p.y), mode: "lines", line: { color: colour("--c2"), dash: "dot", shape: "hv" }, name: "worth their size" });
  Plotly.react(element, traces, layout({ height: 340, showlegend: front.length > 1, xaxis: { ...layout().xaxis, title: { text: "parameters" }, type: "log", tickvals: ticks.filter((t, i) => ticks.length < 12 || i % 3 === 0), tickformat: "~s" } }), CONFIG);
}

function all() {
  if (!window.Plotly) return;
  document.querySelectorAll("[data-chart]").forEach(draw);
  document.querySelectorAll("[data-scatter]").forEach(scatter);
}

// News of one job. At its end the page is fetched anew: then it has a verdict.
function follow(element) {
  const said = element.querySelector("[data-said]"), bar = element.querySelector("progress");
  const source = new EventSource(element.dataset.stream), log = document.querySelector("[data-log]"), left = document.querySelector("[data-eta]");
  if (log) ["log", "warning", "phase", ...(log.dataset.log === "events" ? ["metrics", "checkpoint"] : [])].forEach((type) => source.addEventListener(type, (event) => append(log, JSON.parse(event.data))));
  source.addEventListener("metrics", (event) => {
    const data = JSON.parse(event.data).data;
    if (bar && data.step !== null && data.step !== undefined) { bar.value = data.step; bar.max = data.total_steps || bar.max; }
    said.textContent = [data.phase, data.step && `step ${data.step.toLocaleString()} of ${(data.total_steps || 0).toLocaleString()}`, data.steps_per_second && `${data.steps_per_second.toFixed(0)} it/s`].filter(Boolean).join(" · ");
    if (left && data.eta_seconds) left.textContent = `${clock(data.eta_seconds)} left`;
    grow(data);
    if (!bar && data.step) location.reload();
  });
  source.addEventListener("phase", (event) => { said.textContent = JSON.parse(event.data).message; });
  source.addEventListener("status", () => { source.close(); location.reload(); });
  source.addEventListener("done", () => { source.close(); location.reload(); });
  source.onerror = () => { said.textContent = "the connection is lost; trying again …"; };
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds)), two = (n) => String(n).padStart(2, "0"), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// A line of the log as it is said, the newest 500; who has scrolled to the end is kept there.
function append(log, said) {
  const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 60, row = log.insertRow();
  row.className = said.level;
  const cells = [said.created_at.slice(11, 19), ...(log.dataset.log === "events" ? [said.seq] : []), said.type, said.message];
  cells.forEach((text) => { row.insertCell().textContent = text; });
  while (log.rows.length > 500) log.deleteRow(0);
  if (atEnd) scrollTo(0, document.body.scrollHeight);
}

function count(element) {
  const began = performance.now() - 1000 * parseFloat(element.dataset.elapsed);
  setInterval(() => { element.textContent = clock((performance.now() - began) / 1000); }, 1000);
}

function grow(data) {
  document.querySelectorAll("[data-chart]").forEach((element) => {
    if (!element.chart || element.chart.lines.length === 0) return;
    const lines = element.chart.lines.filter((line) => line.metric in (data.metrics || {}) && line.x[line.x.length - 1] < data.step);
    if (new Set(element.chart.lines.map((line) => `${line.arm} ${line.seed}`)).size > 1) return; // of several runs the event does not say which
    lines.forEach((line) => { line.x.push(data.step); line.y.push(line.scale * data.metrics[line.metric]); });
    if (lines.length) soon(element);
  });
}

// A chart is drawn anew at most once a second: a fast run says more than a browser can draw.
function soon(element) {
  element.due ??= setTimeout(() => {
    element.due = null;
    Plotly.react(element, curves(element.chart), element.layout, CONFIG);
  }, 1000);
}

// A list with something unfinished in it is fetched again, as long as somebody looks.
function refresh(region) {
  setInterval(async () => {
    if (document.hidden || region.contains(document.activeElement) || region.querySelector("input:checked")) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(`[aria-label="${region.getAttribute("aria-label")}"]`);
      if (answer.ok && fresh) region.replaceChildren(...fresh.childNodes);
    } catch (_) { /* next time */ }
  }, 2000);
}

// The form writes the spec while it is filled in; who chooses a network or a recipe gets its parameters to fill in.
function fill(form) {
  let last = 0;
  form.addEventListener("input", async (event) => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")), mine = ++last;
    const fresh = new DOMParser().parseFromString(await (await fetch(`${form.action}?${query}`)).text(), "text/html");
    const box = document.getElementById(form.dataset.fills);
    if (mine !== last || !query.size) return;
    box.value = fresh.getElementById(form.dataset.fills).value;
    box.dispatchEvent(new Event("input"));
    if (event.target.tagName !== "SELECT") return;
    form.replaceChildren(...fresh.querySelector("[data-fills]").childNodes);
    form.elements[event.target.name]?.focus();
  });
}

function check(box) {
  const said = document.getElementById("verdict");
  let timer = 0, last = null;
  const ask = async () => {
    if (box.value === last) return;
    last = box.value;
    try {
      const answer = await (await fetch(box.dataset.check, { method: "POST", body: new URLSearchParams({ spec: box.value }) })).json();
      said.className = `check ${answer.valid ? "good" : "bad"}`;
      Object.entries(answer.ways || {}).forEach(([way, text]) => { const pre = document.getElementById(`way-${way}`); if (pre) pre.textContent = text; });
      said.textContent = answer.valid ? [["✓ valid", ...answer.forecast].join(" · "), ...answer.warnings.map((w) => `! ${w}`)].join("\n") : answer.errors.map((e) => `✗ ${e}`).join("\n");
    } catch (_) { said.textContent = "the service does not answer"; }
  };
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 300); });
  ask();
}

// The second click of a double click: the browser would drop the first answer, and the service has done both.
const posted = document.querySelectorAll('form[method="post"]');
posted.forEach((form) => form.addEventListener("submit", (event) => { if (form.sent) event.preventDefault(); form.sent = true; }));
addEventListener("pageshow", () => posted.forEach((form) => { form.sent = false; }));
document.querySelectorAll("[data-confirm]").forEach((button) => button.addEventListener("click", (event) => { if (!confirm(button.dataset.confirm)) event.preventDefault(); }));
document.querySelectorAll("[data-stream]").forEach(follow);
document.querySelectorAll("[data-live]").forEach(refresh);
document.querySelectorAll("[data-check]").forEach(check);
document.querySelectorAll("[data-elapsed]").forEach(count);
document.querySelectorAll("[data-fills]").forEach(fill);
if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach((button) => {
  const word = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = word; }, 1500);
  });
});
document.querySelectorAll("[data-theme-toggle]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch (_) { /* holds for this page */ }
    all();
  });
});
all();
