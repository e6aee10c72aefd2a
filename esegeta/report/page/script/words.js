// What is said of the chosen map, and of the voxel at the cross-hair.

function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(4))).replace("-", "−");
  return value.toExponential(2).replace("-", "−");
}

function list(element, texts) {
  element.replaceChildren(
    ...texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    })
  );
  element.hidden = !texts.length;
}

function describe() {
  const entry = current();
  const one = cases.get(entry.case);
  const layer = layerOf(entry);
  $("about").textContent = entry.about;
  const faults = entry.failure ? [`No map: ${entry.failure}`] : [];
  if (layer && layer.peak === 0) faults.push("This map is zero everywhere: there is nothing to show.");
  list($("warnings"), [...faults, ...entry.warnings, ...one.notes]);
  const signed = layer ? layer.signed : true;
  $("say-above").textContent = entry.positive;
  $("say-below").textContent = entry.negative;
  // One sentence for both signs needs no colours before it.
  const isOne = !signed || !entry.negative || entry.negative === entry.positive;
  $("say-below").closest("li").hidden = isOne;
  $("say-above").closest("li").classList.toggle("one", isOne);
  $("facts").replaceChildren(
    ...entry.facts.flatMap(([name, text]) => {
      const pair = [document.createElement("dt"), document.createElement("dd")];
      [pair[0].textContent, pair[1].textContent] = [name, text];
      return pair;
    })
  );
  $("labels").replaceChildren(
    ...one.labels.map((label) => {
      const item = document.createElement("li");
      const swatch = document.createElement("i");
      const isTarget = label.value === entry.label;
      swatch.style.borderColor = isTarget ? TARGET_COLOUR : label.colour;
      item.append(swatch, isTarget ? `${label.name} (target)` : label.name);
      return item;
    })
  );
  $("outline").value = outlineOf();
  $("radiological").closest("label").hidden = !one.has_sides;
  const selected = { map: entry.id, other: state.other, case: entry.case, target: entry.target };
  for (const row of document.querySelectorAll("tr[data-map]")) {
    row.classList.toggle("chosen", row.dataset.map === entry.id);
    row.setAttribute("aria-selected", row.dataset.map === entry.id);
  }
  for (const part of document.querySelectorAll("[data-of-map]")) {
    part.hidden = ![selected.map, selected.other].includes(part.dataset.ofMap);
  }
  for (const part of document.querySelectorAll("[data-of-case]")) {
    const fits = part.dataset.ofCase === selected.case && part.dataset.ofTarget === selected.target;
    part.hidden = !fits;
  }
  for (const line of document.querySelectorAll("[data-series]")) {
    line.classList.toggle("chosen", line.dataset.series === entry.method);
  }
  document.body.dataset.map = entry.id;
  showRange();
}

function reading(place) {
  const entry = current();
  const layer = layerOf(entry);
  const mm = Array.from(place.mm).slice(0, 3);
  const one = cases.get(entry.case);
  $("place").textContent = one.has_sides
    ? mm.map((at, axis) => `${Math.abs(at).toFixed(0)} mm ${["LR", "PA", "IS"][axis][at < 0 ? 0 : 1]}`).join(", ")
    : `row ${Math.round(-mm[1])}, column ${Math.round(-mm[0])}`; // how pictures lie in space
  const isColour = one.scans[state.scan].is_colour;
  const scan = left.scan && !isColour ? valueAt(left.scan, mm) : null;
  $("scan-value").textContent = isColour ? "in colour" : scan === null ? "–" : number(scan);
  const label = left.labels ? valueAt(left.labels, mm) : null;
  const name = one.labels.find((some) => some.value === label)?.name;
  $("label-value").textContent = name || (label === null ? "–" : "background");
  say($("value"), $("meaning"), entry, layer, left.map, mm);
  const beside = right && maps.get(state.other);
  $("beside").hidden = !beside;
  if (beside) {
    $("beside-name").textContent = beside.method;
    say($("beside-value"), $("beside-meaning"), beside, layerOf(beside), right.map, mm);
  }
}

function say(valueElement, wordsElement, entry, layer, image, mm) {
  const value = image && layer ? valueAt(image, mm) : null;
  valueElement.textContent = value === null ? "–" : `${value > 0 ? "+" : ""}${number(value)} ${layer.unit}`;
  valueElement.dataset.sign = value > 0 ? "above" : value < 0 ? "below" : "zero";
  let words = "outside the map";
  if (value !== null) {
    if (Math.abs(value) < layer.low) words = "close to zero";
    else words = value > 0 || entry.negative === entry.positive ? entry.positive : belowZero(entry);
  }
  wordsElement.textContent = words;
}

// What blue says leans on what red says: "lowers it".
const belowZero = (entry) => (entry.negative ? `${entry.negative} (red: ${entry.positive})` : "below zero");
