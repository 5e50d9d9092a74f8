// Shows the cards of one task instance or one run. Every text is set as text, never as markup.

const page = document.documentElement;
// Airflow does not replace its placeholder for a task that is not mapped.
const base = location.pathname.replace(/\/+$/, "").replace(/%7BMAP_INDEX%7D$/i, "-1");
const isGallery = page.dataset.view === "gallery";
const list = document.getElementById("videos");
const more = document.getElementById("more");
const summary = document.getElementById("summary");
const REFRESH_MS = 4000;
const MAX_CONCURRENT_REQUESTS = 3;
const cards = new Map();
let pageCount = 1;

// ---- theme: the colors of the Airflow page around this one, which a company may have changed

const TOKENS = {
  "--bg": "bg", "--fg": "fg", "--muted": "fg-muted", "--border": "border", "--raised": "bg-subtle",
  "--done": "success-solid", "--error": "fg-error", "--rendering": "deferred-solid", "--failed": "failed-solid",
  "--retrying": "up_for_retry-solid", "--focus": "brand-focus-ring",
};

function airflowRoot() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null;
  }
}

function applyTheme() {
  const root = airflowRoot();
  const chosen = root?.className.match(/\b(light|dark)\b/)?.[1] ?? storedTheme();
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  page.classList.toggle("dark", (chosen ?? system) === "dark");
  const styles = root && getComputedStyle(root);
  if (root) page.style.setProperty("--font", getComputedStyle(window.parent.document.body).fontFamily);
  for (const [name, token] of Object.entries(TOKENS)) {
    const value = styles?.getPropertyValue(`--chakra-colors-${token}`).trim();
    if (value) page.style.setProperty(name, value);
    else page.style.removeProperty(name);
  }
}

function storedTheme() {
  try {
    const theme = localStorage.getItem("theme");
    return theme === "dark" || theme === "light" ? theme : undefined;
  } catch {
    return undefined;
  }
}

