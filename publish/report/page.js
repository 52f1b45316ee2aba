// Charts are SVG whose colours are the page's own, so a change of scheme needs no drawing. Their words and numbers stand
// in the tables beside them; without scripts those are all there is.
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, spec, { renderer: "svg", actions: false, mode: "vega-lite" });
}

// A link to a query opens it.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const details = target && target.closest("details");
  if (details) details.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
