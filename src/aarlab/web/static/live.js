// Keeps a page up to date: one stream of events says that something is new, and the page fetches
// its own content again. Nothing happens in a hidden tab, while somebody selects text, or fills in a
// form. Without this file a reload does the same.

const main = document.querySelector("main[data-events]");
const said = document.querySelector("#live-state");
const GONE =
  "The server of this page does not answer. One that a run has started ends with it: aar web shows the campaign again. If it comes back, the page goes on by itself.";
const LEAST_MS = 2000; // between two fetches
let source = null;
let seq = main ? Number(main.dataset.seq) : 0;
let wanted = false; // something is new that the page does not show yet
let fetching = false;
let fetchedAt = 0;

function say(words) {
  if (said) said.textContent = words;
}

function busy() {
  const focus = document.activeElement;
  const fills = focus && main.contains(focus) && focus.matches("select, input, textarea");
  const selection = document.getSelection();
  const selects =
    selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  return Boolean(fills || selects);
}

function replace(html) {
  const folds = new Map(
    [...main.querySelectorAll("details[id]")].map((fold) => [fold.id, fold.open]),
  );
  const scrolled = [...main.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  const focus = document.activeElement;
  const place = focus && main.contains(focus) ? [...main.querySelectorAll("a, summary, [tabindex]")].indexOf(focus) : -1;
  const href = place >= 0 ? focus.getAttribute("href") : null;
  main.innerHTML = html; // the server escapes all that others wrote, and no script in it may run
  for (const [id, open] of folds) {
    const fold = document.getElementById(id);
    if (fold) fold.open = open;
  }
  main.querySelectorAll(".scroll").forEach((box, n) => (box.scrollLeft = scrolled[n] ?? 0));
  if (place >= 0) {
    const now = [...main.querySelectorAll("a, summary, [tabindex]")];
    const same = href ? now.find((link) => link.getAttribute("href") === href) : now[place];
    (same ?? main).focus({ preventScroll: true });
  }
}

async function refresh() {
  if (!wanted || fetching || document.hidden) return;
  const wait = fetchedAt + LEAST_MS - Date.now();
  if (wait > 0 || busy()) {
    setTimeout(refresh, Math.max(wait, 500));
    return;
  }
  fetching = true;
  wanted = false;
  try {
    const answer = await fetch(location.pathname + location.search, {
      headers: { "aar-part": "main" },
    });
    if (answer.status === 401) {
      source?.close();
      say("This browser is not logged in any more: open the latest login link of aar web.");
      return;
    }
    if (answer.ok) {
      replace(await answer.text());
      say(`Up to date with entry ${seq} of the ledger. Latest change at ${new Date().toLocaleTimeString()}.`);
    }
  } catch {
    say(GONE);
    wanted = true;
  } finally {
    fetching = false;
    fetchedAt = Date.now();
  }
  if (wanted) setTimeout(refresh, LEAST_MS);
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(`${main.dataset.events}?after=${seq}`);
  source.addEventListener("changed", (event) => {
    seq = Number(event.lastEventId);
    wanted = true;
    refresh();
  });
  source.addEventListener("open", () => say(`Up to date with entry ${seq} of the ledger.`));
  source.addEventListener("error", () => {
    say(GONE);
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(listen, 5000);
    }
  });
}

function pause() {
  source?.close();
  source = null;
}

if (main) {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : listen()));
  addEventListener("pagehide", pause);
  addEventListener("pageshow", listen);
  listen();
}

// The slider says which entry it stands at, and asks for the page once it rests.
let resting = null;
document.addEventListener("input", (event) => {
  const slider = event.target;
  if (slider.id !== "choose-at") return;
  document.querySelector("#chosen-at").textContent = slider.value;
  clearTimeout(resting);
  resting = setTimeout(() => slider.form.requestSubmit(), 400);
});

// An address holds the filters that were chosen, and no empty ones.
document.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});