applyTheme();
addEventListener("storage", applyTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
if (airflowRoot()) new MutationObserver(applyTheme).observe(airflowRoot(), { attributeFilter: ["class", "style"] });

// ---- texts

const STATES = {
  waiting: "Waiting", submitting: "Submitting", rendering: "Rendering", submitted: "Submitted",
  done: "Done", failed: "Failed", retrying: "Up for retry", skipped: "Skipped",
  moderated: "Rejected by moderation", expired: "Expired",
};
const HINTS = {
  waiting: "The task has not started.",
  submitting: "The task has no request id yet.",
  submitted: "The task did not wait for its video.",
  skipped: "The task did not run.",
  failed: "See the task's log for the reason.",
  retrying: "Airflow will retry the task.",
};

function formatSize(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${unit ? bytes.toFixed(1) : bytes} ${units[unit]}`;
}

// At least cents, and every digit of the API.
function formatAmount(amount) {
  const digits = amount.split(".")[1]?.length ?? 0;
  // toFixed throws for more than 100 digits, and an XCom may hold any number of them.
  return Number(amount).toFixed(Math.min(Math.max(2, digits), 20));
}

function details(video) {
  return [
    ["Model", video.model],
    ["Duration", video.duration && `${video.duration} s`],
    ["Cost", video.cost_usd && `$${formatAmount(video.cost_usd)}`],
    ["Size", video.size_bytes && formatSize(video.size_bytes)],
    ["Elapsed", video.elapsed_seconds && `${video.elapsed_seconds.toFixed(1)} s`],
    ["Request", video.request_id, "code"],
    ["File", !isGallery && video.path, "code"],
  ].filter(([, value]) => value);
}

// ---- one card. `video` is the server's card, `polled` the progress at the API, `node` the element

function element(tag, text, className) {
  const created = document.createElement(tag);
  if (text) created.textContent = text;
  if (className) created.className = className;
  return created;
}

function taskUrl(video) {
  return isGallery ? `${base}/tasks/${encodeURIComponent(video.task_id)}/${video.map_index}` : base;
}

function renderCard(card) {
  const { video, polled, node } = card;
  // An unchanged card is not rendered again, so that selected text stays selected.
  const rendered = JSON.stringify([video, polled]);
  if (card.rendered === rendered) return;
  card.rendered = rendered;
  const final = polled && polled.state !== "unknown" && polled.state !== "pending" ? polled.state : null;
  const state = video.state === "failed" && final && final !== "done" ? final : video.state;
  const color = { moderated: "failed", expired: "failed", submitting: "rendering", submitted: "rendering" }[state];
  node.className = `card ${color ?? state}`;
  node.querySelector(".name").textContent = video.task_id + (video.map_index < 0 ? "" : ` [${video.label ?? video.map_index}]`);
  node.querySelector(".state").textContent = STATES[state] ?? state;
  node.querySelector(".prompt").textContent = video.prompt ?? "";
  node.querySelector(".prompt").title = isGallery ? video.prompt ?? "" : "";
  node.querySelector(".note").textContent = video.note ?? polled?.reason ?? (video.video ? "" : HINTS[state] ?? "");
  const rows = details(video).flatMap(([name, value, style]) => [element("dt", name), element("dd", String(value), style)]);
  node.querySelector("dl").replaceChildren(...rows);
  renderMedia(card, state);
}

function renderMedia(card, state) {
  const { video, polled, node } = card;
  const box = node.querySelector(".media");
  const remote = video.video?.url ?? (video.state === "submitted" && polled?.state === "done" ? polled.url : null);
  const source = video.video?.kind === "saved" ? `${taskUrl(video)}/media` : remote;
  const player = box.querySelector("video");
  // A player with the same source stays: the user may be watching.
  if (source && player?.dataset.source === source) return;
  if (source) {
    box.replaceChildren(createPlayer(card, source));
    return;
  }
  const placeholder = element("div", "", "placeholder");
  placeholder.append(element("strong", state === "done" ? "No video to show" : STATES[state] ?? state));
  if (state === "rendering") {
    const bar = element("progress");
    bar.max = 100;
    bar.setAttribute("aria-label", "Progress");
    if (polled?.progress != null) bar.value = polled.progress;
    placeholder.append(bar, element("span", polled?.progress != null ? `${polled.progress} %` : "No progress received yet"));
  }
  box.replaceChildren(placeholder);
}

function createPlayer(card, source) {
  const { video } = card;
  const player = element("video");
  Object.assign(player, { controls: true, preload: "metadata", playsInline: true, src: source });
  player.dataset.source = source;
  player.setAttribute("aria-label", video.prompt ? `Video: ${video.prompt}` : `Video of ${video.task_id}`);
  player.addEventListener("error", async () => {
    const isRemote = video.video?.kind === "remote";
    const polled = isRemote ? await poll(card) : null;
    if (polled?.url && polled.url !== player.src) {
      player.src = polled.url;
      return;
    }
    const reason = isRemote ? "its URL at the API has expired, and the task did not save it." : await mediaError(source);
    card.node.querySelector(".note").textContent = `The video cannot be played: ${reason}`;
  });
  return player;
}

async function mediaError(source) {
  const response = await fetch(source, { headers: { Range: "bytes=0-0" } });
  return response.ok ? "this browser does not support it." : `${(await response.json()).detail}.`;
}

// ---- the server

async function load(path) {
  const response = await fetch(base + path, { headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  const detail = await response.json().then((body) => body.detail, () => "");
  throw new Error({ 401: "Sign in to Airflow to see this.", 403: "You may not see the videos of this DAG." }[response.status] ?? (detail || response.statusText));
}

async function poll(card) {
  const response = await fetch(`${taskUrl(card.video)}/progress`);
  if (response.ok) card.polled = await response.json();
  return card.polled;
}

function needsPoll({ video, polled, isVisible }) {
  if (!isVisible || !video.request_id) return false;
  if (["rendering", "submitted"].includes(video.state)) return true;
  return ["failed", "retrying"].includes(video.state) && !polled;
}

async function pollAll() {
  const waiting = [...cards.values()].filter(needsPoll);
  const worker = async () => {
    for (let card = waiting.shift(); card; card = waiting.shift()) {
      await poll(card);
      renderCard(card);
    }
  };
  await Promise.all(Array.from({ length: MAX_CONCURRENT_REQUESTS }, worker));
}

const visibility = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = cards.get(entry.target.dataset.key);
    if (card) card.isVisible = entry.isIntersecting;
  }
}, { rootMargin: "200px" });

function updateCard(video) {
  const key = `${video.task_id}/${video.map_index}`;
  let card = cards.get(key);
  if (!card) {
    const node = document.getElementById("card").content.firstElementChild.cloneNode(true);
    node.dataset.key = key;
    card = { node, polled: null, isVisible: true };
    cards.set(key, card);
    list.append(node);
    visibility.observe(node);
  }
  if (card.video?.request_id !== video.request_id || card.video?.try_number !== video.try_number) card.polled = null;
  card.video = video;
  renderCard(card);
}

function updateSummary(hasMore) {
  if (!isGallery || cards.size === 0) return;
  const videos = [...cards.values()].map((card) => card.video);
  const counts = new Map();
  for (const { state } of videos) counts.set(state, (counts.get(state) ?? 0) + 1);
  const cost = videos.reduce((sum, video) => sum + Number(video.cost_usd ?? 0), 0);
  summary.textContent = [
    `${videos.length}${hasMore ? "+" : ""} video${videos.length === 1 ? "" : "s"}`,
    ...[...counts].map(([state, count]) => `${count} ${(STATES[state] ?? state).toLowerCase()}`),
    cost ? `$${cost.toFixed(2)}` : "",
  ].filter(Boolean).join(" · ");
  summary.hidden = false;
}

async function refresh() {
  let hasMore = true;
  let offset = 0;
  for (let index = 0; index < pageCount && hasMore; index += 1) {
    const loaded = await load(`/videos?offset=${offset}`);
    if (index === 0 && loaded.videos.length) list.querySelector(":scope > .message")?.remove();
    loaded.videos.forEach(updateCard);
    offset += loaded.videos.length;
    hasMore = loaded.more;
  }
  more.hidden = !hasMore;
  updateSummary(hasMore);
  if (cards.size === 0) showMessage(isGallery ? "No task of this run makes videos." : "This task makes no video.");
  await pollAll();
}

function showMessage(text) {
  let message = list.querySelector(":scope > .message");
  if (!message) {
    message = element("p", "", "message");
    list.prepend(message);
  }
  message.textContent = text;
}

function isFinished() {
  const isFinal = ({ video, polled }) => ["done", "failed", "moderated", "expired", "skipped"].includes(video.state)
    || (video.state === "submitted" && polled && !["pending", "unknown"].includes(polled.state));
  return [...cards.values()].every(isFinal);
}

async function run() {
  try {
    if (document.visibilityState === "visible") await refresh();
  } catch (error) {
    showMessage(error.message);
  }
  if (!isFinished()) setTimeout(run, REFRESH_MS);
}

more.addEventListener("click", () => {
  pageCount += 1;
  refresh().catch((error) => showMessage(error.message));
});
if (page.dataset.view !== "message") run();
