// The report's page: selectors, sliders, table and viewer. Plain JavaScript, from file:// on.
//
// Volumes come from a loader, an object with `volume(id)`: a promise of a gzipped NIfTI as an
// ArrayBuffer. A page that has another source, such as a server that makes maps while one waits,
// sets `window.esegetaLoader` before this script runs, and may hand over new maps by
// `window.esegeta.addMap(entry)` and show one by `window.esegeta.showMap(id)`.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const cases = new Map(data.cases.map((one) => [one.id, one]));
  const maps = new Map(data.maps.map((one) => [one.id, one]));
  const $ = (id) => document.getElementById(id);
  const DUST_STEPS = 200; // of the threshold's slider
  const MOST_COMPONENTS = 40;
  // Colours without a white middle, so that they hold on bright tissue. NiiVue takes from alpha
  // only whether a value is seen at all; how much it is, follows from `colormapType`.
  const COLOURS = {
    esegeta_above: { R: [215, 225, 240, 255], G: [30, 35, 55, 150], B: [35, 30, 30, 60] },
    esegeta_below: { R: [25, 30, 45, 110], G: [95, 105, 125, 205], B: [225, 240, 255, 255] },
  };
  const NODES = { A: [0, 255, 255, 255], I: [0, 48, 128, 255] };
  const FADES = 1; // opacity is (value / threshold)^2 below the threshold
  const HIDES = 2;
  const OUTLINE = 0.8; // opacity of outlines, which are a voxel wide and cover the map
  const FADED_TO = 0.5; // of the colours' end: from here on values are opaque at first
  const TARGET_COLOUR = "#ffffff";

  // -- volumes -------------------------------------------------------------------------------

  function bytesOf(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  function ownLoader() {
    const waiting = new Map();
    window.esegetaVolume = (id, text) => {
      waiting.get(id)?.(bytesOf(text));
      waiting.delete(id);
    };
    return {
      volume(id) {
        const inside = $(`volume-${id}`);
        if (inside) return Promise.resolve(bytesOf(inside.textContent.trim()));
        return new Promise((resolve, reject) => {
          waiting.set(id, resolve);
          const script = document.createElement("script");
          script.src = `volumes/${id}.js`;
          script.onload = () => script.remove();
          script.onerror = () => reject(new Error(`volumes/${id}.js is not there`));
          document.head.append(script);
        });
      },
    };
  }

  const loader = window.esegetaLoader || ownLoader();
  const kept = new Map(); // the last few volumes as they came, for going back and forth
  async function volumeOf(id) {
    if (!kept.has(id)) {
      kept.set(id, loader.volume(id));
      if (kept.size > 12) kept.delete(kept.keys().next().value);
    }
    try {
      return await kept.get(id);
    } catch (error) {
      kept.delete(id);
      throw error;
    }
  }

  // -- one canvas ----------------------------------------------------------------------------

  class Viewer {
    constructor(box) {
      this.box = box;
      this.canvas = box.querySelector("canvas");
      this.shown = {};
      this.onMove = () => {};
    }

    async start() {
      this.nv = new niivue.Niivue({
        backColor: [0, 0, 0, 1],
        crosshairColor: [0.95, 0.9, 0.35, 0.45],
        crosshairWidth: 0.3,
        crosshairWidthUnit: "percent",
        crosshairGap: 12,
        fontColor: [0.9, 0.9, 0.9, 1],
        fontMinPx: 12,
        fontSizeScaling: 0.3,
        loadingText: "",
        dragAndDropEnabled: false,
        isRadiologicalConvention: true,
        isColorbar: false,
        multiplanarEqualSize: false,
        tileMargin: 2,
        logLevel: "error",
        clipPlaneHotKey: "",
        cycleClipPlaneHotKey: "",
        viewModeHotKey: "",
        textHeight: -1,
      });
      this.nv.onLocationChange = (place) => this.onMove(place);
      await this.nv.attachToCanvas(this.canvas);
      for (const [name, nodes] of Object.entries(COLOURS)) {
        this.nv.addColormap(name, { ...nodes, ...NODES });
      }
      this.nv.setSliceMM(true);
      this.nv.setInterpolation(true); // nearest: voxels as they are, and no colours of dust beside them
      this.canvas.addEventListener("keydown", (event) => this.key(event), true);
    }

    key(event) {
      const steps = {
        ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
        PageUp: [0, 0, 1], PageDown: [0, 0, -1],
      };
      const step = steps[event.key];
      event.stopImmediatePropagation(); // NiiVue's own keys change views that nothing here names
      if (!step) return;
      event.preventDefault();
      // Along the patient's axes, whichever way voxels are counted.
      this.nv.moveCrosshairInVox(...step);
      this.nv.createOnLocationChange();
    }

    async image(id) {
      const buffer = await volumeOf(id);
      return niivue.NVImage.loadFromUrl({ url: `${id}.nii.gz`, name: `${id}.nii.gz`, buffer });
    }

    // Shows what is asked for; what is there already stays.
    async show(entry, layer, scanNumber) {
      const one = cases.get(entry.case);
      const scan = one.scans[Math.min(scanNumber, one.scans.length - 1)];
      const key = { scan: scan.volume, map: layer ? layer.volume : "", labels: entry.outline || one.segmentation };
      const first = this.shown.scan === undefined;
      const place = first || this.shown.case !== entry.case ? null : this.position();
      const [back, map, labels] = await Promise.all(
        ["scan", "map", "labels"].map((part) =>
          !key[part] ? null : this.shown[part] === key[part] ? this[part] : this.image(key[part])
        )
      );
      if (this.wanted !== undefined && this.wanted !== entry.id + key.map) return false;
      Object.assign(this, { scan: back, map, labels });
      if (!scan.is_colour) Object.assign(back, { cal_min: scan.low, cal_max: scan.high });
      if (labels) this.colour(labels, one.labels, entry.label);
      this.shown = { ...key, case: entry.case, entry, layer };
      const nv = this.nv;
      nv.volumes = [back, map, labels].filter(Boolean);
      nv.back = back;
      nv.overlays = nv.volumes.slice(1);
      nv.customLayout = this.layout(one.flat);
      nv.opts.isOrientationTextVisible = one.has_sides;
      nv.opts.atlasOutline = OUTLINE;
      this.layerRange();
      if (place) this.go(place);
      return true;
    }

    colour(image, all, target) {
      const isShown = (value) => outlineOf() === "all" || value === target;
      const labels = all.filter((label) => isShown(label.value));
      image.values ??= image.img; // for the value at the cross-hair: all labels
      image.img = image.values.map((value) => (isShown(value) ? value : 0));
      const cm = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
      for (const label of labels) {
        const colour = label.value === target ? TARGET_COLOUR : label.colour;
        cm.R.push(parseInt(colour.slice(1, 3), 16));
        cm.G.push(parseInt(colour.slice(3, 5), 16));
        cm.B.push(parseInt(colour.slice(5, 7), 16));
        cm.A.push(255);
        cm.I.push(label.value);
        cm.labels.push(label.name);
      }
      image.setColormapLabel(cm);
    }

    // Sets range, opacity and outline from the sliders.
    layerRange() {
      const layer = this.shown.layer;
      if (this.map && layer) {
        const { low, high } = rangeOf(layer);
        Object.assign(this.map, {
          colormap: "esegeta_above",
          colormapNegative: layer.signed ? "esegeta_below" : "",
          colormapType: state.fade ? FADES : HIDES,
          cal_min: low,
          cal_max: high,
          cal_minNeg: -low,
          cal_maxNeg: -high,
          opacity: state.opacity,
        });
      }
      const outlined = outlineOf() !== "none";
      if (this.labels) this.labels.opacity = outlined ? 0.001 : 0;
      this.nv.opts.atlasOutline = outlined ? OUTLINE : 0;
      this.nv.opts.isRadiologicalConvention =
        state.radiological || !cases.get(this.shown.case).has_sides;
      const before = [this.nv.volumeTexture, this.nv.overlayTexture];
      this.nv.updateGLVolume(); // takes new textures, and leaves the old ones where they are
      for (const texture of before) {
        if (texture && texture !== this.nv.volumeTexture && texture !== this.nv.overlayTexture) {
          this.nv.gl.deleteTexture(texture);
        }
      }
    }

    // Axial large, for that is how scans are read; the others beside it, or below it.
    layout(isFlat) {
      const [axial, coronal, sagittal] = [0, 1, 2];
      const tile = (sliceType, ...position) => ({ sliceType, position });
      if (isFlat) return [tile(axial, 0, 0, 1, 1)];
      const { width, height } = this.canvas.getBoundingClientRect();
      if (width > 1.15 * height) {
        return [tile(axial, 0, 0, 0.6, 1), tile(coronal, 0.605, 0, 0.395, 0.5), tile(sagittal, 0.605, 0.5, 0.395, 0.5)];
      }
      return [tile(axial, 0, 0, 1, 0.58), tile(coronal, 0, 0.585, 0.5, 0.415), tile(sagittal, 0.5, 0.585, 0.5, 0.415)];
    }

    resize() {
      if (this.shown.case === undefined) return;
      this.nv.resizeListener();
      this.nv.customLayout = this.layout(cases.get(this.shown.case).flat);
      this.nv.drawScene();
    }

    position() {
      return Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos, 0, true)).slice(0, 3);
    }

    go(mm) {
      this.nv.scene.crosshairPos = this.nv.mm2frac(mm, 0, true);
      this.nv.drawScene();
      this.nv.createOnLocationChange();
    }
  }

  // -- places of a map -----------------------------------------------------------------------

  function mmOf(image, index) {
    const [, nx, ny] = image.hdr.dims;
    const voxel = [index % nx, Math.floor(index / nx) % ny, Math.floor(index / (nx * ny)), 1];
    return [0, 1, 2].map((row) =>
      image.hdr.affine[row].reduce((sum, value, axis) => sum + value * voxel[axis], 0)
    );
  }

  function valueAt(image, mm) {
    const { affine, dims, scl_slope: slope, scl_inter: inter } = image.hdr;
    const inverse = inverseOf(affine);
    const voxel = [0, 1, 2].map((row) =>
      Math.round(inverse[row].reduce((sum, v, axis) => sum + v * [...mm, 1][axis], 0))
    );
    if (voxel.some((at, axis) => at < 0 || at >= dims[axis + 1])) return null;
    return (image.values ?? image.img)[voxel[0] + dims[1] * (voxel[1] + dims[2] * voxel[2])] * slope + inter;
  }

  function inverseOf(m) {
    const [a, b, c] = [m[0], m[1], m[2]];
    const det =
      a[0] * (b[1] * c[2] - b[2] * c[1]) -
      a[1] * (b[0] * c[2] - b[2] * c[0]) +
      a[2] * (b[0] * c[1] - b[1] * c[0]);
    const r = [
      [b[1] * c[2] - b[2] * c[1], a[2] * c[1] - a[1] * c[2], a[1] * b[2] - a[2] * b[1]],
      [b[2] * c[0] - b[0] * c[2], a[0] * c[2] - a[2] * c[0], a[2] * b[0] - a[0] * b[2]],
      [b[0] * c[1] - b[1] * c[0], a[1] * c[0] - a[0] * c[1], a[0] * b[1] - a[1] * b[0]],
    ].map((row) => row.map((value) => value / det));
    const move = [a[3], b[3], c[3]];
    return r.map((row) => [...row, -row.reduce((sum, value, axis) => sum + value * move[axis], 0)]);
  }

  function strongestOf(image) {
    let best = 0;
    for (let i = 1; i < image.img.length; i += 1) {
      if (Math.abs(image.img[i]) > Math.abs(image.img[best])) best = i;
    }
    return best;
  }

  // The strongest voxel of each connected part (faces) at or above a magnitude, the strongest first.
  function componentsOf(image, low) {
    const [, nx, ny, nz] = image.hdr.dims;
    const values = image.img;
    const least = Math.max(low / (image.hdr.scl_slope || 1), 1);
    const seen = new Uint8Array(values.length);
    const found = [];
    const stack = [];
    for (let start = 0; start < values.length; start += 1) {
      if (seen[start] || Math.abs(values[start]) < least) continue;
      let peak = start;
      const sign = Math.sign(values[start]);
      seen[start] = 1;
      stack.push(start);
      while (stack.length) {
        const at = stack.pop();
        if (Math.abs(values[at]) > Math.abs(values[peak])) peak = at;
        const x = at % nx;
        const y = Math.floor(at / nx) % ny;
        const z = Math.floor(at / (nx * ny));
        const next = [
          x > 0 && at - 1, x < nx - 1 && at + 1, y > 0 && at - nx, y < ny - 1 && at + nx,
          z > 0 && at - nx * ny, z < nz - 1 && at + nx * ny,
        ];
        for (const other of next) {
          if (other === false || seen[other] || values[other] * sign < least) continue;
          seen[other] = 1;
          stack.push(other);
        }
      }
      found.push(peak);
    }
    found.sort((one, other) => Math.abs(values[other]) - Math.abs(values[one]));
    return found.slice(0, MOST_COMPONENTS);
  }

  // -- what is chosen ------------------------------------------------------------------------

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

  // -- what is shown -------------------------------------------------------------------------

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
    list($("warnings"), [...(entry.failure ? [`No map: ${entry.failure}`] : []), ...entry.warnings, ...one.notes]);
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

  function showRange() {
    const layer = layerOf(current());
    $("scale").hidden = !layer;
    if (!layer) return;
    const { low, high } = rangeOf(layer);
    $("low-text").textContent = number(low);
    $("high-text").textContent = number(high);
    $("opacity-text").textContent = `${Math.round(100 * state.opacity)} %`;
    $("scale-below").textContent = layer.signed ? `−${number(high)}` : "0";
    $("scale-zero").textContent = layer.signed ? "0" : "";
    $("scale-above").textContent = `+${number(high)}`;
    $("scale").classList.toggle("unsigned", !layer.signed);
    $("unit").textContent = layer.unit;
    $("low-name").textContent = state.fade ? "Fades below" : "Hidden below";
    ramp($("ramp-above"), "to right", COLOURS.esegeta_above, low / high);
    ramp($("ramp-below"), "to left", COLOURS.esegeta_below, low / high);
    $("low").value = Math.round((DUST_STEPS * low) / high);
    $("high").value = Math.round(sliderOf(layer, high));
    Object.assign(document.body.dataset, { low: String(low), high: String(high) });
  }

  // Paints a half of the scale as the map is painted.
  function ramp(element, direction, colours, threshold) {
    const stops = [];
    for (let step = 0; step <= 20; step += 1) {
      const at = step / 20;
      const right = NODES.I.findIndex((node) => node >= 255 * at);
      const [a, b] = [Math.max(right - 1, 0), right];
      const part = a === b ? 0 : (255 * at - NODES.I[a]) / (NODES.I[b] - NODES.I[a]);
      const rgb = ["R", "G", "B"].map((name) => colours[name][a] + part * (colours[name][b] - colours[name][a]));
      const seen = at >= threshold ? 1 : state.fade ? (at / threshold) ** 2 : 0;
      stops.push(`rgb(${rgb.map(Math.round).join(" ")} / ${(seen * state.opacity).toFixed(3)})`);
    }
    element.style.background = `linear-gradient(${direction}, ${stops.join(", ")})`;
  }

  // The upper end moves in equal factors, from a fiftieth of the first end to the peak.
  const endsOf = (layer) => [Math.log(layer.high / 50), Math.log(Math.max(layer.peak, layer.high * 2))];
  function sliderOf(layer, high) {
    const [start, stop] = endsOf(layer);
    return (1000 * (Math.log(high) - start)) / (stop - start);
  }
  function highOf(layer, slider) {
    const [start, stop] = endsOf(layer);
    return Math.exp(start + ((stop - start) * slider) / 1000);
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
    let words = "outside of the map";
    if (value !== null) {
      if (Math.abs(value) < layer.low) words = "next to nothing";
      else words = value > 0 || entry.negative === entry.positive ? entry.positive : belowZero(entry);
    }
    wordsElement.textContent = words;
  }

  // What blue says leans on what red says: "lowers it".
  const belowZero = (entry) => (entry.negative ? `${entry.negative} (red: ${entry.positive})` : "below zero");

  // -- events --------------------------------------------------------------------------------

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
      else if (first && left.map) goTo(mmOf(left.map, strongestOf(left.map)));
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

  function sortBy(head) {
    const place = [...head.parentElement.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const keyOf = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [keyOf(one), keyOf(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // the undefined are last, always
      const numeric = Number.isFinite(Number(a)) && Number.isFinite(Number(b));
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows);
  }

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
})();
