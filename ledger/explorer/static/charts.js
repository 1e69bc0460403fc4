// What a chart says at a place: under the pointer, or with the arrow keys.

export function beginCharts() {
  for (const plot of document.querySelectorAll(".plot:not([data-ready])")) begin(plot);
}

function begin(plot) {
  plot.dataset.ready = "";
  const spots = [...plot.querySelectorAll(".spot")];
  if (!spots.length) return;
  const tip = document.createElement("p");
  tip.className = "tip";
  tip.setAttribute("aria-live", "polite");
  plot.after(tip);
  const svg = plot.querySelector("svg");
  svg.tabIndex = 0;
  let at = -1;
  const show = (index) => {
    at = Math.max(0, Math.min(spots.length - 1, index));
    spots.forEach((spot, other) => spot.classList.toggle("at", other === at));
    tip.textContent = spots[at].querySelector("title").textContent;
  };
  spots.forEach((spot, index) => spot.addEventListener("pointerenter", () => show(index)));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -spots.length, End: spots.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at < 0 && step < 0 ? spots.length - 1 : at + step);
  });
}
