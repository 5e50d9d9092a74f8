// Shows what the server says about one task instance or one run. Every text is set as text, never as markup.

const page = document.documentElement;
// Airflow leaves its placeholder as it is where a task is not mapped.
const base = location.pathname.replace(/\/+$/, "").replace(/%7BMAP_INDEX%7D$/i, "-1");
const list = document.getElementById("videos");
const more = document.getElementById("more");
const summary = document.getElementById("summary");
const REFRESH = 4000;
const QUESTIONS_AT_A_TIME = 3;
const cards = new Map();
let shown = 1;

// ---- Airflow's theme, also a company's own, as long as this page stands inside Airflow

const TOKENS = {
  "--bg": "bg", "--fg": "fg", "--muted": "fg-muted", "--border": "border", "--raised": "bg-subtle",
  "--done": "success-solid", "--error": "fg-error", "--rendering": "deferred-solid", "--failed": "failed-solid",
  "--retrying": "up_for_retry-solid", "--focus": "brand-focus-ring",
};

function airflow() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null;
  }
}

function paint() {
  const outer = airflow();
  const chosen = outer?.className.match(/\b(light|dark)\b/)?.[1] ?? stored();
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  page.classList.toggle("dark", (chosen ?? system) === "dark");
  const styles = outer && getComputedStyle(outer);
  if (outer) page.style.setProperty("--font", getComputedStyle(window.parent.document.body).fontFamily);
  for (const [name, token] of Object.entries(TOKENS)) {
    const value = styles?.getPropertyValue(`--chakra-colors-${token}`).trim();
    if (value) page.style.setProperty(name, value);
    else page.style.removeProperty(name);
  }
}

function stored() {
  try {
    const theme = localStorage.getItem("theme");
    return theme === "dark" || theme === "light" ? theme : undefined;
  } catch {
    return undefined;
  }
}

paint();
addEventListener("storage", paint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
if (airflow()) new MutationObserver(paint).observe(airflow(), { attributeFilter: ["class", "style"] });

// ---- words

const STATES = {
  waiting: "Waiting", submitting: "Submitting", rendering: "Rendering", submitted: "Submitted",
  done: "Done", failed: "Failed", retrying: "Up for retry", skipped: "Not made",
  moderated: "Refused by moderation", expired: "Expired",
};
const HINTS = {
  waiting: "The task has not started.",
  submitting: "The task has no request id yet.",
  submitted: "The task did not wait for its video.",
  skipped: "The task did not run.",
  failed: "The reason is in the task's log.",
  retrying: "The task will be tried again.",
};

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

// Cents at least, and not a digit less than the API has said.
function money(amount) {
  const digits = amount.split(".")[1]?.length ?? 0;
  // Whatever an XCom holds: toFixed throws at more than a hundred.
  return Number(amount).toFixed(Math.min(Math.max(2, digits), 20));
}

function facts(video) {
  return [
    ["Model", video.model],
    ["Duration", video.duration && `${video.duration} s`],
    ["Cost", video.cost_usd && `$${money(video.cost_usd)}`],
    ["Size", video.size_bytes && size(video.size_bytes)],
    ["Took", video.elapsed_seconds && `${video.elapsed_seconds.toFixed(1)} s`],
    ["Request", video.request_id, "code"],
    ["File", page.dataset.view === "task" && video.path, "code"],
  ].filter(([, value]) => value);
}

// ---- one card

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function place(video) {
  const task = `/tasks/${encodeURIComponent(video.task_id)}/${video.map_index}`;
  return page.dataset.view === "task" ? base : base + task;
}

function draw(card) {
  const { video, said, node } = card;
  // What has not changed stays, so that a selected text stays selected.
  const drawn = JSON.stringify([video, said]);
  if (card.drawn === drawn) return;
  card.drawn = drawn;
  const found = said && said.state !== "unknown" && said.state !== "pending" ? said.state : null;
  const state = video.state === "failed" && found && found !== "done" ? found : video.state;
  const tone = { moderated: "failed", expired: "failed", submitting: "rendering", submitted: "rendering" }[state];
  node.className = `card ${tone ?? state}`;
  node.querySelector(".name").textContent = video.task_id + (video.map_index < 0 ? "" : ` [${video.label ?? video.map_index}]`);
  node.querySelector(".state").textContent = STATES[state] ?? state;
  node.querySelector(".prompt").textContent = video.prompt ?? "";
  node.querySelector(".prompt").title = page.dataset.view === "gallery" ? video.prompt ?? "" : "";
  node.querySelector(".note").textContent = video.note ?? said?.reason ?? (video.video ? "" : HINTS[state] ?? "");
  const rows = facts(video).flatMap(([name, value, style]) => [element("dt", name), element("dd", String(value), style)]);
  node.querySelector("dl").replaceChildren(...rows);
  stage(card, state);
}

function stage(card, state) {
  const { video, said, node } = card;
  const box = node.querySelector(".stage");
  const remote = video.video?.url ?? (video.state === "submitted" && said?.state === "done" ? said.url : null);
  const source = video.video?.kind === "saved" ? `${place(video)}/media` : remote;
  const playing = box.querySelector("video");
  // A player is left alone for as long as it shows the same video: somebody may be watching.
  if (source && playing?.dataset.source === source) return;
  if (source) {
    box.replaceChildren(player(card, source));
    return;
  }
  const wait = element("div", "", "wait");
  wait.append(element("strong", state === "done" ? "No video here" : STATES[state] ?? state));
  if (state === "rendering") {
    const bar = element("progress");
    bar.max = 100;
    bar.setAttribute("aria-label", "Progress");
    if (said?.progress != null) bar.value = said.progress;
    wait.append(bar, element("span", said?.progress != null ? `${said.progress} %` : "Progress is not known yet"));
  }
  box.replaceChildren(wait);
}

function player(card, source) {
  const { video } = card;
  const made = element("video");
  Object.assign(made, { controls: true, preload: "metadata", playsInline: true, src: source });
  made.dataset.source = source;
  made.setAttribute("aria-label", video.prompt ? `Video: ${video.prompt}` : `Video of ${video.task_id}`);
  made.addEventListener("error", async () => {
    const fresh = video.video?.kind === "remote" ? await ask(card) : null;
    if (fresh?.url && fresh.url !== made.src) {
      made.src = fresh.url;
      return;
    }
    const gone = video.video?.kind === "remote" ? "Its address at the API has expired, and it was not landed." : await why(source);
    card.node.querySelector(".note").textContent = `The video cannot be played: ${gone}`;
  });
  return made;
}

async function why(source) {
  const answer = await fetch(source, { headers: { Range: "bytes=0-0" } });
  return answer.ok ? "this browser does not play it." : `${(await answer.json()).detail}.`;
}

// ---- the server

async function load(path) {
  const answer = await fetch(base + path, { headers: { Accept: "application/json" } });
  if (answer.ok) return answer.json();
  const detail = await answer.json().then((body) => body.detail, () => "");
  throw new Error({ 401: "Sign in to Airflow to see this.", 403: "You may not see the videos of this DAG." }[answer.status] ?? (detail || answer.statusText));
}

async function ask(card) {
  const answer = await fetch(`${place(card.video)}/progress`);
  if (answer.ok) card.said = await answer.json();
  return card.said;
}

function wantsAnswer({ video, said, seen }) {
  if (!seen || !video.request_id) return false;
  if (["rendering", "submitted"].includes(video.state)) return true;
  return ["failed", "retrying"].includes(video.state) && !said;
}

async function askAll() {
  const open = [...cards.values()].filter(wantsAnswer);
  const worker = async () => {
    for (let card = open.shift(); card; card = open.shift()) {
      await ask(card);
      draw(card);
    }
  };
  await Promise.all(Array.from({ length: QUESTIONS_AT_A_TIME }, worker));
}

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = cards.get(entry.target.dataset.key);
    if (card) card.seen = entry.isIntersecting;
  }
}, { rootMargin: "200px" });

