// Shows the cards of one task instance or one run. Every text is set as text, never as markup.
// theme.js, which runs first, defines `page` and `airflowRoot`.

// Airflow does not replace its placeholder for a task that is not mapped.
const base = location.pathname.replace(/\/+$/, "").replace(/%7BMAP_INDEX%7D$/i, "-1");
const [, root, runPath] = /^(.*?)\/grokvideo(\/dags\/[^/]+\/runs\/[^/]+)/.exec(base) ?? [];
const isGallery = page.dataset.view === "gallery";
const PAGE_SIZE = Number(page.dataset.pageSize);
const MAX_CARDS = 10_000;
const main = document.querySelector("main");
const list = document.getElementById("videos");
const more = document.getElementById("more");
const REFRESH_MS = { active: 4000, settled: 15_000, hidden: 60_000 };
const MAX_CONCURRENT_REQUESTS = 3;
const cards = new Map();
let limit = PAGE_SIZE;

// ---- texts

const STATES = {
  waiting: "Waiting", submitting: "Submitting", rendering: "Rendering", saving: "Saving", submitted: "Submitted",
  done: "Done", failed: "Failed", late: "Finished at the API", retrying: "Up for retry", skipped: "Skipped",
  moderated: "Rejected by moderation", expired: "Expired",
};
const HINTS = {
  waiting: "The task has not started.",
  submitting: "The task has no request id yet.",
  saving: "The API has finished the video. The task saves it.",
  submitted: "The task did not wait for its video.",
  skipped: "The task did not run.",
  failed: "See the task's log for the reason.",
  retrying: "Airflow will retry the task.",
};
const COLORS = {
  moderated: "failed", expired: "failed", late: "retrying", submitting: "rendering", submitted: "rendering", saving: "rendering",
};
const NO_MORE_CHANGES = ["done", "failed", "moderated", "expired", "skipped"];

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

function taskName({ task_id, map_index, label }) {
  return task_id + (map_index < 0 ? "" : ` [${label ?? map_index}]`);
}

