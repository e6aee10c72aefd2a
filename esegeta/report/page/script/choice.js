// What is chosen: case, target, method, layer, range; and the selectors.

const state = {
  map: "", layer: 0, scan: 0, other: "", outline: "", radiological: true,
  opacity: 0.85, fade: true, low: null, high: null, component: -1, components: null,
};
let left = null;
let right = null;

function rangeOf(layer) {
  const high = state.high === null ? layer.high : layer.high * state.high;
  const first = state.fade ? FADED_TO * high : Math.min(layer.low, high);
  return { low: Math.max(state.low === null ? first : high * state.low, high * 1e-4), high };
}

// In a small picture outlines would cover the map: there the target's alone is drawn at first.
const outlineOf = () => state.outline || (cases.get(current().case).flat ? "target" : "all");

const entriesOf = (test) => [...maps.values()].filter(test);
const current = () => maps.get(state.map);
const layerOf = (entry) => entry?.layers[Math.min(state.layer, entry.layers.length - 1)];

function fill(select, options, chosen) {
  select.replaceChildren(
    ...options.map(([value, text]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = text;
      return option;
    })
  );
  select.value = chosen;
  select.closest("label").hidden = options.length < 2 && !select.hasAttribute("data-always");
}

const unique = (list) => [...new Set(list)];

function fillSelectors() {
  const entry = current();
  const one = cases.get(entry.case);
  const caseName = (some) => (some.run ? `${some.run} / ${some.name}` : some.name);
  const own = entriesOf((some) => some.case === entry.case);
  const methods = own.filter((some) => some.target === entry.target);
  fill($("case"), data.cases.map((some) => [some.id, caseName(some)]), entry.case);
  fill($("target"), unique(own.map((some) => some.target)).map((name) => [name, name]), entry.target);
  fill($("method"), methods.map((some) => [some.id, methodName(some)]), entry.id);
  fill($("layer"), entry.layers.map((layer, place) => [String(place), layer.name]), String(state.layer));
  fill($("scan"), one.scans.map((scan, place) => [String(place), scan.name]), String(state.scan));
  fill(
    $("other"),
    [["", "none"], ...methods.filter((some) => some.layers.length).map((some) => [some.id, methodName(some)])],
    state.other
  );
}

const methodName = (entry) => entry.method + (entry.failure ? " (failed)" : "");

function setMap(id) {
  const before = current();
  state.map = id;
  const entry = current();
  if (!before || before.case !== entry.case) Object.assign(state, { scan: 0 });
  if (state.layer >= entry.layers.length) state.layer = 0;
  if (state.other) {
    const method = maps.get(state.other).method;
    const beside = entriesOf(
      (some) => some.case === entry.case && some.target === entry.target && some.method === method
    )[0];
    state.other = beside && beside.layers.length ? beside.id : "";
  }
  Object.assign(state, { component: -1, components: null });
  return render();
}
