// Live updates: when the server says that something is new, the part of the page that shows it is fetched again.

const WAIT = 400;

export function beginLive() {
  const parts = [...document.querySelectorAll("[data-live]")];
  if (!parts.length) return;
  const source = new EventSource("/api/v1/live");
  let timer = 0;
  source.addEventListener("head", (event) => {
    const news = JSON.parse(event.data);
    if (!isStale(news)) return;
    clearTimeout(timer);
    timer = setTimeout(refresh, WAIT);
  });
  addEventListener("pagehide", () => source.close());
}

function isStale(news) {
  return [...document.querySelectorAll("[data-live]")].some(({ dataset }) =>
    dataset.version !== (dataset.study ? news.studies[dataset.study] : String(news.events)));
}

async function refresh() {
  if (document.querySelector("[data-live] :focus")) return tell(true);
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (!fresh || fresh.dataset.version === part.dataset.version) continue;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    part.replaceWith(fresh);
    fresh.querySelectorAll("details").forEach((one, at) => { if (open[at]) one.open = true; });
  }
  const footer = page.querySelector("footer");
  if (footer) document.querySelector("footer").replaceWith(footer);
  document.dispatchEvent(new Event("refreshed"));
  tell(false);
}

// Where the reader is inside what would be replaced, nothing moves under the hands.
function tell(waits) {
  const out = document.getElementById("live");
  out.textContent = waits ? "There is something new: reload the page to see it." : "Updated.";
  if (!waits) setTimeout(() => { out.textContent = ""; }, 2500);
}

// The verdicts are made in the background: ask until they are those of the present state.
export function awaitVerdicts() {
  const part = document.getElementById("verdicts");
  if (!part || part.dataset.current === "true") return;
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (answer?.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("verdicts");
      if (fresh && !part.querySelector(":focus")) part.replaceWith(fresh);
    }
    awaitVerdicts();
  }, 1000);
}
