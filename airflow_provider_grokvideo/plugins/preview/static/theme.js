// Gives the page the colors of the Airflow page around it, which a company may have changed. It runs before the first
// paint, so that the page does not flash.

const page = document.documentElement;
// Without fg-error, which is too pale on white for a text.
const TOKENS = {
  "--bg": "bg", "--fg": "fg", "--muted": "fg-muted", "--border": "border", "--raised": "bg-subtle",
  "--done": "success-solid", "--rendering": "deferred-solid", "--failed": "failed-solid",
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
