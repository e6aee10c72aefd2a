// The beginning, and what other scripts may ask of the page.

function hasWebGL2() {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
}

async function begin() {
  for (const head of document.querySelectorAll("th button")) {
    head.addEventListener("click", () => sortBy(head.closest("th")));
  }
  if (!maps.size) return;
  document.body.classList.add("scripted");
  canDraw = typeof niivue !== "undefined" && hasWebGL2() && location.hash !== "#pictures";
  listen();
  if (canDraw) {
    try {
      left = new Viewer($("left"));
      left.onMove = (place) => reading(place);
      await left.start();
    } catch (error) {
      canDraw = false;
    }
  }
  document.body.classList.toggle("pictures", !canDraw);
  const first = entriesOf((some) => some.layers.length && !some.null)[0] || [...maps.values()][0];
  await setMap(first.id);
  window.esegeta = {
    addMap(entry) {
      maps.set(entry.id, entry);
    },
    showMap: setMap,
    go: goTo,
    viewer: () => left,
    other: () => right,
    state,
  };
  document.body.dataset.ready = "true";
}

begin();
