// What the reader does: selectors, sliders, buttons, rows and keys.

function listen() {
  $("case").addEventListener("change", (event) => {
    const entry = current();
    const own = entriesOf((some) => some.case === event.target.value);
    const same = own.filter((some) => some.target === entry.target);
    const alike = same.find((some) => some.method === entry.method);
    setMap((alike || same[0] || own[0] || entry).id);
  });
  $("target").addEventListener("change", (event) => {
    const entry = current();
    const own = entriesOf((some) => some.case === entry.case && some.target === event.target.value);
    setMap((own.find((some) => some.method === entry.method) || own[0]).id);
  });
  $("method").addEventListener("change", (event) => setMap(event.target.value));
  $("layer").addEventListener("change", (event) => {
    state.layer = Number(event.target.value);
    setMap(state.map);
  });
  $("scan").addEventListener("change", (event) => {
    state.scan = Number(event.target.value);
    render();
  });
  $("other").addEventListener("change", (event) => {
    state.other = event.target.value;
    render();
  });
  $("low").addEventListener("input", (event) => {
    state.low = Number(event.target.value) / DUST_STEPS;
    redraw();
  });
  $("high").addEventListener("input", (event) => {
    const layer = layerOf(current());
    if (!layer) return; // a page may be asked to while its map changes
    state.high = highOf(layer, Number(event.target.value)) / layer.high;
    redraw();
  });
  $("opacity").addEventListener("input", (event) => {
    state.opacity = Number(event.target.value) / 100;
    redraw();
  });
  $("outline").addEventListener("change", (event) => {
    state.outline = event.target.value;
    render();
  });
  $("radiological").addEventListener("change", (event) => {
    state.radiological = event.target.checked;
    redraw();
  });
  $("fade").addEventListener("change", (event) => {
    Object.assign(state, { fade: event.target.checked, low: null });
    redraw();
  });
  $("reset").addEventListener("click", () => {
    Object.assign(state, { fade: true, low: null, high: null, opacity: 0.85 });
    $("fade").checked = true;
    $("opacity").value = 85;
    redraw();
  });
  $("strongest").addEventListener("click", () => left?.map && goTo(mmOf(left.map, strongestOf(left.map))));
  $("component").addEventListener("click", () => nextComponent(1));
  for (const row of document.querySelectorAll("tr[data-map]")) {
    const choose = () => {
      if (!maps.has(row.dataset.map)) return;
      setMap(row.dataset.map);
      $("viewer").scrollIntoView({ block: "nearest" });
    };
    row.addEventListener("click", choose);
    row.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
  }
  window.addEventListener("resize", () => [left, right].forEach((viewer) => viewer?.resize()));
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") stepMethod(1);
    if (event.key === "p") stepMethod(-1);
    if (event.key === "s") $("strongest").click();
    if (event.key === "c") nextComponent(1);
  }, true);
}
