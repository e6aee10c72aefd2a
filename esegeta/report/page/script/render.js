// From a choice to the canvas.

let canDraw = true;

async function render() {
  fillSelectors();
  describe();
  if (!canDraw) return;
  const entry = current();
  const layer = layerOf(entry);
  $("viewer").setAttribute("aria-busy", "true");
  try {
    left.wanted = entry.id + (layer ? layer.volume : "");
    const first = left.shown.case !== entry.case || left.shown.entry.target !== entry.target;
    if (!(await left.show(entry, layer, state.scan))) return;
    titleOf(left.box, entry);
    await renderOther();
    if (first && entry.focus.length) goTo(entry.focus);
    else if (first && left.map && layer.peak > 0) goTo(mmOf(left.map, strongestOf(left.map)));
    else left.nv.createOnLocationChange();
    document.body.dataset.shown = entry.id;
  } catch (error) {
    list($("warnings"), [`The volume could not be shown (${error.message}).`]);
  } finally {
    $("viewer").setAttribute("aria-busy", "false");
  }
}

// Two maps side by side have ranges of their own, and the scale is the first one's.
function titleOf(box, entry) {
  const layer = layerOf(entry);
  const parts = [entry.method];
  if (layer && state.layer) parts.push(layer.name);
  if (layer && entry.id === state.other) {
    parts.push(`full colour at ${number(rangeOf(layer).high)} ${layer.unit}`);
  }
  box.querySelector("h3").textContent = parts.join(", ");
}

async function renderOther() {
  const beside = state.other ? maps.get(state.other) : null;
  const box = $("right");
  const changed = box.hidden === Boolean(beside);
  box.hidden = !beside;
  if (beside && !right) {
    right = new Viewer(box);
    await right.start();
  }
  if (changed) left.resize();
  left.nv.broadcastTo(beside ? [right.nv] : []);
  right?.nv.broadcastTo(beside ? [left.nv] : []);
  if (!beside) return;
  right.wanted = undefined;
  await right.show(beside, layerOf(beside), state.scan);
  titleOf(box, beside);
  right.onMove = (place) => reading(place);
  right.resize();
  right.go(left.position());
}

function goTo(mm) {
  left.go(mm);
  if (right && state.other) right.go(mm);
}

let isDue = false;
function redraw() {
  state.components = null;
  showRange();
  if (!canDraw || isDue) return;
  isDue = true; // a slider moves faster than large volumes are drawn
  requestAnimationFrame(() => {
    isDue = false;
    left.layerRange();
    if (right && state.other) {
      right.layerRange();
      titleOf(right.box, maps.get(state.other));
    }
    left.nv.createOnLocationChange();
  });
}

function nextComponent(step) {
  if (!left?.map) return;
  if (!state.components) {
    state.components = componentsOf(left.map, rangeOf(layerOf(current())).low);
    state.component = -1;
  }
  const count = state.components.length;
  if (!count) return;
  state.component = (state.component + step + count) % count;
  $("component-text").textContent = `${state.component + 1} of ${count}${count === MOST_COMPONENTS ? " strongest" : ""}`;
  goTo(mmOf(left.map, state.components[state.component]));
}

function stepMethod(step) {
  const options = [...$("method").options].map((option) => option.value);
  setMap(options[(options.indexOf(state.map) + step + options.length) % options.length]);
}