function take(video) {
  const key = `${video.task_id}/${video.map_index}`;
  let card = cards.get(key);
  if (!card) {
    const node = document.getElementById("card").content.firstElementChild.cloneNode(true);
    node.dataset.key = key;
    card = { node, said: null, seen: true };
    cards.set(key, card);
    list.append(node);
    sight.observe(node);
  }
  if (card.video?.request_id !== video.request_id || card.video?.try_number !== video.try_number) card.said = null;
  card.video = video;
  draw(card);
}

function summarize(hasMore) {
  if (page.dataset.view !== "gallery" || cards.size === 0) return;
  const videos = [...cards.values()].map((card) => card.video);
  const counts = new Map();
  for (const { state } of videos) counts.set(state, (counts.get(state) ?? 0) + 1);
  const cost = videos.reduce((sum, video) => sum + Number(video.cost_usd ?? 0), 0);
  summary.textContent = [
    `${videos.length}${hasMore ? "+" : ""} video${videos.length === 1 ? "" : "s"}`,
    ...[...counts].map(([state, some]) => `${some} ${(STATES[state] ?? state).toLowerCase()}`),
    cost ? `$${cost.toFixed(2)}` : "",
  ].filter(Boolean).join(" · ");
  summary.hidden = false;
}

async function refresh() {
  let hasMore = true;
  let offset = 0;
  for (let part = 0; part < shown && hasMore; part += 1) {
    const answer = await load(`/videos?offset=${offset}`);
    if (part === 0 && answer.videos.length) list.querySelector(":scope > .message")?.remove();
    answer.videos.forEach(take);
    offset += answer.videos.length;
    hasMore = answer.more;
  }
  more.hidden = !hasMore;
  summarize(hasMore);
  if (cards.size === 0) tell(page.dataset.view === "task" ? "This task makes no video." : "No task of this run makes videos.");
  await askAll();
}

function tell(text) {
  let message = list.querySelector(":scope > .message");
  if (!message) {
    message = element("p", "", "message");
    list.prepend(message);
  }
  message.textContent = text;
}

function isOver() {
  const settled = ({ video, said }) => ["done", "failed", "moderated", "expired", "skipped"].includes(video.state)
    || (video.state === "submitted" && said && !["pending", "unknown"].includes(said.state));
  return [...cards.values()].every(settled);
}

async function run() {
  try {
    if (document.visibilityState === "visible") await refresh();
  } catch (error) {
    tell(error.message);
  }
  if (!isOver()) setTimeout(run, REFRESH);
}

more.addEventListener("click", () => {
  shown += 1;
  refresh().catch((error) => tell(error.message));
});
if (page.dataset.view !== "message") run();