function cardName({ tasks }) {
  return tasks.map(taskName).join(", ");
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

function shownState({ video, polled }) {
  return polled?.shown ?? video.state;
}

function renderCard(card) {
  const { video, polled, node } = card;
  // An unchanged card is not rendered again, so that selected text stays selected, and the focus where it is.
  const rendered = JSON.stringify([video, polled]);
  if (card.rendered === rendered) return;
  card.rendered = rendered;
  const state = shownState(card);
  node.className = `card ${COLORS[state] ?? state}`;
  node.querySelector(".name").textContent = cardName(video);
  node.querySelector(".state").textContent = STATES[state] ?? state;
  node.querySelector(".prompt").textContent = video.prompt ?? "";
  node.querySelector(".prompt").title = isGallery ? video.prompt ?? "" : "";
  const hint = video.video ? "" : HINTS[state] ?? "";
  node.querySelector(".note").textContent = video.note ?? polled?.advice ?? polled?.reason ?? hint;
  const rows = details(video).flatMap(([name, value, style]) => [element("dt", name), element("dd", String(value), style)]);
  node.querySelector("dl").replaceChildren(...rows);
  renderLinks(video, node.querySelector(".links"));
  renderMedia(card, state);
}

function renderMedia(card, state) {
  const { video, polled, node } = card;
  const box = node.querySelector(".media");
  const remote = video.video?.url ?? (["submitted", "late"].includes(state) && polled?.state === "done" ? polled.url : null);
  const source = video.video?.kind === "saved" ? `${taskUrl(video)}/media` : remote;
  const player = box.querySelector("video");
  // A player with the same source stays: the user may be watching.
  if (source && player?.dataset.source === source) return;
  box.style.removeProperty("--ratio");
  box.replaceChildren(source ? createPlayer(card, source) : createPlaceholder(state, polled?.progress));
}

function createPlaceholder(state, percent) {
  const placeholder = element("div", "", "placeholder");
  const isUnfinished = ["waiting", "submitting", "submitted", "retrying"].includes(state);
  if (state !== "rendering" && state !== "saving") {
    placeholder.append(element("strong", isUnfinished ? "No video yet" : "No video"));
    return placeholder;
  }
  const bar = element("progress");
  bar.max = 100;
  bar.setAttribute("aria-label", STATES[state]);
  placeholder.append(element("strong", STATES[state]), bar);
  if (state === "rendering") {
    if (percent != null) bar.value = percent;
    placeholder.append(element("span", percent != null ? `${percent} %` : "No progress received yet"));
  }
  return placeholder;
}

function createPlayer(card, source) {
  const { video } = card;
  const player = element("video");
  Object.assign(player, { controls: true, preload: "metadata", playsInline: true, src: source });
  player.dataset.source = source;
  player.setAttribute("aria-label", video.prompt ? `Video: ${video.prompt}` : `Video of ${cardName(video)}`);
  player.addEventListener("loadedmetadata", () => fit(player));
  player.addEventListener("error", async () => {
    const isSaved = video.video?.kind === "saved";
    const polled = isSaved ? null : await poll(card);
    if (polled?.url && polled.url !== player.src) {
      player.src = polled.url;
      return;
    }
    const reason = isSaved ? await mediaError(source) : "its URL at the API has expired, and the task did not save it.";
    card.node.querySelector(".note").textContent = `The video cannot be played: ${reason}`;
  });
  return player;
}

// Crops a video that has nearly the ratio of its box, 848x480 for example, instead of leaving slivers beside it.
function fit(player) {
  const box = player.parentElement;
  if (!box || !player.videoWidth) return;
  const ratio = player.videoWidth / player.videoHeight;
  box.style.setProperty("--ratio", ratio);
  player.style.objectFit = Math.abs((ratio * box.clientHeight) / box.clientWidth - 1) < 0.03 ? "cover" : "contain";
}

addEventListener("resize", () => list.querySelectorAll("video").forEach(fit));

async function mediaError(source) {
  const response = await fetch(source, { headers: { Range: "bytes=0-0" } });
  return response.ok ? "this browser does not support it." : `${(await response.json()).detail}.`;
}

// ---- links into Airflow, and the download

function renderLinks(video, node) {
  const rows = video.tasks.map((task) => {
    const path = `${root}${runPath}/tasks/${encodeURIComponent(task.task_id)}${task.map_index < 0 ? "" : `/mapped/${task.map_index}`}`;
    const row = element("p", video.tasks.length > 1 ? `${taskName(task)}: ` : "");
    row.append(link("Task", `${path}/details`, task), link("Log", `${path}?try_number=${task.try_number}`, task));
    if (isGallery) row.append(link("Video", `${path}/plugin/grokvideo`, task));
    return row;
  });
  if (video.video?.kind === "saved") rows.push(...downloadRow(video, rows[0]));
  node.replaceChildren(...rows);
}

function link(text, href, task) {
  const created = element("a", text);
  Object.assign(created, { href, target: "_top" });
  created.setAttribute("aria-label", `${text} of ${taskName(task)}`);
  return created;
}

function downloadRow(video, firstRow) {
  if (canDownload()) {
    const download = element("a", "Download");
    Object.assign(download, { href: `${taskUrl(video)}/media`, download: `${taskName(video)}.mp4` });
    download.setAttribute("aria-label", `Download the video of ${taskName(video)}`);
    firstRow.append(download);
    return [];
  }
  if (isGallery) return [];
  const row = element("p", "This version of Airflow allows no downloads in its tabs. To download, ");
  const alone = element("a", "open this page by itself");
  Object.assign(alone, { href: base, target: "_top" });
  row.append(alone, ".");
  return [row];
}

function canDownload() {
  try {
    const frame = window.frameElement;
    return !frame?.hasAttribute("sandbox") || frame.sandbox.contains("allow-downloads");
  } catch {
    return true;
  }
}

// The sandbox of Airflow's tabs forbids links that leave the tab. A link in the document around it may be followed.
function followInAirflow(event) {
  const clicked = event.target.closest("a[target=_top]");
  const outer = airflowRoot()?.ownerDocument;
  if (!clicked || !outer || event.button > 1) return;
  event.preventDefault();
  const copy = outer.createElement("a");
  copy.href = clicked.href;
  if (event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey) Object.assign(copy, { target: "_blank", rel: "noopener" });
  outer.body.append(copy);
  copy.click();
  copy.remove();
}

list.addEventListener("click", followInAirflow);
list.addEventListener("auxclick", followInAirflow);

// ---- the server

async function load(path) {
  const response = await fetch(base + path, { headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  const detail = await response.json().then((body) => body.detail, () => "");
  throw new Error({ 401: "Sign in to Airflow to see this.", 403: "You may not see the videos of this DAG." }[response.status] ?? (detail || response.statusText));
}

async function poll(card) {
  const { video } = card;
  const response = await fetch(`${taskUrl(video)}/progress`);
  // Airflow may have reported another state meanwhile.
  if (response.ok && card.video.state === video.state) card.polled = await response.json();
  return card.polled;
}

// A poll costs a database query, so only cards in the window or near it are polled.
function isNearWindow(node) {
  const { top, bottom } = node.getBoundingClientRect();
  return bottom > -200 && top < innerHeight + 200;
}

function needsPoll({ video, polled, node }) {
  const isKnown = polled && !["pending", "unknown"].includes(polled.state);
  const isPolled = ["rendering", "submitted", "failed", "retrying"].includes(video.state);
  return video.request_id && isPolled && !isKnown && isNearWindow(node);
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

// ---- all cards

function cardKey({ tasks: [first] }) {
  return `${first.task_id}/${first.map_index}`;
}

function createCard(key) {
  const node = document.getElementById("card").content.firstElementChild.cloneNode(true);
  node.dataset.key = key;
  const name = node.querySelector(".name");
  name.id = `name-${key}`;
  node.setAttribute("aria-labelledby", name.id);
  return { node, polled: null };
}

function updateCards(videos) {
  const current = new Set(videos.map(cardKey));
  for (const [key, card] of cards) {
    if (current.has(key)) continue;
    card.node.remove();
    cards.delete(key);
  }
  videos.forEach((video, index) => {
    const key = cardKey(video);
    const card = cards.get(key) ?? createCard(key);
    cards.set(key, card);
    const isSame = ["request_id", "try_number", "state", "task_id"].every((name) => card.video?.[name] === video[name]);
    if (!isSame) card.polled = null;
    card.video = video;
    renderCard(card);
    // A node that is in its place is not moved: its player would stop.
    if (list.children[index] !== card.node) list.insertBefore(card.node, list.children[index] ?? null);
  });
}

// A screen reader hears which videos have changed, and nothing of the first ones.
function announceChanges() {
  const changed = [...cards.values()].filter((card) => card.announced && card.announced !== shownState(card));
  for (const card of cards.values()) card.announced = shownState(card);
  const texts = changed.map((card) => `${cardName(card.video)}: ${STATES[shownState(card)]}.`);
  if (texts.length) document.getElementById("changes").textContent = texts.length > 3 ? `${texts.length} videos have changed.` : texts.join(" ");
}

function updateSummary(hasMore) {
  const summary = document.getElementById("summary");
  summary.hidden = !isGallery || cards.size === 0;
  const counts = new Map();
  for (const card of cards.values()) counts.set(shownState(card), (counts.get(shownState(card)) ?? 0) + 1);
  const cost = [...cards.values()].reduce((sum, { video }) => sum + Number(video.cost_usd ?? 0), 0);
  summary.textContent = [
    `${cards.size}${hasMore ? "+" : ""} video${cards.size === 1 ? "" : "s"}`,
    ...[...counts].map(([state, count]) => `${count} ${(STATES[state] ?? state).toLowerCase()}`),
    cost ? `$${cost.toFixed(2)}` : "",
  ].filter(Boolean).join(" · ");
}

function showMessage(text) {
  document.getElementById("message").textContent = text;
}

async function refresh() {
  const loaded = await load(isGallery ? `/videos?limit=${limit}` : "/videos");
  list.querySelectorAll(".skeleton").forEach((node) => node.remove());
  updateCards(loaded.videos);
  main.removeAttribute("aria-busy");
  more.hidden = !loaded.more || limit >= MAX_CARDS;
  updateSummary(loaded.more);
  const nothing = isGallery ? "No task of this run makes videos." : "This task makes no video.";
  showMessage(cards.size ? "" : nothing);
  await pollAll();
  updateSummary(loaded.more);
  announceChanges();
}

// ---- refresh for as long as the page is open: a finished task may be cleared

let timer;
let queue = Promise.resolve();

async function refreshAndSchedule() {
  const startedAt = performance.now();
  try {
    await refresh();
  } catch (error) {
    list.querySelectorAll(".skeleton").forEach((node) => node.remove());
    showMessage(error.message);
  }
  const isSettled = [...cards.values()].every((card) => NO_MORE_CHANGES.includes(shownState(card)));
  const pause = REFRESH_MS[document.hidden ? "hidden" : isSettled ? "settled" : "active"];
  clearTimeout(timer);
  // A page of many cards loads slowly, and must not occupy the API server.
  const took = performance.now() - startedAt;
  timer = setTimeout(refreshNow, Math.max(pause, Math.min(10 * took, REFRESH_MS.hidden)));
}

function refreshNow() {
  queue = queue.then(refreshAndSchedule);
  return queue;
}

more.addEventListener("click", async () => {
  const before = list.children.length;
  limit = Math.min(limit + PAGE_SIZE, MAX_CARDS);
  await refreshNow();
  // The button moves or disappears; the focus goes to the first new card.
  list.children[before]?.querySelector("a")?.focus();
});
if (page.dataset.view !== "message") {
  document.addEventListener("visibilitychange", () => document.hidden || refreshNow());
  refreshNow();
}
